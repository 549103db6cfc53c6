//! The one port on loopback where a request's host names the service.

use std::net::SocketAddr;

use weft_model::parse::Section;
use weft_model::section::Listener;

use crate::support::bytes::tcp;
use crate::support::free;
use crate::support::http::{Answer, Client};
use crate::support::stage::Stage;

fn scene() -> (Stage, SocketAddr) {
    let mut stage = Stage::new();
    let address = free();
    let listener = Listener::Open {
        address,
        caller: "shop/web".to_owned(),
    };
    stage
        .near_agent
        .apply(&[("listener/open", Section::Listener(listener))]);
    (stage, address)
}

fn ask(address: SocketAddr, host: &str) -> Answer {
    Client::connect(address).ask(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn a_requests_host_names_the_service_and_the_call_is_the_configured_callers() {
    let (_stage, address) = scene();
    for host in [
        "api",
        "api.shop",
        "api.weft",
        "api.shop.weft",
        "API.Shop:7501",
    ] {
        let answer = ask(address, host);
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
        let caller = "x-weft-caller: spiffe://test.weft/ns/shop/dc/local/svc/web";
        assert!(answer.text().contains(caller), "{}", answer.text());
    }
}

#[test]
fn a_host_that_names_no_service_is_no_route() {
    let (mut stage, address) = scene();
    for host in [
        "nobody",
        "api.elsewhere",
        "api.shop.example.com",
        "127.0.0.1",
    ] {
        let answer = ask(address, host);
        assert_eq!(
            (answer.status, answer.reason()),
            (404, Some("no_route")),
            "{host}"
        );
    }
    stage.near_service(tcp());
    let answer = ask(address, "api");
    assert_eq!((answer.status, answer.reason()), (404, Some("no_route")));
    assert_eq!(stage.app.count(), 0);
}

#[test]
fn one_connection_may_call_several_services() {
    let (_stage, address) = scene();
    let mut client = Client::connect(address);
    for (host, status) in [("api", 200), ("nobody", 404), ("api.shop", 200)] {
        let asked = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(client.ask(&asked).status, status, "{host}");
    }
}
