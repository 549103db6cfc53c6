//! HTTP/1.1 on both sides: one connection's life downstream, and the pieces that move its messages.

mod answer;
mod connection;
mod replay;
mod scratch;

pub(crate) use answer::{Answer, Then, civil, with_date};
pub(crate) use connection::{Connection, Fate, MESH_IDLE, Plain, Wire, serve};
pub(crate) use replay::{Replay, ReplayBudget};
pub(crate) use scratch::Scratch;
