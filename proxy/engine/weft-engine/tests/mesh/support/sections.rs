//! Sections with sensible defaults, to be changed by a test where it matters.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weft_model::parse::Section;
use weft_model::section::*;

use super::pki::TRUST_DOMAIN;

pub(crate) fn host(name: &str) -> Host {
    Host {
        name: name.to_owned(),
        zone: String::new(),
        trust_domain: TRUST_DOMAIN.to_owned(),
        datacenter: "local".to_owned(),
    }
}

pub(crate) fn retry() -> Retry {
    Retry {
        max: 1,
        undelivered: true,
        reset: true,
        statuses: Vec::new(),
        grpc_statuses: Vec::new(),
        methods: Vec::new(),
        per_try_timeout_ms: 0,
        backoff_base_ms: 1,
        backoff_max_ms: 10,
    }
}

pub(crate) fn service() -> Service {
    Service {
        protocol: Protocol::Http,
        routes: Vec::new(),
        traffic: Traffic {
            balance: Balance::P2c,
            connect_timeout_ms: 1000,
            timeout_ms: 15_000,
            idle_timeout_ms: 3_600_000,
            stream_idle_ms: 300_000,
            retry: retry(),
            capacity: Capacity {
                connections: 0,
                pending: 1024,
                requests: 0,
            },
            retry_budget: RetryBudget {
                percent: 20.0,
                min: 3,
            },
            outlier: Outlier {
                consecutive: 5,
                success_below: 0.0,
                eject_ms: 30_000,
                max_ejected: 50.0,
                latency_factor: 0.0,
            },
            proxy_protocol: None,
            zone: None,
            slow_start_ms: 0,
            failover: Vec::new(),
        },
        access: Access {
            default: Decision::Allow,
            rules: Vec::new(),
        },
        limits: Vec::new(),
        faults: Vec::new(),
    }
}

pub(crate) fn endpoint(host: &str, instance: &str, address: SocketAddr, port: u16) -> Endpoint {
    Endpoint {
        instance: instance.to_owned(),
        host: host.to_owned(),
        address,
        port,
        weight: 100,
        zone: String::new(),
        labels: BTreeMap::from([("version".to_owned(), "v1".to_owned())]),
        state: EndpointState::Up,
        suspect: false,
    }
}

/// The instances of a service of the mesh.
pub(crate) fn endpoints(endpoints: Vec<Endpoint>) -> Section {
    Section::Endpoints(Endpoints {
        endpoints,
        outside: false,
    })
}

pub(crate) fn route(name: &str, action: Action) -> Route {
    Route {
        name: name.to_owned(),
        rank: 0,
        hosts: Vec::new(),
        matches: Vec::new(),
        action,
        timeout_ms: 5000,
        retry: retry(),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        allow_encoded_slash: false,
    }
}

pub(crate) fn forward_to(services: &[(&str, u32)]) -> Action {
    let target = |(service, weight): &(&str, u32)| Target {
        service: (*service).to_owned(),
        labels: BTreeMap::new(),
        weight: *weight,
    };
    Action::Forward {
        to: services.iter().map(target).collect(),
        on_empty: OnEmpty::Spill,
        rewrite: Rewrite::default(),
        mirror: None,
    }
}

pub(crate) fn prefix(path: &str) -> Match {
    Match {
        path: Some(PathMatch::Prefix(path.to_owned())),
        ..Match::default()
    }
}
