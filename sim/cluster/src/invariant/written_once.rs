//! What is published in the object store, metadata and entries of the journal, is never written again: not even with the same bytes,
//! since whoever does so has not asked what is there.

use super::Invariant;
use crate::world::{NodeIndex, WorldEvent};
use cofferdam_engine::observe::Event;
use std::time::Duration;

/// What was written again.
#[derive(Default)]
pub struct WrittenOnce {
    replaced: Option<String>,
}

impl Invariant for WrittenOnce {
    fn name(&self) -> &'static str {
        "written-once"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, _: &Event) -> Result<(), String> {
        match &self.replaced {
            Some(url) => Err(format!("{url} was published, and is written again")),
            None => Ok(()),
        }
    }

    fn world(&mut self, _: Duration, event: &WorldEvent) {
        if let WorldEvent::ObjectReplaced { url } = event {
            self.replaced.get_or_insert_with(|| url.clone());
        }
    }
}
