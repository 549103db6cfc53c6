//! Listening sockets: one per worker on every address, and none shared with another engine.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, per worker.
const BACKLOG: i32 = 4096;

/// An address that could not be had.
#[derive(Debug)]
pub(crate) struct BindError {
    pub(crate) address: SocketAddr,
    pub(crate) error: io::Error,
}

/// One listening socket for each worker, by address.
pub(crate) type Bound = BTreeMap<SocketAddr, Vec<TcpListener>>;

/// Binds every address for so many workers: all or none.
pub(crate) fn bind(
    addresses: impl IntoIterator<Item = SocketAddr>,
    workers: usize,
) -> Result<Bound, BindError> {
    let mut bound = Bound::new();
    for address in addresses {
        let sockets = bind_one(address, workers).map_err(|error| BindError { address, error })?;
        bound.insert(address, sockets);
    }
    Ok(bound)
}

/// SO_REUSEPORT would let a second engine of the same user share a port unnoticed. So the first socket is bound and listens
/// without it, which fails if anybody else listens there, and only then opens the port to its siblings.
fn bind_one(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = socket(address)?;
    first.bind(&address.into())?;
    first.listen(BACKLOG)?;
    first.set_reuse_port(true)?;
    let mut sockets = vec![TcpListener::from(first)];
    for _ in 1..workers {
        let sibling = socket(address)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(&address.into())?;
        sibling.listen(BACKLOG)?;
        sockets.push(TcpListener::from(sibling));
    }
    Ok(sockets)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_same_address() {
        let address = free();
        let bound = bind([address], 3).expect("bound");
        assert!(
            bound[&address]
                .iter()
                .all(|socket| socket.local_addr().is_ok_and(|found| found == address))
        );
        assert_eq!(bound[&address].len(), 3);
    }

    #[test]
    fn a_second_engine_never_shares_a_port_and_gets_none_of_its_others() {
        let (taken, other) = (free(), free());
        let _first = bind([taken], 2).expect("bound");
        let error = bind([other, taken], 2).expect_err("the port is taken");
        assert_eq!(
            (error.address, error.error.kind()),
            (taken, io::ErrorKind::AddrInUse)
        );
        bind([other], 1).expect("free again");
    }
}
