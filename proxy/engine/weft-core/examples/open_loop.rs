//! Asks a proxy at a fixed rate, whether or not it keeps up, and prints how long the answers took.
//!
//! `open_loop ADDRESS PATH RATE SECONDS CONNECTIONS` prints, in microseconds, `p50 p99 p99.9 most` and how many there were.
//! A request's time begins when it was meant to be sent: what waits behind a slow answer has waited, too. Intervals are
//! exponential, as if many clients came by themselves. It never sleeps, so that it is never late: it has a core to itself.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What is waited for behind the last request.
const PATIENCE: Duration = Duration::from_secs(5);

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    meant: Option<Instant>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, rate, seconds, connections] = &arguments[..] else {
        eprintln!("open_loop ADDRESS PATH RATE SECONDS CONNECTIONS");
        return ExitCode::from(2);
    };
    let (Ok(rate), Ok(seconds), Ok(connections)) =
        (rate.parse(), seconds.parse(), connections.parse())
    else {
        eprintln!("RATE, SECONDS and CONNECTIONS are numbers");
        return ExitCode::from(2);
    };
    match run(address, path, rate, seconds, connections) {
        Ok(mut took) if !took.is_empty() => {
            took.sort_unstable();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_micros();
            let most = took[took.len() - 1].as_micros();
            println!(
                "{} {} {} {most} {}",
                at(0.5),
                at(0.99),
                at(0.999),
                took.len()
            );
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    address: &str,
    path: &str,
    rate: f64,
    seconds: f64,
    connections: usize,
) -> io::Result<Vec<Duration>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: api\r\n\r\n");
    let mut open: Vec<Connection> = (0..connections)
        .map(|_| Connection::open(address))
        .collect::<io::Result<_>>()?;
    let mut free: VecDeque<usize> = (0..connections).collect();
    let mut waiting: VecDeque<Instant> = VecDeque::new();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut took = Vec::with_capacity((rate * seconds) as usize);
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let mut next = begin;
    loop {
        let now = Instant::now();
        while next <= now && next < end {
            waiting.push_back(next);
            let share: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
            next += Duration::from_secs_f64(-share.ln() / rate);
        }
        while let (Some(meant), Some(place)) = (waiting.front(), free.front()) {
            open[*place].ask(request.as_bytes(), *meant)?;
            waiting.pop_front();
            free.pop_front();
        }
        for (place, connection) in open.iter_mut().enumerate() {
            if let Some(time) = connection.look()? {
                took.push(time);
                free.push_back(place);
            }
        }
        if now >= end && (free.len() == connections || now >= end + PATIENCE) {
            return if free.len() == connections {
                Ok(took)
            } else {
                Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "some answers never came",
                ))
            };
        }
    }
}

// === impl Connection ===

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            meant: None,
        })
    }

    fn ask(&mut self, request: &[u8], meant: Instant) -> io::Result<()> {
        // So few bytes always find room in the buffer of a socket that has none.
        self.stream.write_all(request)?;
        self.meant = Some(meant);
        Ok(())
    }

    /// How long its answer took, if that is there now.
    fn look(&mut self) -> io::Result<Option<Duration>> {
        let Some(meant) = self.meant else {
            return Ok(None);
        };
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(length) = length(&self.received) else {
            return Ok(None);
        };
        if self.received.len() < length {
            return Ok(None);
        }
        if !self.received.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other("an answer was no 200"));
        }
        self.received.clear();
        self.meant = None;
        Ok(Some(meant.elapsed()))
    }
}

/// Of a whole answer, told by its head.
fn length(received: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(received).ok()?;
    let head = text.find("\r\n\r\n")?;
    let body = text[..head].lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    })?;
    Some(head + 4 + body)
}
