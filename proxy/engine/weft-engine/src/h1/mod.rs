//! HTTP/1.1 on both sides: one connection's life downstream, and the pieces that move its messages.

mod answer;
mod connection;
mod relay;
mod replay;
mod scratch;

pub(crate) use answer::{Answer, Then};
pub(crate) use connection::{Connection, Fate, serve};
pub(crate) use relay::{Body, Ends, Relay, RelayError};
pub(crate) use replay::{Replay, ReplayBudget};
pub(crate) use scratch::Scratch;
