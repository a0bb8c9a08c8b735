//! Every interleaving of small worlds around the protocol machines that the engine runs.
//!
//! A world is the real `Coordinator` and the real `Subtask` machines, put together with channels that carry records and barriers,
//! connections that carry acknowledgements and notices, a journal, snapshots, shared files, source logs and sinks. What can happen next
//! is a list of [`moves::Action`]s; what must hold in each state is a list of [`properties::Promise`]s; what has to have happened
//! somewhere is a list of [`properties::Situation`]s, so that a world in which nothing happens does not pass.
//!
//! * [`world`], [`worlds`], [`bounds`]: what a world consists of, which there are, and how large they are.
//! * [`topology`]: tasks and channels of a job; [`rescaled`]: what it may begin from.
//! * [`state`], [`queue`], [`kept`], [`tally`]: one state, small and cheap to copy and hash.
//! * [`moves`]: what can happen next; [`turn`]: what comes of it (`data`, `leading`, `storing`, `cluster`).
//! * [`properties`]: what must hold, and what must be met.
//! * [`model`]: the adapter to stateright, and the only file that knows it; [`walk`]: random walks where a world cannot be exhausted.
//! * [`explore`]: one exploration from its bounds to its verdicts; [`story`]: a path told in the columns of a trace.
#![forbid(unsafe_code)]

pub mod bounds;
pub mod explore;
pub mod kept;
pub mod model;
pub mod moves;
pub mod properties;
pub mod queue;
pub mod rescaled;
pub mod state;
pub mod story;
pub mod tally;
pub mod topology;
pub mod turn;
pub mod walk;
pub mod world;
pub mod worlds;
