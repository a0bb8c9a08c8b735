use super::*;
use rand::SeedableRng;

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("it fails").kind()
}

fn tree_with(paths: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for path in paths {
        tree.write(path, path.as_bytes()).expect("a fresh disk");
    }
    tree
}

#[test]
fn errors_are_those_of_the_contract() {
    let mut tree = tree_with(&["/a/file"]);
    assert_eq!(kind(tree.create("/b/new")), ErrorKind::NotFound);
    assert_eq!(kind(tree.create("/a/file")), ErrorKind::AlreadyExists);
    assert_eq!(kind(tree.create("/a/file/under")), ErrorKind::NotADirectory);
    assert_eq!(kind(tree.create_folder("/a")), ErrorKind::AlreadyExists);
    assert_eq!(kind(tree.create_folder("/b/c")), ErrorKind::NotFound);
    assert_eq!(kind(tree.open("/a")), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.open("/a/none")), ErrorKind::NotFound);
    assert_eq!(kind(tree.remove("/a")), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.remove_folder("/a")), ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(tree.link("/a/file", "/a/file")), ErrorKind::AlreadyExists);
    assert_eq!(kind(tree.rename("/a/none", "/a/x")), ErrorKind::NotFound);
    assert_eq!(kind(tree.rename("/a/file", "/file")), ErrorKind::CrossesDevices);
    assert_eq!(kind(tree.list("/b")), ErrorKind::NotFound);
    assert_eq!(kind(tree.sync_folder("/a/file")), ErrorKind::NotADirectory);
}

#[test]
fn a_listing_is_sorted() {
    let tree = tree_with(&["/a/3", "/a/1", "/a/2"]);
    assert_eq!(tree.list("/a").expect("a folder"), ["1", "2", "3"]);
}

#[test]
fn a_rename_replaces_its_target_and_frees_its_bytes() {
    let mut tree = tree_with(&["/a/old", "/a/new"]);
    tree.rename("/a/new", "/a/old").expect("same folder");
    assert_eq!(tree.live_file("/a/old").expect("there"), b"/a/new");
    assert_eq!(tree.list("/a").expect("there"), ["old"]);
    assert_eq!(tree.used_bytes(), 6);
}

#[test]
fn bytes_stay_as_long_as_one_link_names_them() {
    let mut tree = tree_with(&["/a/one"]);
    tree.link("/a/one", "/a/two").expect("free");
    tree.remove("/a/one").expect("there");
    assert_eq!(tree.live_file("/a/two").expect("there"), b"/a/one");
    assert_eq!(tree.used_bytes(), 6);
    tree.remove("/a/two").expect("there");
    assert_eq!(tree.used_bytes(), 0);
}

#[test]
fn a_rename_that_is_not_synced_may_be_lost_and_is_never_half_done() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let mut tree = tree_with(&["/a/old", "/a/new"]);
        tree.rename("/a/new", "/a/old").expect("same folder");
        tree.power_lost(&mut ChaCha8Rng::seed_from_u64(seed));
        match (tree.live_file("/a/old").expect("never without").as_slice(), tree.live_file("/a/new").is_ok()) {
            (b"/a/old", true) => lost += 1,
            (b"/a/new", false) => kept += 1,
            other => panic!("half a rename: {other:?}"),
        }
    }
    assert!(lost > 10 && kept > 10, "{lost} lost, {kept} kept");
}

#[test]
fn a_synced_folder_keeps_its_entries_and_nothing_of_folders_that_were_not() {
    let mut tree = tree_with(&[]);
    tree.create_folder("/a").expect("free");
    let file = tree.create("/a/file").expect("free");
    tree.append(file, b"x").expect("a file");
    tree.file_mut(file).expect("a file").sync();
    tree.sync_folder("/a").expect("a folder");
    assert!(tree.all_files(true).is_empty(), "the folder itself has no durable entry");
    tree.sync_folder("/").expect("a folder");
    tree.power_lost(&mut ChaCha8Rng::seed_from_u64(1));
    assert_eq!(tree.all_files(false), BTreeMap::from([("/a/file".to_owned(), b"x".to_vec())]));
    assert_eq!(tree.used_bytes(), 1);
}

#[test]
fn a_removal_that_is_not_synced_may_come_back_with_its_content() {
    let back = (0..100).filter(|&seed| {
        let mut tree = tree_with(&["/a/file"]);
        tree.remove("/a/file").expect("there");
        tree.power_lost(&mut ChaCha8Rng::seed_from_u64(seed));
        tree.live_file("/a/file").is_ok_and(|bytes| bytes == b"/a/file")
    });
    assert!((10..90).contains(&back.count()));
}
