//! An application that takes nothing but strict HTTP/1.1, and answers with what it was sent.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use weft_proofs::strict::{self, Request};

/// What came, whole.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Request>,
    pub(super) dirty: Vec<String>,
}

/// Starts one on this thread; it ends with it.
pub(super) async fn start(seen: Rc<RefCell<Seen>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(serve(stream, Rc::clone(&seen)));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, seen: Rc<RefCell<Seen>>) {
    let mut bytes = Vec::new();
    while stream
        .read_buf(&mut bytes)
        .await
        .is_ok_and(|count| count > 0)
    {
        loop {
            match strict::first(&bytes) {
                Ok(None) => break,
                Ok(Some((request, length))) => {
                    bytes.drain(..length);
                    let answer = answer(&request);
                    seen.borrow_mut().requests.push(request);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
                Err(why) => return seen.borrow_mut().dirty.push(why),
            }
        }
    }
}

fn answer(request: &Request) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        request.body.len()
    )
    .into_bytes();
    if request.method != "HEAD" {
        answer.extend_from_slice(&request.body);
    }
    answer
}
