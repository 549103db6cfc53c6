//! Bytes: buffers, streams, deadlines. Nothing here knows HTTP.

mod buffer;
mod deadline;
mod input;
mod output;
mod socket;
mod stream;
mod tunnel;

pub(crate) use buffer::Buffer;
pub(crate) use deadline::Deadline;
pub(crate) use input::Input;
pub(crate) use output::Output;
pub(crate) use socket::Socket;
pub(crate) use stream::{Stream, tune};
pub(crate) use tunnel::{Bounds, Ended, Side, Tunnel, Whose};
