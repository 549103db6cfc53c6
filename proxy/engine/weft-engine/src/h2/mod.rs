//! HTTP/2 on both sides, by the h2 crate: connections, streams, and the heads and bodies they carry.
//!
//! A stream is served like a request of HTTP/1.1, by the same exchange. Flow control is back-pressure: what was received is
//! credited when it was written to the other side, and nothing is sent that the receiver has no window for.

mod call;
mod frames;
mod head;
mod incoming;
mod limits;
mod link;
mod meter;
mod outgoing;
mod server;
mod status;
mod wire;

pub(crate) use call::{Call, is_grpc};
pub(crate) use head::{append, append_fields, append_lines};
pub(crate) use incoming::{Incoming, Piece};
pub(crate) use link::{Answered, Link, Sender, open};
pub(crate) use outgoing::Outgoing;
pub(crate) use server::{Client, serve};
