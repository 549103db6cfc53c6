//! The control thread: the agent's socket, the snapshot, its publication to the workers, the disk.
//!
//! One task ([`core::Core`]) owns what the engine serves and changes it, one request at a time; connections only carry frames.
//! A change is parsed and built whole, its listeners are bound, then every worker is handed the new world, and only when the
//! last of them has it is the change acknowledged. An agent may vanish at any byte: what was published stays.

mod admin;
mod ask;
mod begin;
mod connection;
mod core;
mod disk;
mod estate;
mod frames;
mod handover;
mod inspect;
mod judge;
mod notify;
mod said;
mod saver;
mod signals;
mod socket;
mod sockets;
mod standing;
mod start;
mod state;
mod trial;
mod watchdog;

pub(crate) use start::{Command, run};
