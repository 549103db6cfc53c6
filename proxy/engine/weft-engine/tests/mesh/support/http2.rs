//! HTTP/2 by the h2 crate: a client for one request, and an application.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A running application. Its thread ends with the process.
pub(crate) struct App2 {
    pub(crate) address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

/// Runs something on a runtime of its own.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await })
        .expect("in time")
}

/// Asks by prior knowledge.
pub(crate) async fn ask(
    address: SocketAddr,
    request: Request<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Result<Whole, h2::Error> {
    let mut client = connect(address).await?;
    finish(&mut client, request, body, trailers).await
}

pub(crate) async fn connect(
    address: SocketAddr,
) -> Result<h2::client::SendRequest<Bytes>, h2::Error> {
    handshake(TcpStream::connect(address).await.expect("a connection")).await
}

pub(crate) async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<h2::client::SendRequest<Bytes>, h2::Error> {
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    client.ready().await
}

pub(crate) async fn finish(
    client: &mut h2::client::SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Result<Whole, h2::Error> {
    let ended = body.is_empty() && trailers.is_none();
    let (response, mut sender) = client.send_request(request, ended)?;
    let body = Bytes::copy_from_slice(body);
    let send = async move {
        if !ended {
            send_all(&mut sender, body, trailers.is_none()).await?;
            if let Some(trailers) = trailers {
                sender.send_trailers(trailers)?;
            }
        }
        Ok::<_, h2::Error>(())
    };
    let receive = async {
        let (head, body) = response.await?.into_parts();
        let (body, trailers) = read_all(body).await?;
        Ok(Whole {
            status: head.status.as_u16(),
            fields: head.headers,
            body,
            trailers,
        })
    };
    let (_, whole) = tokio::join!(send, receive);
    whole
}

pub(crate) async fn send_all(
    sender: &mut SendStream<Bytes>,
    mut body: Bytes,
    ends: bool,
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        sender.reserve_capacity(body.len());
        match std::future::poll_fn(|cx| sender.poll_capacity(cx)).await {
            Some(room) => {
                let piece = body.split_to(room?.min(body.len()));
                sender.send_data(piece, ends && body.is_empty())?;
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

pub(crate) async fn read_all(
    mut body: RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        whole.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok((whole, body.trailers().await?))
}

// === impl Whole ===

impl Whole {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name)?.to_str().ok()
    }
}

// === impl App2 ===

impl App2 {
    pub(crate) fn start() -> Self {
        Self::listen(false)
    }

    /// Its first connection takes a request and then says GOAWAY: that it has looked at none.
    pub(crate) fn leaving() -> Self {
        Self::listen(true)
    }

    fn listen(leaves: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        listener.set_nonblocking(true).expect("an option");
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(accept(listener, count, leaves))
        });
        Self { address, seen }
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

/// SETTINGS, and once something came GOAWAY with 0 as the last stream.
async fn leave(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    let mut come = Vec::new();
    while come.len() < 200 {
        if stream.read_buf(&mut come).await? == 0 {
            return Ok(());
        }
    }
    let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stream.write_all(&goaway).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}

async fn accept(
    listener: std::net::TcpListener,
    seen: Arc<AtomicUsize>,
    mut leaves: bool,
) -> Infallible {
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        if std::mem::take(&mut leaves) {
            tokio::spawn(leave(stream));
            continue;
        }
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let number = seen.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(request, respond, number));
            }
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    number: usize,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    match head.uri.path() {
        "/refuse" if number == 0 => respond.send_reset(Reason::REFUSED_STREAM),
        "/break" => {
            let mut sender = respond.send_response(Response::new(()), false)?;
            send_all(&mut sender, Bytes::from_static(b"some"), false).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send_reset(Reason::INTERNAL_ERROR);
        }
        "/hang" => tokio::time::sleep(Duration::from_secs(10)).await,
        "/unavailable" if number == 0 => {
            let response = Response::builder().header("grpc-status", "14").body(());
            respond.send_response(response.expect("a head"), true)?;
        }
        "/hints" => {
            let mut hints = Response::builder().status(103).header("link", "</a>");
            for _ in 0..2 {
                respond.send_informational(hints.body(()).expect("a head"))?;
                hints = Response::builder().status(103).header("link", "</b>");
            }
            let mut sender = respond.send_response(Response::new(()), false)?;
            send_all(&mut sender, Bytes::from_static(b"hinted"), true).await?;
        }
        "/bare" => {
            let response = Response::builder()
                .header("grpc-status", "5")
                .body(())
                .expect("a head");
            respond.send_response(response, true)?;
        }
        "/echo" => {
            let mut sender = respond.send_response(Response::new(()), false)?;
            let mut body = body;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                send_all(&mut sender, piece, false).await?;
            }
            let mut trailers = body.trailers().await?.unwrap_or_default();
            trailers.insert("x-sum", "done".parse().expect("a value"));
            sender.send_trailers(trailers)?;
        }
        _ => {
            read_all(body).await?;
            let mut text = format!("{} {}\n", head.method, head.uri);
            for (name, value) in &head.headers {
                text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
            }
            let mut sender = respond.send_response(Response::new(()), false)?;
            send_all(&mut sender, text.into(), true).await?;
        }
    }
    Ok(())
}
