//! Has a subtask taken in what its checkpoint has for it? Counted from the stored bytes by our own reader, and compared with what
//! the subtask says it holds before it takes the first record.

use super::cut::Contradiction;
use super::decode::Checkpoint;
use super::reference;
use crate::scenario::JobKind;
use cofferdam_protocol::TaskId;

/// Judges one subtask of an attempt that begins from this checkpoint. A scenario does not change its parallelism, so each subtask
/// gets what it put in, no more and no less.
///
/// # Errors
/// What is missing, or too much.
pub fn judge(kind: JobKind, checkpoint: &Checkpoint, task: TaskId, held: u64) -> Result<(), Contradiction> {
    let vertices = reference::vertices(kind);
    let known = |uid: &str| match uid.strip_prefix("chain-").and_then(|place| vertices.get(place.parse::<usize>().ok()?)) {
        // A chain without a name has records under way, and nothing else.
        Some(uids) => uids.is_empty(),
        None => vertices.iter().any(|uids| uids.contains(&uid)),
    };
    if let Some((uid, _)) = checkpoint.parts.keys().find(|(uid, _)| !known(uid)) {
        return Err(format!("c{} has state of {uid}, which the job does not have", checkpoint.number));
    }
    let uids = vertices.get(task.vertex.0 as usize).ok_or_else(|| format!("{task} is no subtask of the job"))?;
    let mut entries = 0;
    for uid in *uids {
        let part = checkpoint.parts.get(&((*uid).to_owned(), task.subtask.0));
        entries += part.ok_or_else(|| format!("c{} has no part of {uid} {}", checkpoint.number, task.subtask))?;
    }
    if entries != held {
        return Err(format!("{task} ({}) holds {held} entries, c{} has {entries} for it", uids.join(", "), checkpoint.number));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
