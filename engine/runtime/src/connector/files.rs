//! Files and folders that sinks make.

use super::ConnectorError;
use crate::env::{Env, File, Files};
use std::io;

/// Writes a whole file so that it is there completely or not at all, and durable. `temporary` is its name until then.
pub(super) async fn publish<E: Env>(env: &E, folder: &str, name: &str, temporary: &str, text: &str) -> Result<(), ConnectorError> {
    let (temporary, path) = (format!("{folder}/{temporary}"), format!("{folder}/{name}"));
    let files = env.files();
    if let Err(error) = files.remove(&temporary).await {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(ConnectorError::io(&temporary)(error));
        }
    }
    let mut file = files.create(&temporary).await.map_err(ConnectorError::io(&temporary))?;
    file.append(text.as_bytes()).await.map_err(ConnectorError::io(&temporary))?;
    file.sync().await.map_err(ConnectorError::io(&temporary))?;
    files.rename(&temporary, &path).await.map_err(ConnectorError::io(&path))?;
    files.sync_folder(folder).await.map_err(ConnectorError::io(folder))?;
    // Why: where the files are on another machine, it may have lost power since the rename; the sync then finds nothing to do.
    let file = files.open(&path).await.map_err(ConnectorError::io(&path))?;
    let size = file.size().await.map_err(ConnectorError::io(&path))?;
    if size != text.len() as u64 {
        return Err(ConnectorError::Invalid { path, what: format!("{size} bytes are there, {} were written", text.len()) });
    }
    Ok(())
}

/// Makes a folder that may be there already, durably.
pub(super) async fn make_folder<E: Env>(env: &E, path: &str) -> Result<(), ConnectorError> {
    match env.files().create_folder(path).await {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(ConnectorError::io(path)(error)),
    }
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        env.files().sync_folder(parent).await.map_err(ConnectorError::io(parent))?;
    }
    Ok(())
}
