//! HTTP/2 end to end: a client's bytes, read in pieces by the engine's own driver, decided and forwarded in HTTP/1.1 to an
//! application that takes nothing but strict requests.

use std::cell::Cell;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use super::stage::{Stage, pair, send};

thread_local! {
    // Never dropped: the runtime would outlive what it needs.
    static STAGE: &'static Stage = Box::leak(Box::new(Stage::new()));
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const METHODS: [Method; 5] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
];
const MOST_REQUESTS: usize = 5;

/// The first byte says whether the rest is frames as they are, behind a good preface, or tells a good client what to ask for.
pub fn check(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    STAGE.with(|stage| {
        *stage.seen.borrow_mut() = Default::default();
        if first & 1 == 0 {
            any_frames(stage, rest);
        } else {
            good_requests(stage, first >> 1, rest);
        }
        let dirty = &stage.seen.borrow().dirty;
        assert!(dirty.is_empty(), "left the engine: {dirty:?}");
    });
}

/// Whatever frames come, the connection comes to its end, and no more requests leave than were begun.
fn any_frames(stage: &Stage, data: &[u8]) {
    let (&count, rest) = data.split_first().unwrap_or((&0, data));
    let (cuts, mut rest) = rest.split_at(usize::from(count & 7).min(rest.len()));
    let mut pieces = vec![PREFACE];
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    stage.play(async {
        let (ours, served) = stage.connect();
        let (mut reader, mut writer) = ours.into_split();
        let mut answered = Vec::new();
        let all = async {
            send(&mut writer, &pieces).await;
            // The other side may have ended it before.
            let _ = writer.shutdown().await;
        };
        let (_, read) = tokio::join!(all, reader.read_to_end(&mut answered));
        drop(read);
        served.await.expect("the driver does not panic");
    });
    let arrived = stage.seen.borrow().requests.len();
    let begun = begun(&pieces[1..].concat());
    assert!(arrived <= begun, "{arrived} left of {begun}");
}

/// How many frames of headers there are, read as frames from the start on.
fn begun(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        count += usize::from(*kind == 1);
        bytes = rest.get(length..).unwrap_or_default();
    }
    count
}

/// What to ask for, told by bytes.
struct Script<'a>(&'a [u8]);

struct Asked {
    method: Method,
    target: String,
    fields: Vec<(String, String)>,
    pieces: Vec<Vec<u8>>,
    length: bool,
    trailers: bool,
    /// It is given up after so many pieces.
    reset_after: Option<usize>,
}

/// Good requests are answered with what they brought, however they are cut, and leave once each; one that was given up leaves
/// once at most.
fn good_requests(stage: &Stage, options: u8, data: &[u8]) {
    let run = RUNS.replace(RUNS.get() + 1);
    let mut script = Script(data);
    let cut = 1 + usize::from(script.byte());
    let mut asked = Vec::new();
    while !script.0.is_empty() && asked.len() < MOST_REQUESTS {
        let number = asked.len();
        asked.push(script.request(run, number));
    }
    stage.play(async {
        let (mut ours, served) = stage.connect();
        // The client writes into one end of another pair; what comes out is sent on in pieces.
        let (end, mut middle) = pair();
        spawn_local(async move {
            let (mut from, mut to) = (vec![0; cut], vec![0; 4096]);
            loop {
                tokio::select! {
                    read = middle.read(&mut from) => match read {
                        Ok(count @ 1..) => send(&mut ours, &[&from[..count]]).await,
                        _ => return,
                    },
                    read = ours.read(&mut to) => match read {
                        Ok(count @ 1..) if middle.write_all(&to[..count]).await.is_ok() => {}
                        _ => return,
                    },
                }
            }
        });
        let (client, connection) = h2::client::handshake(end).await.expect("a handshake");
        let driver = spawn_local(async move { drop(connection.await) });
        if options & 1 == 0 {
            for one in &asked {
                ask(client.clone(), one).await;
            }
        } else {
            let all: Vec<_> = asked
                .iter()
                .map(|one| Box::pin(ask(client.clone(), one)))
                .collect();
            for one in all {
                one.await;
            }
        }
        drop(client);
        driver.await.expect("the client does not panic");
        served.await.expect("the driver does not panic");
    });
    for one in &asked {
        arrived(stage, one);
    }
}

