//! Towards the services: connections, opened when needed, kept while they are good.

mod connect;
mod connection;
mod links;
mod pool;
mod slots;

use tokio::time::Instant;
use weft_http1::{Framing, ResponseHead};

pub(crate) use connect::{ConnectError, Secure, connect};
pub(crate) use connection::Connection;
pub(crate) use links::Links;
pub(crate) use pool::{Key, Pool};
pub(crate) use slots::{Room, Slot, Slots, Waiters, wanted};

use crate::h2::{Incoming, Sender};
use crate::io::Output;
use crate::relay::{Body, Sink, Source};

/// What carries one try.
#[derive(Debug)]
pub(crate) enum Upstream {
    /// A connection, lent to it.
    H1(Box<Connection>),
    /// A stream of a connection it shares.
    H2(Box<Sender>),
}

// === impl Upstream ===

impl Upstream {
    /// Whether the connection carried others before.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::H1(connection) => connection.reused,
            Self::H2(sender) => sender.reused,
        }
    }

    /// When it is gone, whatever is under way.
    pub(crate) fn ends(&self) -> Option<Instant> {
        match self {
            Self::H1(connection) => connection.ends,
            Self::H2(sender) => sender.ends(),
        }
    }

    /// Where the request's body goes. `None`: its head was not sent.
    pub(crate) fn sink<'a>(&'a mut self, output: &'a mut Output) -> Option<Sink<'a>> {
        match self {
            Self::H1(connection) => Some(Sink::H1 {
                stream: &mut connection.stream,
                output,
            }),
            Self::H2(sender) => sender.outgoing.as_mut().map(Sink::H2),
        }
    }

    /// The answer's body. `None`: its head did not come.
    pub(crate) fn source<'a>(&'a mut self, head: &'a mut ResponseHead) -> Option<Source<'a>> {
        match self {
            Self::H1(connection) => Some(Source::H1 {
                stream: &mut connection.stream,
                input: &mut connection.input,
                body: Body::Response(&mut connection.decoder, head),
            }),
            Self::H2(sender) => sender.incoming.as_mut().map(Source::H2),
        }
    }

    /// Whether the answer's head is all of it.
    pub(crate) fn is_ended(&self, head: &ResponseHead) -> bool {
        match self {
            Self::H1(_) => matches!(head.framing(), Framing::None | Framing::Length(0)),
            Self::H2(sender) => sender.incoming.as_ref().is_some_and(Incoming::is_ended),
        }
    }

    /// Whether some of the request waits to be written.
    pub(crate) fn owes(&self, output: &Output) -> bool {
        match self {
            Self::H1(_) => !output.is_empty(),
            Self::H2(sender) => sender
                .outgoing
                .as_ref()
                .is_some_and(|outgoing| !outgoing.is_ended()),
        }
    }
}
