//! An S3 server in this process: requests go through a gate, so that a test can act while one is under way.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::Request;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The only bucket.
pub const BUCKET: &str = "checkpoints";
const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "verysecretindeed";

/// The server; it goes with its runtime.
pub struct S3Server {
    address: SocketAddr,
    root: PathBuf,
    seen: Receiver<String>,
    _runtime: tokio::runtime::Runtime,
}

impl S3Server {
    /// Serves from a folder. Requests whose `METHOD path?query` contains one of the words of `slow` are held for so long before
    /// they are served.
    pub fn start(folder: &Path, slow: &'static [&'static str], hold: Duration) -> Self {
        let root = folder.join("s3");
        std::fs::create_dir_all(root.join(BUCKET)).expect("a folder for the bucket");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(&root).expect("the folder is there"));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let listening = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listening.expect("the S3 server of this test needs a free port on 127.0.0.1");
        let address = listener.local_addr().expect("bound");
        let (sender, seen) = mpsc::channel();
        // One put at a time: the server looks whether there is an object, and then writes it.
        let writing = Arc::new(tokio::sync::Mutex::new(()));
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a listener that is bound accepts");
                let (service, sender, writing) = (service.clone(), sender.clone(), writing.clone());
                let gated = service_fn(move |request: Request<Incoming>| {
                    let (service, sender, writing) = (service.clone(), sender.clone(), writing.clone());
                    async move {
                        let name = format!("{} {}", request.method(), request.uri());
                        let held = slow.iter().any(|word| name.contains(word));
                        let writes = name.starts_with("PUT ");
                        // The test may be over already.
                        let _ = sender.send(name);
                        if held {
                            tokio::time::sleep(hold).await;
                        }
                        let _one = if writes { Some(writing.lock().await) } else { None };
                        service.call(request.map(s3s::Body::from)).await
                    }
                });
                tokio::spawn(async move {
                    // A client that was killed breaks its connections.
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), gated).await;
                });
            }
        });
        Self { address, root, seen, _runtime: runtime }
    }

    /// What the processes of a job must have in their environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", KEY_ID.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
            ("AWS_REGION", "us-east-1".into()),
            ("NO_PROXY", "127.0.0.1".into()),
        ]
    }

    /// Waits for the next request whose `METHOD path?query` contains all the words. It is under way then.
    pub fn wait_for(&self, words: &[&str], patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            match self.seen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(request) if words.iter().all(|word| request.contains(word)) => return request,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no request with {words:?} came within {patience:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the S3 server has died"),
            }
        }
    }

    /// Forgets the requests that have come so far.
    pub fn forget(&self) {
        while self.seen.try_recv().is_ok() {}
    }

    /// Puts an object that no job has put.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.root.join(BUCKET).join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a bucket")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    /// The names of all objects.
    pub fn objects(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.root.join(BUCKET), "", &mut names);
        names.sort();
        names
    }

    /// Uploads that nobody has completed or aborted, as the server keeps them beside its buckets.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.root, "", &mut names);
        names.retain(|name| name.contains("part-") || name.starts_with(".upload_id") || name.starts_with(".upload-"));
        names
    }
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the server") {
        let entry = entry.expect("readable");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("known").is_dir() {
            walk(&entry.path(), &format!("{name}/"), names);
        } else {
            names.push(name);
        }
    }
}
