//! Facts about real object stores that need no network: files and memory, and what errors say.

use super::*;
use crate::env::real::RealEnv;
use crate::storage::object::check;

fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// All that the port promises, below a URL.
async fn promises(root: &str) {
    let objects = RealObjects::default();
    let (one, other) = (format!("{root}/chk-1/a%2fb~c"), format!("{root}/chk-10/x"));
    assert_eq!(objects.size(&one).await, Err(ObjectError::NotFound));
    objects.put(&one, Bytes::from_static(b"first"), PutMode::Create).await.expect("created");
    assert_eq!(objects.put(&one, Bytes::from_static(b"second"), PutMode::Create).await, Err(ObjectError::AlreadyExists));
    let piece = objects.get_range(&one, 1, 100).await.expect("it is there");
    assert_eq!((&piece.bytes[..], piece.object_size_bytes), (&b"irst"[..], 5));
    objects.put(&one, Bytes::from_static(b"third"), PutMode::Overwrite).await.expect("overwritten");
    let upload = objects.begin_upload(&other).await.expect("begun");
    let mut parts = Vec::new();
    for number in 0..3_u32 {
        parts.push(objects.put_part(&other, &upload, number, Bytes::from(vec![7; 6 << 20])).await.expect("written"));
    }
    assert_eq!(objects.size(&other).await, Err(ObjectError::NotFound), "not before it is complete");
    objects.complete_upload(&other, &upload, &parts).await.expect("complete");
    assert_eq!(objects.size(&other).await, Ok(18 << 20));
    assert_eq!(objects.list(&format!("{root}/chk-1")).await, Ok(vec![one.clone()]), "a prefix ends at a slash");
    assert_eq!(objects.list(root).await, Ok(vec![one.clone(), other.clone()]));
    let aborted = objects.begin_upload(&one).await.expect("begun");
    objects.put_part(&one, &aborted, 0, Bytes::from_static(b"x")).await.expect("written");
    objects.abort_upload(&one, &aborted).await.expect("aborted");
    for _ in 0..2 {
        objects.delete(&[one.clone(), other.clone()]).await.expect("gone is gone");
    }
    assert_eq!(objects.list(root).await, Ok(Vec::new()));
    check(&RealEnv::default(), root).await.expect("fit for checkpoints");
}

#[test]
fn files_and_memory_keep_the_promises_of_the_port() {
    let folder = tempfile::tempdir().expect("a folder");
    block_on(promises(&format!("file://{}/job", folder.path().display())));
    block_on(promises("memory://promises/job"));
}

#[test]
fn memory_is_shared_within_a_process() {
    block_on(async {
        let url = "memory://shared/x";
        RealObjects::default().put(url, Bytes::from_static(b"1"), PutMode::Create).await.expect("created");
        assert_eq!(RealObjects::default().size(url).await, Ok(1));
    });
}

#[test]
fn a_url_that_names_no_store_is_refused_for_good() {
    for (url, word) in [
        ("ftp://host/x", "ftp"),
        ("s3:///x", "bucket"),
        ("file://relative/x", "absolute"),
        ("plain/path", "URL"),
        ("s3://key:secret@bucket/x", "environment"),
    ] {
        match block_on(RealObjects::default().size(url)) {
            Err(ObjectError::Permanent(text)) => assert!(text.contains(word) && !text.contains("secret"), "{url}: {text}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[test]
fn texts_keep_no_secrets() {
    assert_eq!(without_secrets("error for https://user:pw@host/a/b?sig=abc&x=1 after 3 s"), "error for https://host/a/b after 3 s");
    let body =
        "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><StringToSign>x</StringToSign>";
    let error = object_store::Error::Generic { store: "S3", source: body.into() };
    assert_eq!(plain(&error), "it answers 403 SignatureDoesNotMatch");
}
