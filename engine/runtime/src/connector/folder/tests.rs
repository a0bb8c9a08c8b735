//! A folder on a real disk, read by several readers that stop and go on.

use super::*;
use crate::connector::split::{AnyEnumerator, ReaderEvent, Typed};
use crate::env::real::RealEnv;
use proptest::prelude::*;

const READERS: u32 = 2;

fn settings(folder: &std::path::Path, watch: Option<Duration>, split_bytes: u64, chunk_bytes: usize) -> FolderSettings {
    let folder = folder.to_str().expect("UTF-8").to_owned();
    FolderSettings { folder, watch, split_bytes, chunk_bytes, pace: None }
}

fn enumerator(settings: &FolderSettings) -> Box<dyn AnyEnumerator<RealEnv>> {
    Box::new(Typed(FolderEnumerator::new(settings.clone())))
}

fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// One look, which finds so many splits; what it says to whom.
async fn look_once(enumerator: &mut dyn AnyEnumerator<RealEnv>, env: &RealEnv) -> (u64, Vec<(SubtaskIndex, ReaderEvent)>) {
    let found = enumerator.look(env).await.expect("the folder is there");
    enumerator.found(found, READERS)
}

fn split_of(event: &ReaderEvent) -> Option<FileSplit> {
    match event {
        ReaderEvent::Split(bytes) => Some(FileSplit::read(&mut Reader::new(bytes, 0)).expect("a split")),
        ReaderEvent::NoMore => None,
    }
}

/// Through the bytes that a checkpoint has, as a restart goes.
fn again(of: &dyn AnyEnumerator<RealEnv>, settings: &FolderSettings) -> Box<dyn AnyEnumerator<RealEnv>> {
    let mut next = enumerator(settings);
    next.restore(&of.state()).expect("its own state");
    next
}

#[test]
fn a_file_is_found_once_and_when_it_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a"), "1\n").expect("written");
    std::fs::write(path(".half"), "2\n").expect("written");
    std::fs::write(path("_half"), "2\n").expect("written");
    std::fs::write(path("empty"), "").expect("written");
    std::fs::create_dir(path("inner")).expect("made");
    let settings = settings(folder.path(), Some(Duration::from_secs(1)), 100, 10);
    block_on(async {
        let env = RealEnv::default();
        let mut enumerator = enumerator(&settings);
        assert_eq!(enumerator.look_after(), Some(Duration::ZERO));
        assert_eq!(look_once(&mut *enumerator, &env).await, (1, Vec::new()));
        assert_eq!(enumerator.look_after(), Some(Duration::from_secs(1)));
        std::fs::rename(path(".half"), path("b")).expect("renamed");
        let mut enumerator = again(&*enumerator, &settings);
        assert_eq!(look_once(&mut *enumerator, &env).await.0, 1, "the file that is whole now");
        let told = enumerator.requested(SubtaskIndex(1), READERS);
        assert_eq!(told.iter().filter_map(|(_, event)| split_of(event)).map(|split| split.name).collect::<Vec<_>>(), ["a"]);
        assert_eq!(look_once(&mut *enumerator, &env).await.0, 0, "nothing is found twice");
        let told = enumerator.requested(SubtaskIndex(0), READERS);
        assert_eq!(
            told.iter().map(|(reader, event)| (reader.0, split_of(event).expect("a split").name)).collect::<Vec<_>>(),
            [(0, "b".into())]
        );
        assert_eq!(enumerator.requested(SubtaskIndex(0), READERS), Vec::new(), "there may be more, later");
    });
}

#[test]
fn a_reader_that_waits_is_given_the_next_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path(), Some(Duration::from_secs(1)), 100, 10);
    block_on(async {
        let env = RealEnv::default();
        let mut enumerator = enumerator(&settings);
        assert_eq!(enumerator.requested(SubtaskIndex(1), READERS), Vec::new());
        std::fs::write(folder.path().join("a"), "1\n").expect("written");
        let (count, told) = look_once(&mut *enumerator, &env).await;
        assert_eq!((count, told.len(), told[0].0), (1, 1, SubtaskIndex(1)));
    });
}

#[test]
fn a_state_that_is_not_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut enumerator = enumerator(&settings(folder.path(), None, 100, 10));
    let state = enumerator.state();
    for length in 0..state.len() {
        assert!(enumerator.restore(&state[..length]).is_err(), "cut to {length}");
    }
    let bad = FileSplit { name: "a".into(), start: 5, end: 9, offset: 4 };
    let mut bytes = Vec::new();
    bad.write(&mut bytes);
    assert!(matches!(FileSplit::read(&mut Reader::new(&bytes, 0)), Err(StoredError::Invalid { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// However files are cut, and wherever enumerator and readers are begun again from their states.
    #[test]
    fn every_line_of_every_file_is_read_once(
        files in prop::collection::vec(prop::collection::vec("[a-c]{0,9}", 0..12), 0..5),
        split_bytes in 1..60_u64, chunk_bytes in 1..20_usize, restarts in prop::collection::vec(any::<bool>(), 40),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut expected: Vec<String> = Vec::new();
        for (number, lines) in files.iter().enumerate() {
            std::fs::write(folder.path().join(format!("f{number}")), lines.join("\n")).expect("written");
            expected.extend(lines.join("\n").lines().map(str::to_owned));
        }
        let settings = settings(folder.path(), None, split_bytes, chunk_bytes);
        let mut got = block_on(async {
            let env = RealEnv::default();
            let mut enumerator = enumerator(&settings);
            look_once(&mut *enumerator, &env).await;
            let mut readers: Vec<FolderReader> = (0..READERS).map(|_| FolderReader::new(settings.clone())).collect();
            let (mut got, mut restarts, mut ended) = (Vec::new(), restarts.into_iter(), [false; READERS as usize]);
            while ended.contains(&false) {
                for (index, reader) in readers.iter_mut().enumerate() {
                    if restarts.next() == Some(true) {
                        enumerator = again(&*enumerator, &settings);
                        let mut next = FolderReader::new(settings.clone());
                        reader.splits().into_iter().for_each(|split| next.add(split));
                        *reader = next;
                    }
                    let mut out = Vec::new();
                    let reading = reader.next(&env, &mut out).await.expect("readable");
                    got.extend(out.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
                    if reading == Reading::Idle {
                        let told = enumerator.requested(SubtaskIndex(u32::try_from(index).expect("few")), READERS);
                        for (_, event) in told {
                            match split_of(&event) {
                                Some(split) => reader.add(split),
                                None => ended[index] = true,
                            }
                        }
                    }
                }
            }
            got
        });
        got.sort();
        expected.sort();
        prop_assert_eq!(got, expected);
    }
}
