//! What becomes of an error of RocksDB or of the local disk.

use cofferdam_engine::state::cold::ColdError;
use std::fmt::Display;
use std::path::Path;

/// The name of this backend in errors and metadata. Frozen.
pub const BACKEND: &str = "rocksdb";

/// For `map_err`: RocksDB's own message, which names the file where it is about one.
pub fn cannot<E: Display>(operation: &'static str) -> impl Fn(E) -> ColdError {
    move |cause| ColdError { backend: BACKEND, operation, cause: cause.to_string() }
}

/// For `map_err`: an error that does not say which file or folder it is about.
pub fn cannot_at<'a, E: Display>(operation: &'static str, path: &'a Path) -> impl Fn(E) -> ColdError + 'a {
    move |cause| ColdError { backend: BACKEND, operation, cause: format!("{}: {cause}", path.display()) }
}
