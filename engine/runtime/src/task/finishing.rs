//! The end of a subtask: what it holds is given out, and then it leaves when its machine says so.

use super::running::{Done, Running};
use super::{Input, Tail, TaskError, TaskReport};
use crate::channel::Control;
use crate::env::Env;
use crate::observe::{Detail, Moment};
use crate::operator::{Operator, Stateful};
use crate::record::END_OF_TIME;
use cofferdam_protocol::snapshot::{ListState, Redistribution};
use cofferdam_protocol::subtask::{self, Ending};

impl<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>> Running<E, I, O, T> {
    pub(super) fn end_of_input(&mut self) -> Result<(), TaskError> {
        self.tell_backlog(false);
        self.ended = true;
        self.set_clock();
        self.operator.on_watermark(END_OF_TIME, &mut self.made);
        self.tail.emit(&mut self.made)?;
        self.tail.control(Control::Watermark(END_OF_TIME))?;
        self.tail.control(Control::Drained)?;
        match self.tail.finish(&self.context.env) {
            None => self.drained(),
            Some(finish) => {
                let sender = self.written_sender.clone();
                self.finishing = Some(self.context.env.spawn("finish", async move {
                    // The subtask is gone: nobody to tell.
                    let _ = sender.send(Done::Finish(finish.await.err()));
                }));
            }
        }
        Ok(())
    }

    pub(super) fn drained(&mut self) {
        self.context.observe(Moment::TaskDrained, None, Detail::None);
        self.context.report(TaskReport::Drained);
        let ending = self.ending();
        self.due.push_back(subtask::Input::Drained(ending));
    }

    /// Why somebody with a union list stays: whoever begins at another parallelism, or in part, must have all of it.
    fn ending(&mut self) -> Ending {
        let mut has_union = false;
        let mut look = |stateful: &mut dyn Stateful| has_union |= stateful.lists().iter().any(is_union);
        self.input.stateful(&mut look);
        self.operator.stateful(&mut look);
        // What a sink that commits names is published by then.
        has_union |= !T::COMMITS && self.tail.state().is_some_and(|(_, lists)| lists.iter().any(is_union));
        match (self.context.finishing && !has_union, T::COMMITS) {
            (false, _) => Ending::Stays,
            (true, false) => Ending::Leaves,
            (true, true) => Ending::LeavesWhenPublished,
        }
    }

    /// Nothing is left to do.
    pub(super) fn finish(&mut self) -> Result<(), TaskError> {
        self.tail.control(Control::Ended)?;
        self.context.observe(Moment::TaskFinished, None, Detail::None);
        self.context.report(TaskReport::Finished);
        Ok(())
    }
}

fn is_union(list: &ListState) -> bool {
    list.redistribution == Redistribution::Union
}
