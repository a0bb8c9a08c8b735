//! Folders and URLs, as users name them: where snapshots are, or are to be.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// The stores that a job's processes can share, as the schemes of URLs.
const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// A folder, or a place in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    named: PathBuf,
    path: String,
}

impl Place {
    /// Checks a URL, and makes a folder's path absolute.
    ///
    /// # Errors
    /// It cannot be a place. The texts show nothing of a URL that may be secret.
    pub fn of(named: &Path) -> Result<Self, Failure> {
        let path = match named.to_str().filter(|named| is_url(named)) {
            Some(url) => checked(url)?.to_owned(),
            None => absolute(named)?,
        };
        Ok(Self { named: named.to_owned(), path })
    }

    /// As the engine names it: an absolute path, or a URL, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As the user has named it.
    pub fn named(&self) -> String {
        self.named.display().to_string()
    }

    /// Whether it is in an object store.
    pub fn is_url(&self) -> bool {
        is_url(&self.path)
    }
}

/// Whether a place is in an object store. A folder of such a name has to be given as `./s3:...`.
pub fn is_url(place: &str) -> bool {
    place.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A path from the root on.
///
/// # Errors
/// There is no current folder, or it is not text.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|source| Failure::Path { purpose: "find", path: path.to_owned(), source })?;
    let text = absolute.into_os_string().into_string().map_err(|path| Failure::PathNotText(path.into()))?;
    Ok(if text.len() > 1 { text.trim_end_matches('/').to_owned() } else { text })
}

/// A URL in which nothing is secret, without a slash at its end.
fn checked(url: &str) -> Result<&str, Failure> {
    let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let refused = |what: String| {
        // Whatever may be a password is left out.
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(['?', '#']).next().unwrap_or_default();
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Err(Failure::Url { url: format!("{scheme}://{host}/{path}"), what })
    };
    if authority.contains('@') {
        return refused("credentials do not belong in a URL, but in environment variables".into());
    }
    if rest.contains(['?', '#']) {
        return refused("nothing may follow its path; credentials belong in environment variables".into());
    }
    if scheme == "memory" {
        return refused("it lives in one process, and the processes of a job share it".into());
    }
    if !SCHEMES.contains(&scheme) {
        return refused(format!("{scheme}:// is not the URL of an object store; there are s3, gs, az and file"));
    }
    if rest.trim_matches('/').is_empty() || (authority.is_empty() && scheme != "file") {
        return refused("it names no bucket, container or folder".into());
    }
    Ok(url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_url_and_everything_else_a_folder() {
        let place = |named: &str| Place::of(Path::new(named)).expect("a place");
        assert_eq!(place("s3://bucket/jobs/").path(), "s3://bucket/jobs");
        assert!(place("file:///tmp/jobs").is_url());
        assert_eq!(place("/tmp/jobs/").path(), "/tmp/jobs");
        assert!(!place("./s3://bucket").is_url());
        assert_eq!(place("s3://bucket/jobs/").named(), "s3://bucket/jobs/");
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        for url in ["s3://AKID:hush@bucket/path", "az://container/path?sig=hush", "gs://bucket/path#hush", "ftp://me:hush@host/path?hush"] {
            let said = Place::of(Path::new(url)).expect_err("it is refused").to_string();
            assert!(!said.contains("hush") && said.contains("://"), "{said}");
        }
        assert!(Place::of(Path::new("memory://here/path")).is_err(), "nobody else would find it");
        for url in ["s3://", "s3:///path", "file:///"] {
            assert!(Place::of(Path::new(url)).is_err(), "{url} names nothing");
        }
    }
}