async fn ask(client: SendRequest<Bytes>, asked: &Asked) {
    let mut request = Request::builder()
        .method(asked.method.clone())
        .uri(format!("http://api.test{}", asked.target));
    for (name, value) in &asked.fields {
        request = request.header(name, value);
    }
    let whole = asked.pieces.concat();
    if asked.length {
        request = request.header("content-length", whole.len());
    }
    let ended = asked.pieces.is_empty() && !asked.trailers && asked.reset_after.is_none();
    let request = request.body(()).expect("a request");
    let mut client = client.ready().await.expect("room for a stream");
    let (response, mut stream) = client.send_request(request, ended).expect("a stream");
    for (number, piece) in asked.pieces.iter().enumerate() {
        if asked.reset_after == Some(number) {
            break;
        }
        let last =
            number + 1 == asked.pieces.len() && !asked.trailers && asked.reset_after.is_none();
        stream
            .send_data(Bytes::copy_from_slice(piece), last)
            .expect("an open stream");
    }
    if asked.reset_after.is_some() {
        return stream.send_reset(Reason::CANCEL);
    }
    if asked.trailers {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().expect("a value"));
        stream.send_trailers(trailers).expect("an open stream");
    }
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), 200, "{:?}", response.headers());
    let mut body = response.into_body();
    let mut answered = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("a whole answer");
        answered.extend_from_slice(&piece);
        body.flow_control()
            .release_capacity(piece.len())
            .expect("taken just now");
    }
    if asked.method != Method::HEAD {
        assert!(answered == whole, "another body came back");
    }
}

fn arrived(stage: &Stage, asked: &Asked) {
    let seen = stage.seen.borrow();
    let found: Vec<_> = seen
        .requests
        .iter()
        .filter(|request| request.target == asked.target)
        .collect();
    if asked.reset_after.is_some() {
        assert!(found.len() <= 1);
        return;
    }
    let [found] = found[..] else {
        panic!("{} left for one", found.len());
    };
    assert_eq!(found.method, asked.method.as_str());
    assert!(found.body == asked.pieces.concat(), "another body left");
    for (name, value) in &asked.fields {
        let line = (name.clone(), value.clone().into_bytes());
        assert!(found.fields.contains(&line), "{name} did not arrive");
    }
}

// === impl Script ===

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn text(&mut self, letters: &[u8]) -> String {
        (0..self.byte() % 24)
            .map(|_| char::from(letters[usize::from(self.byte()) % letters.len()]))
            .collect()
    }

    fn request(&mut self, run: u64, number: usize) -> Asked {
        let flags = self.byte();
        let method = METHODS[usize::from(self.byte()) % METHODS.len()].clone();
        let target = format!(
            "/{run}/{number}/{}",
            self.text(b"abc.-_~%2e?&=:@!$'()*+,;/")
        );
        let field = |script: &mut Self, at| {
            (
                format!(
                    "x-{at}-{}",
                    script.text(b"abcdefghijklmnop-!#$&'*+^`|~0123456789")
                ),
                script.text(b"abcxyzABC019\"\\()<>@,;:/[]?={}-_.~!#$%&'*+^`|"),
            )
        };
        let fields = (0..self.byte() % 4).map(|at| field(self, at)).collect();
        let pieces: Vec<Vec<u8>> = (0..flags & 3)
            .map(|_| vec![self.byte(); 1 + usize::from(self.byte()) * 8])
            .collect();
        Asked {
            method,
            target: good_escapes(&target),
            fields,
            length: flags & 4 != 0 && !pieces.is_empty(),
            trailers: flags & 8 != 0,
            reset_after: (flags & 48 == 48).then(|| usize::from(self.byte() & 3)),
            pieces,
        }
    }
}

/// A percent sign that is no escape is made one.
fn good_escapes(target: &str) -> String {
    target.replace('%', "%25")
}
