//! What cannot be done gets one clear line on stderr and exit code 2.

use crate::binary;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

fn assert_refused(arguments: &[&str], expected: &str) {
    let output = binary::run(arguments);
    let line = binary::stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?} said {line}");
    assert!(line.starts_with("cofferdam: ") && line.trim_end().lines().count() == 1, "{arguments:?} said {line}");
    assert!(line.contains(expected), "{arguments:?} said {line}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders are UTF-8")
}

fn assert_wordcount_refused(input: &str, output: &str, extra: &[&str], expected: &str) {
    let checkpoints = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["run", "wordcount", "--input", input, "--output", output, "--checkpoints", text(checkpoints.path())];
    arguments.extend(extra);
    assert_refused(&arguments, expected);
}

#[test]
fn an_unknown_scenario_is_refused_by_name() {
    assert_refused(&["sweep", "no-such-scenario", "--seeds", "0..1"], "no-such-scenario");
    assert_refused(&["sweep", "no-such-*", "--seeds", "0..1"], "no-such-*");
    assert_refused(&["replay", "no-such-scenario", "--seed", "1"], "no-such-scenario");
}

#[test]
fn a_range_that_is_none_is_refused() {
    for range in ["5..5", "9..3", "5", "a..b", "-1..5", ".."] {
        assert_refused(&["sweep", "--seeds", range], "--seeds");
    }
    assert_refused(&["sweep", "--for", "soon"], "60s");
    assert_refused(&["sweep", "--jobs", "0", "--seeds", "0..1"], "--jobs");
}

#[test]
fn a_replay_without_a_seed_is_refused() {
    let name = cofferdam_scenarios::all().first().expect("there are scenarios").name;
    assert_refused(&["replay", name], "--seed");
}

#[test]
fn a_file_that_is_no_scenario_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (missing, wrong) = (folder.path().join("missing.toml"), folder.path().join("wrong.toml"));
    std::fs::write(&wrong, "[scenario]\nname = 3\n").expect("written");
    assert_refused(&["replay", text(&missing)], "missing.toml");
    assert_refused(&["replay", text(&wrong), "--seed", "1"], "wrong.toml");
    assert_refused(&["sweep", text(&wrong)], "wrong.toml");
}

#[test]
fn a_world_or_bound_that_is_none_is_refused() {
    assert_refused(&["explore", "no-such-world"], "no-such-world");
    assert_refused(&["explore", "aligned", "--bound", "no-such-bound=1"], "no-such-bound");
    assert_refused(&["explore", "aligned", "--bound", "crashes"], "NAME=N");
    assert_refused(&["explore", "aligned", "--bound", "crashes=9"], "from 0 to 4");
    assert_refused(&["explore", "aligned", "--memory-limit", "0"], "--memory-limit");
    assert_refused(&["explore", "aligned", "--random"], "--for");
}

#[test]
fn a_path_that_cannot_be_followed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("failure.toml");
    let file = |world: &str, bounds: &str, actions: &str| {
        let text = format!("world = \"{world}\"\nviolated = \"\"\nwitness = \"\"\nactions = [{actions}]\n[bounds]\n{bounds}\n");
        std::fs::write(&path, text).expect("written");
    };
    file("no-such-world", "", "");
    assert_refused(&["replay", text(&path)], "no-such-world");
    file("aligned", "crashes = 9", "");
    assert_refused(&["replay", text(&path)], "crashes");
    file("aligned", "", "\"w0 t0 fly\"");
    assert_refused(&["replay", text(&path)], "w0 t0 fly");
}

#[cfg(not(feature = "rocksdb"))]
#[test]
fn what_needs_rocksdb_says_how_to_build_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    let resumed = "{ from = \"savepoint\", claim = false, parallelism = 2, backend = \"rocksdb\" }";
    for of in ["cluster = { backend = \"rocksdb\" }".to_owned(), format!("resume = {resumed}")] {
        let scenario = format!("[scenario]\nname = \"a\"\nstory = \"b\"\ncalm_after_ms = 1\nliveness_bound_ms = 1\n{of}\n");
        std::fs::write(&path, scenario).expect("written");
        assert_refused(&["replay", text(&path), "--seed", "1"], "--features rocksdb");
        assert_refused(&["sweep", text(&path)], "--features rocksdb");
    }
    assert_refused(&["replay", "rocksdb-steady", "--seed", "1"], "--features rocksdb");
    assert_refused(&["planted", "rocksdb-ignores-deletions"], "--features rocksdb");
}

#[test]
fn incremental_checkpoints_in_memory_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    let cluster = "cluster = { backend = \"sorted-runs\", storage = \"memory\" }";
    let scenario = format!("[scenario]\nname = \"a\"\nstory = \"b\"\ncalm_after_ms = 1\nliveness_bound_ms = 1\n{cluster}\n");
    std::fs::write(&path, scenario).expect("written");
    assert_refused(&["replay", text(&path), "--seed", "1"], "cluster.incremental");
}

#[test]
fn a_word_count_of_what_cannot_be_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (missing, output) = (folder.path().join("missing"), folder.path().join("out"));
    assert_wordcount_refused(text(&missing), text(&output), &[], "missing");
    assert_wordcount_refused("/dev/null", text(&output), &[], "not a regular file");
    assert_wordcount_refused("/dev/null", text(&output), &["--watch", "1s"], "not a regular file");
    let file = folder.path().join("file");
    std::fs::write(&file, "a b c").expect("written");
    assert_wordcount_refused(text(&file), text(&output), &["--watch", "1s"], "--watch needs a folder");
}

