//! The edge: public ports into the mesh.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weft_model::parse::Section;
use weft_model::section::*;

use crate::support::free;
use crate::support::http::Client;
use crate::support::http2;
use crate::support::sections::{forward_to, prefix, route};
use crate::support::stage::Stage;

pub(crate) struct Edge {
    stage: Stage,
    http: SocketAddr,
    https: SocketAddr,
}

impl Edge {
    /// `near` becomes a gateway besides.
    pub(crate) fn new(change: impl FnOnce(&mut Gateway)) -> Self {
        let mut stage = Stage::new();
        let (http, https) = (free(), free());
        let mut shop = route("shop/all", forward_to(&[("shop/api", 1)]));
        shop.hosts = vec![
            "shop.example.com".to_owned(),
            "*.wild.example.com".to_owned(),
        ];
        let mut rest = route("rest/api", forward_to(&[("shop/api", 1)]));
        rest.matches = vec![prefix("/api")];
        let plain = GatewayListener {
            protocol: GatewayProtocol::Http,
            hosts: Vec::new(),
            redirect_to: None,
            certificates: Vec::new(),
            tls_min: "1.2".to_owned(),
            proxy_protocol_from: Vec::new(),
        };
        let secure = GatewayListener {
            protocol: GatewayProtocol::Https,
            certificates: vec![
                "public/edge/https/0".to_owned(),
                "public/edge/https/1".to_owned(),
            ],
            ..plain.clone()
        };
        let mut gateway = Gateway {
            listeners: BTreeMap::from([("http".to_owned(), plain), ("https".to_owned(), secure)]),
            routes: vec![shop, rest],
            passthrough: Vec::new(),
            trust_forwarded_from: Vec::new(),
            max_body: 1000,
            limits: Vec::new(),
        };
        change(&mut gateway);
        let listener = |address, listener: &str| {
            Section::Listener(Listener::Gateway {
                address,
                gateway: "edge".to_owned(),
                listener: listener.to_owned(),
            })
        };
        stage
            .near_agent
            .identity("gateway:edge", &stage.ca.leaf("gateway:edge"));
        stage.near_agent.identity(
            "public/edge/https/0",
            &stage.ca.public(&["shop.example.com"]),
        );
        stage.near_agent.identity(
            "public/edge/https/1",
            &stage.ca.public(&["*.wild.example.com"]),
        );
        stage.near_agent.apply(&[
            ("gateway/edge", Section::Gateway(gateway)),
            ("listener/edge/http", listener(http, "http")),
            ("listener/edge/https", listener(https, "https")),
        ]);
        Self { stage, http, https }
    }

    pub(crate) fn client(&self) -> Client<TcpStream> {
        Client::connect(self.http)
    }

    fn config(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.stage.ca.der.clone().into()).expect("a root");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Arc::new(config)
    }

    fn secure(&self, name: &str) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let session = ClientConnection::new(
            self.config(&["http/1.1"]),
            name.to_owned().try_into().expect("a name"),
        );
        let stream = TcpStream::connect(self.https).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("set");
        Client::over(StreamOwned::new(session.expect("a session"), stream))
    }
}

