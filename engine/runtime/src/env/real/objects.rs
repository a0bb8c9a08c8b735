//! Object stores of production. Which one, a URL says; with whose credentials, the environment variables that its own tools read
//! (`AWS_*`, `GOOGLE_*`, `AZURE_*`).
//!
//! Never here: repeated requests. The clients' own are turned off, so that waiting happens in one place.

use crate::env::objects::{ObjectError, Objects, PartId, Piece, PutMode, UploadId};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Stores want at least 5 MiB, and some of them parts that are all alike.
const PART_SIZE: usize = 8 << 20;
/// Of a text that we did not write ourselves.
const TEXT_LIMIT: usize = 300;

/// Every object store that is asked for; each is opened once. Cheap to clone.
#[derive(Clone, Default)]
pub struct RealObjects {
    opened: Arc<Mutex<BTreeMap<String, Opened>>>,
}

impl fmt::Debug for RealObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealObjects").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Opened {
    store: Arc<dyn ObjectStore>,
    uploads: Uploads,
    /// What to check if it does not answer.
    hint: Option<&'static str>,
}

/// How a store takes objects in parts.
#[derive(Clone)]
enum Uploads {
    ByNumber(Arc<dyn MultipartStore>),
    /// Parts in order, none of them twice: files, whose writes need no second try.
    InOrder(Arc<tokio::sync::Mutex<BTreeMap<UploadId, Box<dyn MultipartUpload>>>>),
}

/// One object: the store and the path in it.
struct Place {
    opened: Opened,
    path: Path,
    /// What stands before the path in a URL.
    store_url: String,
}

fn permanent(what: impl Into<String>) -> ObjectError {
    ObjectError::Permanent(what.into())
}

/// `s3://bucket/a/b` is `s3`, `bucket` and `a/b`.
fn split(url: &str) -> Result<(&str, &str, &str), ObjectError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| permanent("an object is named by a URL such as s3://bucket/path"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(permanent("credentials do not belong in a URL, but in environment variables"));
    }
    Ok((scheme, authority, path))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn any_variable(names: &[&str]) -> bool {
    names.iter().any(|name| variable(name).is_some())
}

fn open(scheme: &str, authority: &str) -> Result<Opened, ObjectError> {
    // Another provider may be there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let url = format!("{scheme}://{authority}");
    let needs = |what: &str| if authority.is_empty() { Err(permanent(format!("{scheme}:// needs {what}"))) } else { Ok(()) };
    let refused = |error: object_store::Error| permanent(plain(&error));
    match scheme {
        "s3" => {
            needs("a bucket, as in s3://bucket/path")?;
            let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL")).or_else(|| variable("AWS_ENDPOINT"));
            let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
            if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
                // Whoever says so means it.
                builder = builder.with_allow_http(true);
            }
            let given = ["AWS_ACCESS_KEY_ID", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
            let hint = (!any_variable(&given) && variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_none())
                .then_some("no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and this machine has no role");
            Ok(by_number(builder.build().map_err(refused)?, hint))
        }
        "gs" => {
            needs("a bucket, as in gs://bucket/path")?;
            let given =
                ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"];
            let hint = (!any_variable(&given))
                .then_some("no credentials: GOOGLE_APPLICATION_CREDENTIALS is not set, and this machine has no service account");
            let built = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry).build();
            Ok(by_number(built.map_err(refused)?, hint))
        }
        "az" => {
            needs("a container, as in az://container/path")?;
            if !any_variable(&["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_ACCOUNT_NAME"]) {
                return Err(permanent("no credentials: AZURE_STORAGE_ACCOUNT_NAME is not set"));
            }
            let given = [
                "AZURE_STORAGE_ACCOUNT_KEY",
                "AZURE_STORAGE_ACCESS_KEY",
                "AZURE_STORAGE_SAS_TOKEN",
                "AZURE_STORAGE_SAS_KEY",
                "AZURE_STORAGE_CLIENT_ID",
            ];
            let hint =
                (!any_variable(&given)).then_some("no credentials: AZURE_STORAGE_ACCOUNT_KEY is not set, and this machine has no identity");
            let built = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry).build();
            Ok(by_number(built.map_err(refused)?, hint))
        }
        "file" if authority.is_empty() => {
            let store = Arc::new(LocalFileSystem::new().with_fsync(true).with_automatic_cleanup(true));
            Ok(Opened { store, uploads: Uploads::InOrder(Arc::default()), hint: None })
        }
        "file" => Err(permanent("file:// needs an absolute path, as in file:///path")),
        "memory" => {
            static MEMORIES: OnceLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = OnceLock::new();
            let memories = &mut *MEMORIES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
            let store = memories.entry(authority.to_owned()).or_default().clone();
            Ok(Opened { store: store.clone(), uploads: Uploads::ByNumber(store), hint: None })
        }
        other => Err(permanent(format!("{other}:// is not the URL of an object store; there are s3, gs, az, file and memory"))),
    }
}

