//! Fixed work for counting instructions: each function that calls [`repeat`] is one piece of work, done [`ROUNDS`] times.
//! `python -m tests.bench.counts` runs it under callgrind and divides; alone it only shows that everything runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use weft_core::access;
use weft_core::balance::{Ask, Balancer, Candidates, Latencies, Plan, Seen};
use weft_core::caller::{Local, SpiffeId};
use weft_core::endpoint::{Hosts, Members};
use weft_core::header::Edits;
use weft_core::path::{Place, admit, admit_encoded};
use weft_core::retry::{Attempt, Failure, Policy, Verdict};
use weft_core::route::{self, Routes};
use weft_core::time::Moment;
use weft_http1::{
    Fields, Limits, Method, RequestDecoder, RequestHead, RequestParts, ResponseDecoder,
    ResponseHead, Step, encode,
};
use weft_model::section::{Access, Balance, Endpoint, Host, Retry, Route};

/// How often each is done: enough that what is done once does not show.
const ROUNDS: usize = 500;

const REQUEST: &[u8] = b"GET /api/v1/items?limit=20 HTTP/1.1\r\nHost: api.default:8080\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\n\
Accept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx-request-id: 6ba7b810-9dad-11d1\r\n\
x-canary: yes\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: app\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
Content-Type: application/json\r\nContent-Length: 36\r\nCache-Control: no-cache\r\nConnection: keep-alive\r\n\
ETag: \"33a64df551425fcc\"\r\n\r\n{\"service\":\"api\",\"instance\":\"api-1\"}";

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n\
10\r\n0123456789abcdef\r\n20\r\n0123456789abcdef0123456789abcdef\r\n0\r\nx-sum: 1\r\n\r\n";

const VIA: [(&[u8], &[u8]); 1] = [(b"via", b"1.1 weft")];

fn main() {
    read_request();
    read_request_in_two_pieces();
    write_request();
    read_response();
    write_response();
    read_chunked_request();
    assemble_request();
    route_10();
    route_1000();
    judge_access();
    pick_of_10();
    pick_of_10000();
    judge_retry();
    admit_path();
    normalise_path();
    edit_fields();
    read_spiffe_id();
}

/// What is counted: the work alone, without what was prepared for it.
#[inline(never)]
fn repeat(mut work: impl FnMut()) {
    for _ in 0..ROUNDS {
        work();
    }
}

fn decoded() -> RequestHead {
    let mut head = RequestHead::new();
    let step = RequestDecoder::new(Limits::REQUEST).feed(REQUEST, &mut head);
    assert_eq!(step, (REQUEST.len(), Step::Head));
    head
}

#[inline(never)]
fn read_request() {
    let (mut decoder, mut head) = (RequestDecoder::new(Limits::REQUEST), RequestHead::new());
    repeat(|| {
        assert_eq!(decoder.feed(black_box(REQUEST), &mut head).1, Step::Head);
        assert_eq!(decoder.feed(b"", &mut head).1, Step::End);
    });
}

#[inline(never)]
fn read_request_in_two_pieces() {
    let (mut decoder, mut head) = (RequestDecoder::new(Limits::REQUEST), RequestHead::new());
    let (first, second) = REQUEST.split_at(200);
    repeat(|| {
        assert_eq!(decoder.feed(black_box(first), &mut head).1, Step::Need);
        assert_eq!(decoder.feed(black_box(second), &mut head).1, Step::Head);
        assert_eq!(decoder.feed(b"", &mut head).1, Step::End);
    });
}

#[inline(never)]
fn write_request() {
    let (head, mut out) = (decoded(), Vec::new());
    repeat(|| {
        out.clear();
        let head = black_box(&head);
        encode::request(&mut out, head, head.authority(), head.framing(), VIA);
        black_box(&out);
    });
}

