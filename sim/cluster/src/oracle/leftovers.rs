//! Shared files that nothing needs any more: they go soon after the last checkpoint that did, not only when the job ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What takes no time where nothing goes wrong.
const DELETED_WITHIN: Duration = Duration::from_secs(1);

/// What was shared once.
#[derive(Debug, Default)]
pub struct Leftovers {
    named: BTreeSet<String>,
    /// Since when.
    unneeded: BTreeMap<String, Duration>,
}

impl Leftovers {
    /// The retained checkpoints need the files `needed`; a file is there or not.
    ///
    /// # Errors
    /// A file that should be gone.
    pub fn judge(&mut self, now: Duration, needed: BTreeSet<String>, is_there: impl Fn(&str) -> bool) -> Result<(), String> {
        self.named.retain(|path| is_there(path));
        let idle: BTreeSet<&String> = self.named.difference(&needed).collect();
        self.unneeded.retain(|path, _| idle.contains(path));
        for path in idle {
            let since = *self.unneeded.entry(path.clone()).or_insert(now);
            if now.saturating_sub(since) > DELETED_WITHIN {
                return Err(format!("{path} is of no use since {since:?}, and nobody deletes it"));
            }
        }
        self.named.extend(needed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stays_without_being_needed_is_found() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut leftovers = Leftovers::default();
        let at = Duration::from_millis;
        leftovers.judge(at(0), names(&["a", "b"]), |_| true).expect("both are needed");
        leftovers.judge(at(100), names(&["b"]), |_| true).expect("a may still go");
        leftovers.judge(at(200), names(&["b"]), |path| path != "a").expect("a is gone");
        leftovers.judge(at(300), names(&["c"]), |_| true).expect("b may still go");
        leftovers.judge(at(1301), names(&["c"]), |_| true).expect_err("b is still there");
    }
}
