//! The usual scene: `shop/web` on one host calls `shop/api` on another.

use std::net::SocketAddr;

use weft_model::parse::Section;
use weft_model::section::{Endpoint, Listener, Service};

use super::app::App;
use super::engine::{Agent, Engine};
use super::free;
use super::http::{Answer, Client, get};
use super::pki::Ca;
use super::sections::{endpoint, endpoints, host, service};

/// Two engines that trust each other, and an application behind the second.
pub(crate) struct Stage {
    pub(crate) ca: Ca,
    pub(crate) near: Engine,
    pub(crate) near_agent: Agent,
    pub(crate) far: Engine,
    pub(crate) far_agent: Agent,
    /// Where `shop/web` calls `shop/api`.
    pub(crate) outbound: SocketAddr,
    /// Where the second host takes mesh traffic.
    pub(crate) inbound: SocketAddr,
    pub(crate) app: App,
    port: u16,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(service())
    }

    pub(crate) fn with(api: Service) -> Self {
        Self::in_front_of(api, None)
    }

    /// With another application on that port.
    pub(crate) fn in_front_of(api: Service, port: Option<u16>) -> Self {
        let ca = Ca::new("the mesh");
        let (near, far) = (Engine::start(), Engine::start());
        let (near_agent, far_agent) = (near.agent(), far.agent());
        let app = App::start("api-1");
        let (outbound, inbound) = (free(), free());
        let mut stage = Self {
            ca,
            near,
            near_agent,
            far,
            far_agent,
            outbound,
            inbound,
            port: port.unwrap_or(app.port()),
            app,
        };
        stage.far_agent.trust(&[&stage.ca], &[]);
        stage.near_agent.trust(&[&stage.ca], &[]);
        let instances = vec![stage.api()];
        stage.far_agent.apply(&[
            ("host", Section::Host(host("far"))),
            (
                "listener/inbound",
                Section::Listener(Listener::Inbound { address: inbound }),
            ),
            ("service/shop/api", Section::Service(api.clone())),
            ("endpoints/shop/api", endpoints(instances.clone())),
        ]);
        stage
            .far_agent
            .identity("shop/api", &stage.ca.leaf("shop/api"));
        let listener = Listener::Outbound {
            address: outbound,
            caller: "shop/web".to_owned(),
            upstream: "shop/api".to_owned(),
        };
        stage.near_agent.apply(&[
            ("host", Section::Host(host("near"))),
            ("listener/out", Section::Listener(listener)),
            ("service/shop/api", Section::Service(api)),
            ("endpoints/shop/api", endpoints(instances)),
        ]);
        stage
            .near_agent
            .identity("shop/web", &stage.ca.leaf("shop/web"));
        stage
    }

    /// The one real instance.
    pub(crate) fn api(&self) -> Endpoint {
        endpoint("far", "api-1", self.inbound, self.port)
    }

    /// Tells the caller's engine who there is.
    pub(crate) fn near_endpoints(&mut self, instances: Vec<Endpoint>) {
        self.near_agent
            .apply(&[("endpoints/shop/api", endpoints(instances))]);
    }

    /// Tells the caller's engine how to call.
    pub(crate) fn near_service(&mut self, service: Service) {
        self.near_agent
            .apply(&[("service/shop/api", Section::Service(service))]);
    }

    /// Tells the called engine who may.
    pub(crate) fn far_service(&mut self, service: Service) {
        self.far_agent
            .apply(&[("service/shop/api", Section::Service(service))]);
    }

    pub(crate) fn client(&self) -> Client<std::net::TcpStream> {
        Client::connect(self.outbound)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.outbound, path)
    }
}
