//! What the tests are made of: a CA, engines, applications, clients.

pub(crate) mod app;
pub(crate) mod bytes;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod pki;
pub(crate) mod sections;
pub(crate) mod stage;
pub(crate) mod tls;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// An address nobody listens on.
pub(crate) fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// Waits until it is so, or says what it was waiting for.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
