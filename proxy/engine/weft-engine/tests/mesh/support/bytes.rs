//! Servers and clients of services that are only bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use weft_model::section::{Protocol, Service};

use super::sections::{endpoint, endpoints, service};
use super::stage::Stage;

/// What a server does with a connection.
pub(crate) type Script = fn(TcpStream);

/// A server that does the same with every connection, a thread each.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || script(stream));
            }
        });
        Self { address }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// A service that is bytes.
pub(crate) fn tcp() -> Service {
    Service {
        protocol: Protocol::Tcp,
        ..service()
    }
}

/// The usual scene around one server.
pub(crate) fn stage(server: &Server, service: Service) -> Stage {
    let mut stage = Stage::with(service);
    let instances = vec![endpoint("far", "api-1", stage.inbound, server.port())];
    stage.near_endpoints(instances.clone());
    stage
        .far_agent
        .apply(&[("endpoints/shop/api", endpoints(instances))]);
    stage
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port is open");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("set");
    stream.set_write_timeout(patience).expect("set");
    stream
}

/// Speaks first, then says everything again, then says that it is over.
pub(crate) fn greet_and_echo(mut stream: TcpStream) {
    let _ = stream.write_all(b"220 ready\n");
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"221 bye\n");
}

/// Answers only when the other side has nothing more to say.
pub(crate) fn count_to_the_end(mut stream: TcpStream) {
    let mut sum = 0;
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        sum += count;
    }
    let _ = write!(stream, "{sum}");
}

/// Has nothing more to say after one word, and goes on listening; then a word about that.
pub(crate) fn end_first(mut stream: TcpStream) {
    let _ = stream.write_all(b"that is all");
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    let heard = stream.read_to_end(&mut rest).is_ok() && rest == b"but I go on";
    HEARD.store(heard, std::sync::atomic::Ordering::SeqCst);
}

/// Whether somebody was heard after [`end_first`] had ended its side.
pub(crate) static HEARD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Breaks off instead of ending.
pub(crate) fn break_off(stream: TcpStream) {
    let _ = (&stream).read(&mut [0]);
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Reads nothing for longer than a dead host is waited for, then everything, and says how much.
pub(crate) fn pause_then_count(stream: TcpStream) {
    std::thread::sleep(Duration::from_secs(8));
    count_to_the_end(stream);
}

pub(crate) fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("bytes");
    bytes
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an end in order");
    bytes
}

/// Whether the connection was broken off without a byte; its end in order is no.
pub(crate) fn is_reset(stream: &mut TcpStream) -> bool {
    matches!(
        stream.read(&mut [0]),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset
    )
}