#[inline(never)]
fn read_response() {
    let (mut decoder, mut head) = (ResponseDecoder::new(Limits::RESPONSE), ResponseHead::new());
    repeat(|| {
        decoder.expect(Method::Get, false);
        let (taken, step) = decoder.feed(black_box(RESPONSE), &mut head);
        assert_eq!(step, Step::Head);
        let body = decoder.feed(&RESPONSE[taken..], &mut head).1;
        assert_eq!(body, Step::Data(0..36));
        assert_eq!(decoder.feed(b"", &mut head).1, Step::End);
    });
}

#[inline(never)]
fn write_response() {
    let mut head = ResponseHead::new();
    let step = ResponseDecoder::new(Limits::RESPONSE)
        .feed(RESPONSE, &mut head)
        .1;
    assert_eq!(step, Step::Head);
    let mut out = Vec::new();
    repeat(|| {
        out.clear();
        let head = black_box(&head);
        encode::response(&mut out, head, head.announced(), VIA);
        black_box(&out);
    });
}

#[inline(never)]
fn read_chunked_request() {
    let (mut decoder, mut head) = (RequestDecoder::new(Limits::REQUEST), RequestHead::new());
    repeat(|| {
        let mut rest = black_box(CHUNKED);
        loop {
            let (taken, step) = decoder.feed(rest, &mut head);
            rest = &rest[taken..];
            if step == Step::End {
                break;
            }
            assert!(!matches!(step, Step::Bad(_) | Step::Need));
        }
    });
}

#[inline(never)]
fn assemble_request() {
    let from = decoded();
    let lines: Vec<(&[u8], &[u8])> = from
        .fields()
        .forwarded()
        .map(|field| (field.name, field.value))
        .collect();
    let mut head = RequestHead::new();
    repeat(|| {
        let parts = RequestParts {
            method: b"GET",
            target: black_box(b"/api/v1/items?limit=20"),
            authority: Some(b"api.default:8080"),
            ended: true,
        };
        let read = head.assemble(parts, lines.iter().copied(), &Limits::REQUEST);
        assert_eq!(read, Ok(()));
    });
}

/// Of many lengths, because which of two equal ones is looked at first is left to chance.
fn prefix(number: usize) -> String {
    format!("/v{}/part{number}-{}", number % 7, "x".repeat(number % 10))
}

#[inline(always)]
fn routed(count: usize, path: &str) {
    let local = local();
    let forward = json!({
        "kind": "forward", "to": [{"service": "shop/api", "labels": {}, "weight": 1}], "on_empty": "spill", "rewrite": {},
    });
    let routes: Vec<Route> = (0..count)
        .map(|number| {
            read(json!({
                "name": format!("r/{number}"), "rank": number, "timeout_ms": 1, "action": forward, "retry": retry(),
                "matches": [{"path": {"prefix": prefix(number)}}],
            }))
        })
        .collect();
    let table = Routes::new(&routes, &local).expect("routes");
    let (caller, head) = (local.service("shop/web").expect("an ID"), decoded());
    repeat(|| {
        let request = route::Request {
            host: "api",
            method: "GET",
            path: black_box(path),
            caller: Some(&caller),
        };
        assert!(table.choose(request, &Head(head.fields())).is_some());
    });
}

#[inline(never)]
fn route_10() {
    routed(10, &format!("{}/items/7", prefix(5)));
}

#[inline(never)]
fn route_1000() {
    routed(1_000, &format!("{}/items/7", prefix(12)));
}

#[inline(never)]
fn judge_access() {
    let local = local();
    let rule = |name: &str, decision: &str, caller: &str, path: &str| {
        json!({
            "name": name, "decision": decision, "shadow": false, "callers": [caller], "methods": ["GET", "HEAD"],
            "paths": [{"prefix": path}],
        })
    };
    let section: Access = read(json!({"default": "deny", "rules": [
        rule("a", "allow", "shop/other", "/"), rule("b", "deny", "*", "/admin"), rule("c", "allow", "shop/*", "/api"),
    ]}));
    let rules = access::Rules::new(&section, &local).expect("rules");
    let caller = local.service("shop/web").expect("an ID");
    repeat(|| {
        let call = access::Call {
            caller: Some(&caller),
            method: "GET",
            path: black_box("/api/v1/items"),
        };
        black_box(rules.judge(call));
    });
}

