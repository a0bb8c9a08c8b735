//! A fresh machine that gets what the engine's one got.

use cofferdam_protocol::Machine;
use std::fmt::Debug;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// No value is shown with more characters than this.
const SHOWN: usize = 300;

/// A value for people, if need be shortened.
pub fn brief(value: &dyn Debug) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// One fresh machine, and what the last input has made it want.
pub struct Replay<M: Machine> {
    machine: M,
    steps: u64,
    input: Option<M::Input>,
    wanted: Vec<M::Output>,
    done: usize,
    /// What the machine has asserted; the engine's one then does so as well.
    asserted: Option<String>,
}

impl<M: Machine> Replay<M>
where
    M::Input: Debug,
    M::Output: Debug + PartialEq,
{
    /// It begins.
    pub fn recovered(durable: M::Durable) -> Self {
        let mut wanted = Vec::new();
        let machine = M::recover(durable, &mut wanted);
        Self { machine, steps: 0, input: None, wanted, done: 0, asserted: None }
    }

    /// How many inputs it has got, and the last one.
    pub fn last(&self) -> (u64, String) {
        (self.steps, self.input.as_ref().map_or_else(|| "none yet".to_owned(), |input| brief(input)))
    }

    /// Everything that the last input has made it want was done.
    pub fn settled(&self) -> Result<(), String> {
        if let Some(asserted) = &self.asserted {
            return Err(format!("a fresh machine asserts {asserted:?}, and the engine's one goes on"));
        }
        if self.done == self.wanted.len() {
            return Ok(());
        }
        Err(self.difference(None))
    }

    /// The next input.
    pub fn input(&mut self, input: M::Input)
    where
        M::Input: Clone,
    {
        self.steps += 1;
        self.wanted.clear();
        self.done = 0;
        self.input = Some(input.clone());
        let (machine, wanted) = (&mut self.machine, &mut self.wanted);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| machine.step(input, wanted))) {
            let text = panic.downcast_ref::<String>().cloned();
            self.asserted = Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default());
        }
    }

    /// The engine does this: it must be what the machine wants next.
    pub fn output(&mut self, output: &M::Output) -> Result<(), String> {
        if self.wanted.get(self.done) == Some(output) {
            self.done += 1;
            return Ok(());
        }
        Err(self.difference(Some(output)))
    }

    fn difference(&self, next: Option<&M::Output>) -> String {
        let mut found: Vec<String> = self.wanted[..self.done].iter().map(|output| brief(output)).collect();
        found.extend(next.map(|output| brief(output)));
        let expected: Vec<String> = self.wanted.iter().map(|output| brief(output)).collect();
        format!("expected [{}], found [{}]", expected.join(", "), found.join(", "))
    }
}
