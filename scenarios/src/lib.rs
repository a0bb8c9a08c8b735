//! Stories and seeds, as data.
//!
//! A [`Story`] has a name, a sentence, and a function from a seed to the whole [`Scenario`]; most ignore the seed, `swarm`
//! draws everything from it.

pub mod ablation;
mod canary;
pub mod file;
mod random;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod stories;
mod swarm;
mod wider;

pub use cofferdam_sim::scenario::Scenario;

/// A built-in scenario.
#[derive(Clone, Copy)]
pub struct Story {
    /// Short, with hyphens.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub story: &'static str,
    /// The whole of it, for a seed.
    pub expand: fn(u64) -> Scenario,
}

/// All built-in scenarios. Those with RocksDB come last, where this was built with it.
#[must_use]
pub fn all() -> Vec<Story> {
    let mut all = stories::all();
    all.extend([swarm::STORY, swarm::OBJECT_STORY, swarm::STATE_STORY, swarm::TRANSACTIONS_STORY, swarm::ARRIVALS_STORY]);
    all.push(swarm::REGIONS_STORY);
    #[cfg(feature = "rocksdb")]
    {
        all.extend(rocksdb::told());
        all.push(swarm::ROCKSDB_STORY);
    }
    all
}

/// Scenarios that must fail, so that a sweep over them proves that it can.
#[must_use]
pub fn canaries() -> Vec<Story> {
    vec![canary::RED, canary::RESTLESS]
}

/// Scenarios that are swept only where they are named: other ways to draw what goes wrong, to compare with.
#[must_use]
pub fn by_name() -> Vec<Story> {
    vec![random::STORY, random::MOMENTS_STORY]
}

/// A built-in scenario by its name, canaries and those that are swept only by name included.
#[must_use]
pub fn find(name: &str) -> Option<Story> {
    all().into_iter().chain(by_name()).chain(canaries()).find(|story| story.name == name)
}
