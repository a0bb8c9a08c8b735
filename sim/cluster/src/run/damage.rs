//! What the disk has done to snapshots, told from what the engine has.

use super::Run;

impl Run {
    /// A snapshot cannot be read because the disk has harmed a file of it, or has lied about a folder. What must follow is another question.
    pub(super) fn is_known_damage(&self, invariant: &str, witness: &str) -> bool {
        if invariant != "retained-files" {
            return false;
        }
        let harmed = self.world.storage(self.storage).harmed_now();
        let known = harmed.iter().any(|path| names(witness, self.job.root, path));
        if known {
            self.world.count_fault("known-damage");
        }
        known
    }

    /// A job that ends because what it is to begin from is damaged names a damaged file, and where in it.
    pub(super) fn judge_damage(&self, cause: &str) {
        // A job that has ended for good takes its checkpoints with it.
        let harmed = self.world.storage(self.storage).harmed_ever();
        if !harmed.iter().any(|path| names(cause, self.job.root, path)) {
            self.violated("expected-end", format!("the job has ended for damage, but names none of {harmed:?}: {cause}"));
        }
        if !cause.contains("offset") && !cause.contains("not found") {
            self.violated("expected-end", format!("the job has ended for damage, but does not say where: {cause}"));
        }
    }
}

/// Whether a text names a path, perhaps as seen from the job's folder.
fn names(text: &str, root: &str, path: &str) -> bool {
    let from_root = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    from_root.is_empty() || text.contains(from_root)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_path_is_named_in_full_or_from_the_jobs_folder() {
        let path = "/jobs/a/chk-3/_metadata";
        assert!(names("chk-3/_metadata: it ends at offset 7", "/jobs/a", path));
        assert!(names("cannot open /jobs/a/chk-3/_metadata", "/jobs/a", path));
        assert!(!names("chk-2/_metadata: it ends at offset 7", "/jobs/a", path));
        assert!(names("chk-3/state: not found", "/jobs/a", "/jobs/a/chk-3"), "a folder is named by what is in it");
    }
}
