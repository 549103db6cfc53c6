//! What a balancer says of a connection before its first byte: the PROXY protocol, at listeners that take it.
//!
//! Only what is the header's is taken off the socket: what is there is looked at first, and as long as a header is not whole,
//! all of it is the header's. So TLS and HTTP begin as if nothing had been there.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_core::announce::{Ends, Flaw, Header, MOST, Step, parse};

use super::Worker;
use crate::observe::Event;
use crate::world::Place;

/// So much is looked at to begin with: every usual header.
const FIRST: usize = 256;

/// Whether a connection must begin with a header: its listener takes them, and its peer is one that sends them.
pub(super) fn is_announced(peer: SocketAddr, address: SocketAddr, worker: &Worker) -> bool {
    match worker.world().places.get(&address).map(|place| &**place) {
        Some(Place::Gateway { gateway, listener }) => gateway
            .announced
            .get(&**listener)
            .is_some_and(|from| from.believes(peer.ip())),
        _ => false,
    }
}

/// The ends that a header says, `None` for the connection's own; in want of a header, why.
pub(super) async fn hear(stream: &mut TcpStream, worker: &Worker) -> Result<Option<Ends>, Event> {
    let _waiting = worker
        .greetings
        .acquire()
        .ok_or(Event::ProxyHeaderOverloaded)?;
    match timeout(worker.bounds.handshake_timeout.0, header(stream)).await {
        Ok(Ok(Ok(ends))) => Ok(ends),
        Ok(Ok(Err(flaw))) => Err(match flaw {
            Flaw::Missing => Event::ProxyHeaderMissing,
            Flaw::TooLarge => Event::ProxyHeaderTooLarge,
            Flaw::Malformed => Event::ProxyHeaderMalformed,
            Flaw::Checksum => Event::ProxyHeaderChecksum,
        }),
        Ok(Err(_)) => Err(Event::ProxyHeaderClosed),
        Err(_) => Err(Event::ProxyHeaderTimeout),
    }
}

async fn header(stream: &mut TcpStream) -> io::Result<Result<Option<Ends>, Flaw>> {
    let mut bytes = vec![0; FIRST];
    let mut taken = 0;
    loop {
        if taken == bytes.len() {
            bytes.resize(MOST, 0);
        }
        let there = stream.peek(&mut bytes[taken..]).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let step = parse(&bytes[..taken + there]);
        let (until, done) = match step {
            Step::Need => (taken + there, None),
            Step::Header(Header { length, ends }) => (length, Some(ends)),
            Step::Bad(flaw) => return Ok(Err(flaw)),
        };
        stream.read_exact(&mut bytes[taken..until]).await?;
        taken = until;
        if let Some(ends) = done {
            return Ok(Ok(ends));
        }
    }
}
