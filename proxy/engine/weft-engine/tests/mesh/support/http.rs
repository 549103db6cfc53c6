//! A client that does exactly what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, body decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A connection that may carry several requests.
pub(crate) struct Client<S: Read + Write> {
    pub(crate) stream: BufReader<S>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.field("x-weft-reason")
    }
}

impl Client<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        Self::over(stream)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("sent");
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes());
        self.answer(request.starts_with("HEAD"))
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: api\r\n\r\n"))
    }

    /// The next final answer.
    pub(crate) fn answer(&mut self, to_head: bool) -> Answer {
        self.try_answer(to_head).expect("an answer")
    }

    /// The next final answer; `None`: the connection ended first.
    pub(crate) fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        loop {
            let mut answer = self.head()?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            if !to_head && !matches!(answer.status, 101 | 204 | 304) {
                answer.body = self.body(&answer)?;
            }
            return Some(answer);
        }
    }

    /// The next head, informational or not.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let line = self.line()?;
        let mut answer = Answer {
            status: line.split(' ').nth(1)?.parse().ok()?,
            ..Answer::default()
        };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(answer);
            }
            let (name, value) = line.split_once(':')?;
            answer
                .fields
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Whether the peer has closed.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    fn body(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = answer.field("content-length") {
            body.resize(length.parse().ok()?, 0);
            self.stream.read_exact(&mut body).ok()?;
        } else if answer.field("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).ok()?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    break;
                }
                let at = body.len();
                body.resize(at + size, 0);
                self.stream.read_exact(&mut body[at..]).ok()?;
                self.line()?;
            }
        } else {
            self.stream.read_to_end(&mut body).ok()?;
        }
        Some(body)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    Client::connect(address).get(path)
}
