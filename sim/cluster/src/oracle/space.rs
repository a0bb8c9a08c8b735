//! How much of the files that checkpoints share is still used: what they keep must not be many times what they need.

use super::decode::Physical;
use crate::scenario::MergeSpec;
use std::collections::BTreeMap;

/// Holds a checkpoint's physical files against the setting.
///
/// # Errors
/// The file that is too large for what is used of it, or another one than the checkpoint says.
pub fn judge(merge: Option<MergeSpec>, files: &BTreeMap<String, Physical>) -> Result<(), String> {
    for (path, Physical { used_bytes, end_bytes, said_bytes, file_bytes }) in files {
        let Some(merge) = merge else { return Err(format!("{path} is a merged file, but nothing is to be merged")) };
        let most = u64::from(merge.max_space_amplification);
        if *said_bytes > used_bytes.saturating_mul(most) {
            return Err(format!("{used_bytes} of {said_bytes} bytes of {path} are used: it may have {most} times as many"));
        }
        // Nothing more can be asked: later checkpoints may have added to it, and what was never made durable may be gone.
        if said_bytes < end_bytes {
            return Err(format!("{path} has a segment up to {end_bytes}, and is said to have had {said_bytes} bytes"));
        }
        if *file_bytes > merge.max_file_bytes {
            return Err(format!("{path} has {file_bytes} bytes, more than the {} that a file may have", merge.max_file_bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_mostly_dead_is_too_large() {
        let merge = Some(MergeSpec { max_file_bytes: 100, ..MergeSpec::default() });
        let judged = |used_bytes, said_bytes, file_bytes| {
            let physical = Physical { used_bytes, end_bytes: 80, said_bytes, file_bytes };
            judge(merge, &BTreeMap::from([("shared/p".to_owned(), physical)]))
        };
        assert_eq!(judged(40, 80, 100), Ok(()));
        for (used, said, there) in [(39, 80, 80), (40, 79, 80), (40, 80, 101)] {
            judged(used, said, there).expect_err("too large, smaller than said, larger than any");
        }
        judge(None, &BTreeMap::from([("shared/p".to_owned(), Physical::default())])).expect_err("nothing was to be merged");
    }
}