#[test]
fn a_word_count_out_of_range_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("text"), folder.path().join("out"));
    std::fs::write(&input, "a b c").expect("written");
    for (option, value) in [("--workers", "0"), ("--parallelism", "0"), ("--parallelism", "129"), ("--interval", "1ms")] {
        assert_wordcount_refused(text(&input), text(&output), &[option, value], option.trim_start_matches('-'));
    }
    assert_refused(&["run", "wordcount"], "--input");
    assert_refused(&["frobnicate"], "frobnicate");
}

#[test]
fn old_output_is_not_mixed_with_new() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("text"), folder.path().join("out"));
    std::fs::write(&input, "a b c").expect("written");
    std::fs::create_dir(&output).expect("made");
    std::fs::write(output.join("counts-00000"), "old\t1\n").expect("written");
    assert_wordcount_refused(text(&input), text(&output), &[], "not empty");
    assert_wordcount_refused(text(&input), text(&input), &[], "text");
}

#[test]
fn a_taken_port_is_refused_by_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("text");
    std::fs::write(&input, "a b c").expect("written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("bound").port().to_string();
    assert_wordcount_refused(text(&input), text(&folder.path().join("out")), &["--port", &port], &port);
}

#[test]
fn a_command_for_nobody_is_refused() {
    for command in ["cancel", "checkpoint"] {
        for address in ["nonsense", "127.0.0.1", "127.0.0.1:99999", ":", ""] {
            assert_refused(&[command, address], "is not the address of a coordinator");
        }
        assert_refused(&[command], "HOST:PORT");
    }
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    assert_refused(&["cancel", &free.to_string()], "nobody listens there");
}

#[test]
fn a_command_for_somebody_else_is_refused() {
    for answer in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("bound").to_string();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let mut command = [0; 4];
            stream.read_exact(&mut command).expect("a command begins");
            stream.write_all(answer.as_bytes()).expect("it listens");
        });
        assert_refused(&["cancel", &address], &address);
        answering.join().expect("it has answered");
    }
}

#[test]
fn statistics_that_cannot_be_written_are_refused_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("text"), folder.path().join("out"));
    std::fs::write(&input, "a b c").expect("written");
    for file in [folder.path().join("missing/statistics.json"), folder.path().to_owned()] {
        assert_wordcount_refused(text(&input), text(&output), &["--statistics", text(&file)], text(&file));
    }
    assert_wordcount_refused(text(&input), text(&output), &["--retention", "sometimes"], "retention");
}

#[test]
fn an_object_store_that_cannot_be_used_is_refused_by_its_url() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("text"), folder.path().join("out"));
    std::fs::write(&input, "a b c").expect("written");
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let nobody = format!("http://{nobody}");
    let key = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "verysecretindeed")];
    let cases = [
        ("ftp://host/path", vec![], "ftp://"),
        ("s3://", vec![], "bucket"),
        ("s3://AKIDEXAMPLE:verysecretindeed@bucket/path", vec![], "environment"),
        ("memory://here/path", vec![], "one process"),
        ("s3://bucket/path", vec![("AWS_METADATA_ENDPOINT", nobody.as_str())], "AWS_ACCESS_KEY_ID"),
        ("az://container/path", vec![], "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://bucket/path", [&key[..], &[("AWS_ENDPOINT_URL", nobody.as_str())]].concat(), "refused"),
    ];
    for (url, variables, expected) in cases {
        let mut command = std::process::Command::new(binary::path());
        command.args(["run", "wordcount", "--input", text(&input), "--output", text(&output), "--checkpoints", url]);
        for (name, _) in std::env::vars_os() {
            let stores = ["AWS_", "AZURE_", "GOOGLE_"];
            if stores.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let ran = command.envs(variables).env("NO_PROXY", "127.0.0.1").output().expect("the binary can be started");
        let line = binary::stderr(&ran);
        assert_eq!(ran.status.code(), Some(2), "{url} said {line}");
        assert!(line.starts_with("cofferdam: ") && line.trim_end().lines().count() == 1, "{url} said {line}");
        assert!(line.contains(expected), "{url} said {line}");
        assert!(!line.contains("verysecretindeed"), "{url} said {line}");
    }
}

#[test]
fn a_snapshot_whose_url_cannot_be_is_refused_without_repeating_what_may_be_secret() {
    let cases = [
        ("ftp://host/path", "ftp://"),
        ("s3://AKIDEXAMPLE:verysecretindeed@bucket/path", "environment"),
        ("az://container/path?sig=verysecretindeed", "environment"),
        ("memory://here/path", "one process"),
    ];
    for (url, expected) in cases {
        for command in [&["inspect"][..], &["inspect", "--verify"], &["inspect", "--orphans"], &["dispose"], &["savepoint", "127.0.0.1:1"]]
        {
            let output = binary::run(command.iter().copied().chain([url]));
            let line = binary::stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command:?} {url} said {line}");
            assert!(line.contains(expected) && line.trim_end().lines().count() == 1, "{command:?} {url} said {line}");
            assert!(!line.contains("verysecretindeed"), "{command:?} {url} said {line}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (input, output) = (folder.path().join("text"), folder.path().join("out"));
        std::fs::write(&input, "a b c").expect("written");
        assert_wordcount_refused(text(&input), text(&output), &["--from", url], expected);
        assert!(!output.exists(), "nothing was begun");
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let command = format!("{} scenarios | head -c 1", text(binary::path()));
    let output = std::process::Command::new("sh").args(["-c", &command]).output().expect("a shell can be started");
    assert_eq!(binary::stderr(&output), "");
    assert!(!binary::stdout(&output).is_empty());
}
