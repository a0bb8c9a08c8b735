//! A folder that grows while the job runs: each file is there as half a file under a name that nobody is to look at, and then as a whole.

use super::Run;
use crate::workload::ARRIVALS;
use cofferdam_engine::connector::folder::SUCCESS;
use std::time::Duration;

/// How long a file is there as half a file.
const HALF: Duration = Duration::from_millis(30);

impl Run {
    /// Files appear from now on. In a shadow all are there at once, and nobody says that there will be no other.
    pub(super) fn fill_folder(&self) {
        let disk = self.world.storage(self.storage);
        disk.create_folders_now(ARRIVALS);
        let texts = self.logs.iter().flat_map(|log| &log.partitions).map(|(path, lines)| {
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            (path.clone(), text)
        });
        let (times, done) = &self.arrivals;
        for ((path, text), time) in texts.zip(times) {
            if self.shadow || *time == 0 {
                disk.write_now(&path, text.as_bytes()).expect("a fresh disk takes the input");
                continue;
            }
            let (world, storage, at) = (self.world.clone(), self.storage, Duration::from_millis(*time));
            let arriving = async move {
                world.sleep(at).await;
                let disk = world.storage(storage);
                let half = format!("{ARRIVALS}/.{}", path.rsplit('/').next().expect("a path has a name"));
                disk.write_now(&half, &text.as_bytes()[..text.len() / 2]).expect("the folder is there");
                world.sleep(HALF).await;
                disk.write_now(&path, text.as_bytes()).expect("the folder is there");
                disk.remove_now(&half).expect("it was written just now");
            };
            self.world.spawn("arriving file", arriving).detach();
        }
        if !self.shadow {
            let (world, storage, at) = (self.world.clone(), self.storage, Duration::from_millis(*done) + 2 * HALF);
            let arriving = async move {
                world.sleep(at).await;
                world.storage(storage).write_now(&format!("{ARRIVALS}/{SUCCESS}"), b"").expect("the folder is there");
            };
            self.world.spawn("folder is done", arriving).detach();
        }
    }
}