fn by_number(store: impl ObjectStore + MultipartStore, hint: Option<&'static str>) -> Opened {
    let store = Arc::new(store);
    Opened { store: store.clone(), uploads: Uploads::ByNumber(store), hint }
}

impl RealObjects {
    fn place(&self, url: &str) -> Result<Place, ObjectError> {
        let (scheme, authority, path) = split(url)?;
        let path = Path::parse(path).map_err(|error| permanent(plain(&error)))?;
        let store_url = format!("{scheme}://{authority}");
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match all.get(&store_url) {
            Some(opened) => opened.clone(),
            None => {
                let opened = open(scheme, authority)?;
                all.insert(store_url.clone(), opened.clone());
                opened
            }
        };
        Ok(Place { opened, path, store_url })
    }
}

impl Place {
    /// What an error means. Whatever may be over later is transient.
    fn told(&self, error: object_store::Error) -> ObjectError {
        use object_store::Error;
        match error {
            Error::NotFound { .. } => ObjectError::NotFound,
            Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => ObjectError::AlreadyExists,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                permanent(format!("the store denies access: {}", plain(&error)))
            }
            Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. } => permanent(plain(&error)),
            other => ObjectError::Transient(match self.opened.hint {
                Some(hint) => format!("{hint} ({})", plain(&other)),
                None => plain(&other),
            }),
        }
    }
}

/// An error in a few words. A store's own answer is not among them, beyond its status and code: it may quote what was signed.
fn plain(error: &dyn Error) -> String {
    let whole = error.to_string();
    let status = whole.split_once("status code: ").and_then(|(_, rest)| rest.split([':', ' ']).next());
    let code = whole.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    match (status, code) {
        (Some(status), Some(code)) => return format!("it answers {status} {}", without_secrets(code)),
        (Some(status), None) => return format!("it answers {}", without_secrets(status)),
        (None, Some(code)) => return format!("it answers {}", without_secrets(code)),
        (None, None) => {}
    }
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let inner = innermost.to_string();
    without_secrets(if inner.is_empty() { &whole } else { &inner })
}

/// Without values of variables that look like credentials, and without what follows `?` or stands before `@` in a URL.
fn without_secrets(text: &str) -> String {
    let mut text = text.split_whitespace().map(without_query).collect::<Vec<_>>().join(" ");
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let ours = ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix));
        let secret = ["KEY", "TOKEN", "SECRET", "PASSWORD", "SAS", "CREDENTIAL"].iter().any(|word| name.contains(word));
        if ours && secret && value.len() >= 4 {
            text = text.replace(&*value, "***");
        }
    }
    if let Some((at, _)) = text.char_indices().nth(TEXT_LIMIT) {
        text.truncate(at);
    }
    text
}

fn without_query(word: &str) -> String {
    let Some((before, rest)) = word.split_once("://") else { return word.to_owned() };
    let rest = rest.split('?').next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(authority, path)| (authority, format!("/{path}")));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{before}://{host}{path}")
}

impl Objects for RealObjects {
    fn part_size(&self) -> usize {
        PART_SIZE
    }

    async fn put(&self, url: &str, bytes: Bytes, mode: PutMode) -> Result<(), ObjectError> {
        let place = self.place(url)?;
        let mode = match mode {
            PutMode::Overwrite => object_store::PutMode::Overwrite,
            PutMode::Create => object_store::PutMode::Create,
        };
        let put = place.opened.store.put_opts(&place.path, bytes.into(), PutOptions::from(mode)).await;
        put.map(drop).map_err(|error| place.told(error))
    }

