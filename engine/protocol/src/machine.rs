//! The contract that all drivers share: the runtime on tokio, the same runtime under simulation, and an explorer.

use core::fmt::Debug;
use core::hash::Hash;

/// A part of the protocol as a plain value. What it decides follows from its inputs alone: no clock, no randomness, no I/O.
///
/// * `step` is total: every input is legal in every state. What no longer matters is ignored, and said so in an output
///   where somebody could wonder.
/// * Outputs are performed in order, but none may count on a durable or remote one having succeeded: ask, and be answered
///   by a later input.
/// * Timers are named by the ids that make a late firing harmless.
pub trait Machine: Clone + Eq + Hash + Debug {
    /// What the world tells the machine.
    type Input;
    /// What the machine wants done.
    type Output;
    /// What survives a crash; everything else follows from it and new inputs.
    type Durable: Clone + Eq + Hash + Debug;

    /// Starts again from what was durable.
    fn recover(durable: Self::Durable, out: &mut alloc::vec::Vec<Self::Output>) -> Self;

    /// Takes one input and appends what is to be done.
    fn step(&mut self, input: Self::Input, out: &mut alloc::vec::Vec<Self::Output>);
}
