//! What the tests are made of: a CA, engines, applications, clients.

pub(crate) mod app;
pub(crate) mod bytes;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod load;
pub(crate) mod pki;
pub(crate) mod sections;
pub(crate) mod stage;
pub(crate) mod tls;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An address nobody listens on, given out once, and below the ports that the kernel gives to others meanwhile.
pub(crate) fn free() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id()
            .wrapping_mul(97)
            .wrapping_add(GIVEN.fetch_add(1, Relaxed));
        let port = u16::try_from(12_000 + number % 20_000).expect("below 32,000");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until it is so, or says what it was waiting for.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
