//! A sample application: HTTP/1.1 on loopback, a thread per connection, and every trick a test needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A running application.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// Requests it has seen.
    pub(crate) seen: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl App {
    pub(crate) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let (name, count, stop) = (name.to_owned(), Arc::clone(&seen), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (name, count) = (name.clone(), Arc::clone(&count));
                std::thread::spawn(move || while_open(stream, &name, &count));
            }
        });
        Self {
            address,
            seen,
            stopped,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn while_open(stream: TcpStream, name: &str, count: &AtomicUsize) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream) {
        count.fetch_add(1, Ordering::Relaxed);
        if answer(&mut stream, name, &head).is_none() {
            return;
        }
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head.len() - before <= 2 {
            return Some(head);
        }
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read_body(stream: &mut BufReader<TcpStream>, head: &str) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = field(head, "content-length") {
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    } else if field(head, "transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let at = body.len();
            body.resize(at + size, 0);
            stream.read_exact(&mut body[at..]).ok()?;
            if size == 0 {
                // Trailers, up to the empty line.
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).ok()?;
                    if line.trim().is_empty() {
                        return Some(body);
                    }
                }
            }
            stream.read_line(&mut line).ok()?;
        }
    }
    Some(body)
}

/// `None`: the connection ends.
fn answer(stream: &mut BufReader<TcpStream>, name: &str, head: &str) -> Option<()> {
    let target = head.split(' ').nth(1)?.to_owned();
    let path = target.split('?').next()?;
    match path {
        "/close" => return None,
        "/hang" => {
            std::thread::sleep(Duration::from_secs(30));
            return None;
        }
        "/early" => {
            // Before a byte of the body was read.
            send(stream, 200, "", b"early")?;
            read_body(stream, head)?;
            return Some(());
        }
        "/ws" => return websocket(stream),
        "/hints" => {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
                .ok()?;
            return send(stream, 200, "", b"after hints");
        }
        "/continue" => {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .ok()?;
            let body = read_body(stream, head)?;
            return send(stream, 200, "", &body);
        }
        _ => {}
    }
    let body = read_body(stream, head)?;
    match path {
        "/echo" => send(stream, 200, "", &body),
        "/chunked" => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.get_mut().write_all(head.as_bytes()).ok()?;
            for piece in body.chunks(10_000) {
                stream
                    .get_mut()
                    .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                    .ok()?;
                stream.get_mut().write_all(piece).ok()?;
                stream.get_mut().write_all(b"\r\n").ok()?;
            }
            stream.get_mut().write_all(b"0\r\nx-sum: done\r\n\r\n").ok()
        }
        "/until-close" => {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end")
                .ok()?;
            None
        }
        "/cut" => {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
                .ok()?;
            None
        }
        "/bad-chunk" => {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
                .ok()?;
            None
        }
        "/drip" => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.get_mut().write_all(head).ok()?;
            // So many pieces, or without end.
            let pieces = target.split_once('?').and_then(|(_, n)| n.parse().ok());
            for _ in 0..pieces.unwrap_or(usize::MAX) {
                stream.get_mut().write_all(b"1\r\n.\r\n").ok()?;
                std::thread::sleep(Duration::from_millis(20));
            }
            stream.get_mut().write_all(b"0\r\n\r\n").ok()
        }
        "/rubbish" => {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n")
                .ok()?;
            None
        }
        "/poser" => send(
            stream,
            503,
            "x-weft-reason: connect_failed\r\nx-weft-caller: me\r\n",
            b"posing",
        ),
        path => {
            let status = path
                .strip_prefix("/status/")
                .map_or(200, |code| code.parse().unwrap_or(200));
            let body = format!("instance {name}\n{head}");
            let extra = format!("x-instance: {name}\r\n");
            let empty = head.starts_with("HEAD");
            send(
                stream,
                status,
                &extra,
                if empty { b"" } else { body.as_bytes() },
            )
        }
    }
}

fn send(stream: &mut BufReader<TcpStream>, status: u16, extra: &str, body: &[u8]) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} Any\r\n{extra}content-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .get_mut()
        .write_all(&[head.as_bytes(), body].concat())
        .ok()
}

fn websocket(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    stream.get_mut().write_all(head).ok()?;
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes).ok()? {
            0 => return None,
            count => stream.get_mut().write_all(&bytes[..count]).ok()?,
        }
    }
}
