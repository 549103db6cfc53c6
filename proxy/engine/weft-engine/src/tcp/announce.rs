//! Saying, and being told, whose connection it is that is carried.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;
use weft_core::announce::{Ends, Header, Step, encode, parse};
use weft_model::section::ProxyProtocol;

use crate::io::{Input, Stream};

/// A header that was promised comes within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ends of a connection that was accepted.
pub(super) fn ends(accepted: &Stream) -> Ends {
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let socket = accepted.socket();
    Ends {
        source: socket.peer_addr().unwrap_or(nobody),
        destination: socket.local_addr().unwrap_or(nobody),
    }
}

/// Puts a header in front of whatever is written next.
pub(super) async fn say(to: &mut Stream, version: ProxyProtocol, ends: Ends) -> io::Result<()> {
    let header = encode(version, ends);
    let mut left = &header[..];
    while !left.is_empty() {
        match poll_fn(|cx| to.poll_write(cx, &[IoSlice::new(left)])).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => left = &left[written..],
        }
    }
    poll_fn(|cx| to.poll_flush(cx)).await
}

/// Takes a header off what is read; `None` within: the caller does not know either.
pub(super) async fn hear(from: &mut Stream, input: &mut Input) -> io::Result<Option<Ends>> {
    let heard = async {
        loop {
            match parse(input.unread()) {
                Step::Header(Header { length, ends }) => {
                    input.consume(length);
                    return Ok(ends);
                }
                Step::Bad(_) => return Err(io::ErrorKind::InvalidData.into()),
                Step::Need => {}
            }
            if poll_fn(|cx| input.poll_fill(from, cx)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    timeout(PATIENCE, heard)
        .await
        .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}