    async fn get_range(&self, url: &str, offset: u64, length: u64) -> Result<Piece, ObjectError> {
        let place = self.place(url)?;
        let range = GetRange::Bounded(offset..offset.saturating_add(length));
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = place.opened.store.get_opts(&place.path, options).await.map_err(|error| place.told(error))?;
        let object_size_bytes = got.meta.size;
        let bytes = got.bytes().await.map_err(|error| place.told(error))?;
        Ok(Piece { bytes, object_size_bytes })
    }

    async fn size(&self, url: &str) -> Result<u64, ObjectError> {
        let place = self.place(url)?;
        place.opened.store.head(&place.path).await.map(|meta| meta.size).map_err(|error| place.told(error))
    }

    async fn delete(&self, urls: &[String]) -> Result<(), ObjectError> {
        let Some(first) = urls.first() else { return Ok(()) };
        let place = self.place(first)?;
        let paths = urls.iter().map(|url| self.place(url).map(|place| place.path)).collect::<Result<Vec<_>, _>>()?;
        let paths = futures_util::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = place.opened.store.delete_stream(paths);
        let mut outcome = Ok(());
        while let Some(one) = deleted.next().await {
            match one.map_err(|error| place.told(error)) {
                Ok(_) | Err(ObjectError::NotFound) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let place = self.place(prefix)?;
        let listed: Vec<_> = place.opened.store.list(Some(&place.path)).try_collect().await.map_err(|error| place.told(error))?;
        let mut urls: Vec<String> = listed.iter().map(|meta| format!("{}/{}", place.store_url, meta.location)).collect();
        urls.sort();
        Ok(urls)
    }

    async fn begin_upload(&self, url: &str) -> Result<UploadId, ObjectError> {
        let place = self.place(url)?;
        match &place.opened.uploads {
            Uploads::ByNumber(store) => store.create_multipart(&place.path).await.map(UploadId).map_err(|error| place.told(error)),
            Uploads::InOrder(uploads) => {
                let upload = place.opened.store.put_multipart(&place.path).await.map_err(|error| place.told(error))?;
                let mut uploads = uploads.lock().await;
                let number = uploads.last_key_value().map_or(0, |(UploadId(last), _)| last.parse::<u64>().unwrap_or(0) + 1);
                let id = UploadId(format!("{number:020}"));
                uploads.insert(id.clone(), upload);
                Ok(id)
            }
        }
    }

    async fn put_part(&self, url: &str, upload: &UploadId, number: u32, bytes: Bytes) -> Result<PartId, ObjectError> {
        let place = self.place(url)?;
        match &place.opened.uploads {
            Uploads::ByNumber(store) => {
                let put = store.put_part(&place.path, &upload.0, number as usize, bytes.into()).await;
                put.map(|part| PartId(part.content_id)).map_err(|error| place.told(error))
            }
            Uploads::InOrder(uploads) => {
                let mut uploads = uploads.lock().await;
                let put = uploads.get_mut(upload).ok_or(ObjectError::NotFound)?.put_part(bytes.into()).await;
                // A second try would write it twice.
                put.map(|()| PartId(String::new())).map_err(|error| permanent(plain(&error)))
            }
        }
    }

    async fn complete_upload(&self, url: &str, upload: &UploadId, parts: &[PartId]) -> Result<(), ObjectError> {
        let place = self.place(url)?;
        match &place.opened.uploads {
            Uploads::ByNumber(store) => {
                let parts = parts.iter().map(|PartId(id)| object_store::multipart::PartId { content_id: id.clone() }).collect();
                store.complete_multipart(&place.path, &upload.0, parts).await.map(drop).map_err(|error| place.told(error))
            }
            Uploads::InOrder(uploads) => {
                let mut found = uploads.lock().await.remove(upload).ok_or(ObjectError::NotFound)?;
                found.complete().await.map(drop).map_err(|error| permanent(plain(&error)))
            }
        }
    }

    async fn abort_upload(&self, url: &str, upload: &UploadId) -> Result<(), ObjectError> {
        let place = self.place(url)?;
        match &place.opened.uploads {
            Uploads::ByNumber(store) => store.abort_multipart(&place.path, &upload.0).await.map_err(|error| place.told(error)),
            Uploads::InOrder(uploads) => {
                let mut found = uploads.lock().await.remove(upload).ok_or(ObjectError::NotFound)?;
                found.abort().await.map_err(|error| place.told(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
