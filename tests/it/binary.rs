//! The `cofferdam` binary, as a user starts it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What is built with, as `cargo test` was.
const FEATURES: &[&str] = if cfg!(feature = "rocksdb") { &["--features", "rocksdb"] } else { &[] };

/// The binary of the profile that this test was built with. Cargo has built it already when the whole workspace is tested; a run
/// of this package alone may find it missing or old, so it is always asked for.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        // <target>/<profile>/deps/it-<hash>
        let profile = test.ancestors().nth(2).expect("tests are two folders below the profile's").to_owned();
        let release = profile.file_name().is_some_and(|name| name == "release");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // With a test beside it, and from the root: the features of all dependencies are then those of `cargo test`, and nothing of
        // what that has built is built again.
        build.args(["build", "--bin", "cofferdam", "--test", "it"]).args(FEATURES).args(release.then_some("--release"));
        if FEATURES.is_empty() {
            // Another package has a test of that name, which cannot be built without the feature.
            build.args(["--package", "cofferdam", "--package", "cofferdam-tests"]);
        }
        build.arg("--target-dir").arg(profile.parent().expect("a profile is in a target folder"));
        // What cargo tells this test about its package is nothing to the build scripts of others; one of them would run again.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                build.env_remove(name);
            }
        }
        let built = build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output().expect("cargo can be started");
        assert!(built.status.success(), "cofferdam does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        profile.join("cofferdam")
    })
}

/// Runs it to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(path()).args(arguments).output().expect("the binary can be started")
}

/// What it said on stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it said on stdout.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
