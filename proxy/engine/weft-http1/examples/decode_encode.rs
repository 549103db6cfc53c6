//! Reads and writes one typical exchange over and over, to count instructions:
//! `cargo build --release -p weft-http1 --example decode_encode`, then
//! `valgrind --tool=callgrind target/release/examples/decode_encode 10000`.

use std::hint::black_box;

use weft_http1::{
    Limits, Method, RequestDecoder, RequestHead, ResponseDecoder, ResponseHead, Step, encode,
};

const REQUEST: &[u8] = b"GET /api/v1/items?limit=20 HTTP/1.1\r\nHost: api.default:8080\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\n\
Accept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx-request-id: 6ba7b810-9dad-11d1\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: app\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
Content-Type: application/json\r\nContent-Length: 36\r\nCache-Control: no-cache\r\nConnection: keep-alive\r\n\
ETag: \"33a64df551425fcc\"\r\n\r\n{\"service\":\"api\",\"instance\":\"api-1\"}";

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let mut requests = RequestDecoder::new(Limits::REQUEST);
    let mut responses = ResponseDecoder::new(Limits::RESPONSE);
    let (mut request, mut response) = (RequestHead::new(), ResponseHead::new());
    let mut out = Vec::new();
    let started = std::time::Instant::now();
    for _ in 0..rounds {
        let (_, step) = requests.feed(black_box(REQUEST), &mut request);
        assert_eq!(step, Step::Head);
        out.clear();
        let via = [(&b"via"[..], &b"1.1 weft"[..])];
        encode::request(
            &mut out,
            &request,
            request.authority(),
            request.framing(),
            via,
        );
        black_box(&out);
        assert_eq!(requests.feed(b"", &mut request).1, Step::End);

        responses.expect(Method::Get, false);
        let (taken, step) = responses.feed(black_box(RESPONSE), &mut response);
        assert_eq!(step, Step::Head);
        out.clear();
        encode::response(&mut out, &response, response.announced(), via);
        let (_, body) = responses.feed(&RESPONSE[taken..], &mut response);
        assert_eq!(body, Step::Data(0..36));
        black_box(&out);
        assert_eq!(responses.feed(b"", &mut response).1, Step::End);
    }
    let each = started.elapsed() / rounds;
    println!("{each:?} for each exchange: two heads read, two written");
}