#[inline(always)]
fn picked(count: usize) {
    let endpoints: Vec<Endpoint> = (0..count)
        .map(|number| {
            read(json!({
                "instance": format!("api-{number}"), "host": format!("vm-{}", number % 100), "address": "10.0.0.1:7502", "port": 80,
                "weight": 100, "zone": "", "labels": {}, "state": "up",
            }))
        })
        .collect();
    let now = Moment::from_origin(Duration::from_secs(1));
    let members = Members::default().reconcile(&endpoints, &mut Hosts::default(), now);
    let candidates = Candidates::new(&members, &BTreeMap::new(), &Plan::plain(Balance::P2c));
    let mut rng = SmallRng::seed_from_u64(1);
    let mut balancer = Balancer::new(&candidates, &mut rng);
    let mut latencies = Latencies::default().carry(&Members::default(), &members);
    repeat(|| {
        let ask = Ask {
            key: None,
            failed: &[],
            now,
        };
        let pick = balancer
            .pick(&candidates, &members, &latencies, ask, &mut rng)
            .expect("somebody");
        latencies.observe(pick.member, Seen::Answer(Duration::from_millis(3)), now);
    });
}

#[inline(never)]
fn pick_of_10() {
    picked(10);
}

#[inline(never)]
fn pick_of_10000() {
    picked(10_000);
}

#[inline(never)]
fn judge_retry() {
    let retry: Retry = read(retry());
    let policy = Policy::new(&retry);
    let attempt = Attempt {
        sent: true,
        replayable: true,
        ..Attempt::default()
    };
    repeat(|| {
        let verdict = policy.judge(black_box("GET"), attempt, Failure::Reset, 0);
        assert_eq!(verdict, Verdict::Again);
        black_box(policy.try_timeout("GET", 0, Duration::from_secs(15)));
    });
}

#[inline(never)]
fn admit_path() {
    repeat(|| {
        let path = admit(black_box("/api/v1/items/%20/7"), true, Place::Mesh);
        assert_eq!(admit_encoded(&path.expect("plain"), true, false), Ok(()));
    });
}

#[inline(never)]
fn normalise_path() {
    repeat(|| {
        let path = admit(black_box("/api//v1/../v2/./items"), true, Place::Gateway);
        black_box(path.expect("made plain"));
    });
}

#[inline(never)]
fn edit_fields() {
    let edits = Edits::new(&read(json!({
        "set": {"x-canary": "1"}, "add": {"x-b": "2"}, "remove": ["server", "cookie"],
    })));
    let head = decoded();
    let mut out = Vec::new();
    repeat(|| {
        out.clear();
        for field in black_box(&head).fields().forwarded() {
            if !edits.drops(field.name) {
                encode::field(&mut out, field.name, field.value);
            }
        }
        out.extend_from_slice(edits.lines());
        black_box(&out);
    });
}

#[inline(never)]
fn read_spiffe_id() {
    repeat(|| {
        let id = SpiffeId::parse(black_box("spiffe://corp/ns/shop/dc/ams1/svc/api"));
        black_box(id.expect("an ID"));
    });
}

struct Head<'a>(&'a Fields);

impl route::Fields for Head<'_> {
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.joined(name.as_bytes())
    }
}

fn local() -> Local {
    let host: Host =
        read(json!({"name": "vm-1", "zone": "", "trust_domain": "corp", "datacenter": "ams1"}));
    Local::of(&host)
}

fn retry() -> Value {
    json!({
        "max": 2, "undelivered": true, "reset": true, "statuses": [503], "methods": [],
        "per_try_timeout_ms": 0, "backoff_base_ms": 25, "backoff_max_ms": 250,
    })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a good section")
}