#[test]
fn hosts_lead_into_the_mesh_under_the_gateways_own_identity() {
    let edge = Edge::new(|_| {});
    let answer = edge
        .client()
        .ask("GET /x HTTP/1.1\r\nHost: Shop.Example.com:80\r\n\r\n");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.text();
    assert!(
        seen.contains("x-weft-caller: spiffe://test.weft/ns/mesh/dc/local/gateway/edge\r\n"),
        "{seen}"
    );
    assert!(seen.contains("host: Shop.Example.com:80\r\n"), "{seen}");
    assert_eq!(
        edge.client()
            .ask("GET / HTTP/1.1\r\nHost: a.wild.example.com\r\n\r\n")
            .status,
        200
    );
    assert_eq!(
        edge.client()
            .ask("GET /api/y HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
            .status,
        200
    );
    let answer = edge
        .client()
        .ask("GET /y HTTP/1.1\r\nHost: elsewhere\r\n\r\n");
    assert_eq!((answer.status, answer.reason()), (404, Some("no_route")));
    edge.stage.near.counts(
        1,
        "weft_requests_total",
        &["gateway", "route=\"rest/api\"", "destination=\"shop/api\""],
    );
}

#[test]
fn certificates_are_chosen_by_server_name_and_clients_speak_http1() {
    let edge = Edge::new(|_| {});
    for name in ["shop.example.com", "b.wild.example.com"] {
        let answer = edge
            .secure(name)
            .ask(&format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(answer.status, 200, "{name}");
        assert!(
            answer.text().contains("x-forwarded-proto: https\r\n"),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_client_that_offers_both_versions_speaks_http2() {
    let edge = Edge::new(|_| {});
    let request = http::Request::get("https://shop.example.com/x?y")
        .header("x-forwarded-for", "6.6.6.6")
        .body(())
        .expect("a request");
    let answer = http2::run(async {
        let stream = tokio::net::TcpStream::connect(edge.https).await;
        let name = "shop.example.com".try_into().expect("a name");
        let stream = tokio_rustls::TlsConnector::from(edge.config(&["h2", "http/1.1"]))
            .connect(name, stream.expect("connected"))
            .await
            .expect("a session");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut client = http2::handshake(stream).await.expect("HTTP/2");
        http2::finish(&mut client, request, b"", None).await
    });
    let answer = answer.expect("an answer");
    let seen = answer.text();
    assert_eq!(answer.status, 200, "{seen}");
    assert!(
        seen.contains("\nGET /x?y HTTP/1.1\r\nhost: shop.example.com\r\n"),
        "{seen}"
    );
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n"), "{seen}");
}

#[test]
fn what_a_client_says_about_itself_is_taken_off() {
    let edge = Edge::new(|_| {});
    let seen = edge
        .client()
        .ask(
            "GET /api HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
             X-Forwarded-Port: 666\r\nX-Weft-Caller: root\r\nX-Request-Id: forged\r\n\r\n",
        )
        .text();
    for forged in ["6.6.6.6", "666", "root", "forged"] {
        assert!(!seen.contains(forged), "{forged} in {seen}");
    }
    for made in [
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-host: a\r\n",
        "x-request-id: ",
    ] {
        assert_eq!(seen.matches(made).count(), 1, "{made} in {seen}");
    }
}

#[test]
fn a_trusted_peers_forwarding_fields_are_believed() {
    let edge = Edge::new(|gateway| gateway.trust_forwarded_from = vec!["127.0.0.0/8".to_owned()]);
    let request = "GET /api HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n";
    let seen = edge.client().ask(request).text();
    assert!(
        seen.contains("x-forwarded-for: 203.0.113.7, 127.0.0.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
}

#[test]
fn a_listener_may_redirect_everybody() {
    let edge = Edge::new(|gateway| {
        let http = gateway.listeners.get_mut("http").expect("there");
        http.redirect_to = Some(Redirect {
            scheme: "https".to_owned(),
            port: 8443,
        });
    });
    let answer = edge
        .client()
        .ask("GET /a?b HTTP/1.1\r\nHost: shop.example.com:80\r\n\r\n");
    assert_eq!(
        (answer.status, answer.field("location")),
        (308, Some("https://shop.example.com:8443/a?b"))
    );
}

#[test]
fn a_path_is_made_plain_once_and_forwarded_so() {
    let edge = Edge::new(|_| {});
    let seen = edge
        .client()
        .ask("GET /x/../api//y?q=/../ HTTP/1.1\r\nHost: a\r\n\r\n")
        .text();
    assert!(seen.contains("GET /api/y?q=/../ HTTP/1.1"), "{seen}");
}

#[test]
fn a_body_over_the_bound_is_refused_however_it_is_framed() {
    let edge = Edge::new(|_| {});
    let mut client = edge.client();
    client.send(b"POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.reason()), (413, Some("too_large")));
    let mut client = edge.client();
    client.send(b"POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    client.send(&[b'x'; 1001]);
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.reason()), (413, Some("too_large")));
}
