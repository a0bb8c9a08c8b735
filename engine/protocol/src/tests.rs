//! Conversations with the machines as data, facts with names, and random lives.

mod committing;
mod conversation;
mod coordinator;
mod coordinator_facts;
mod coordinator_random;
mod gateway;
mod gateway_random;
mod local;
mod overtaking_random;
mod subtask;
mod subtask_random;
