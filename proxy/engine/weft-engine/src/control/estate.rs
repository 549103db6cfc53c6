//! What one engine leaves another: all it serves, what it learned, and every descriptor on which it is reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use weft_core::endpoint::{Carried, Member, Rotation};
use weft_core::rate::Limits;

use super::state::{Keys, Saved, Served};
use crate::worker::moment;
use crate::world::World;

/// Everything, ready to be handed over.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) left: Left,
    pub(crate) doors: Doors,
    pub(crate) listeners: BTreeMap<SocketAddr, Vec<OwnedFd>>,
}

/// The descriptors that an engine has one of.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Whose they are.
    pub(crate) state_dir: PathBuf,
    /// Of the state directory: who has it may write there.
    pub(crate) lock: OwnedFd,
    /// Where agents come in.
    pub(crate) socket: OwnedFd,
    /// Where scrapes do.
    pub(crate) admin: OwnedFd,
}

/// What goes as bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    served: Served,
    keys: BTreeMap<String, Keys>,
    #[serde(default)]
    learned: Vec<Learned>,
    #[serde(default)]
    spent: Vec<Spent>,
}

/// What everybody together has spent under a rule of a service, or of a gateway where its name begins with `gateway:`.
#[derive(Debug, Serialize, Deserialize)]
struct Spent {
    of: String,
    rule: String,
    left_ms: u64,
}

/// What was learned of an endpoint, or of a host: then there is no service.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    service: String,
    host: String,
    instance: String,
    left_ms: Option<u64>,
    out: bool,
    times: u32,
}

// === impl Doors ===

impl Doors {
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            state_dir: self.state_dir.clone(),
            lock: self.lock.try_clone()?,
            socket: self.socket.try_clone()?,
            admin: self.admin.try_clone()?,
        })
    }
}

// === impl Left ===

impl Left {
    /// All of a world that a successor needs.
    pub(crate) fn of(world: &World) -> Self {
        let Saved { served, keys } = Saved::of(world);
        let mut learned = Vec::new();
        let mut hosts = BTreeMap::new();
        let now = moment(Instant::now());
        for (name, service) in &world.services {
            for member in service.cluster.members.list() {
                let held = member.state.rotation.carried(now);
                learned.extend(held.map(|held| Learned::new(name, member, held)));
                hosts
                    .entry(&member.endpoint.host)
                    .or_insert((member, &member.host));
            }
        }
        for (member, rotation) in hosts.into_values() {
            let held = rotation.carried(now);
            learned.extend(held.map(|held| Learned::new("", member, held)));
        }
        let spent = limits(world).flat_map(|(of, limits)| {
            let spent = limits.spent(now);
            spent.map(move |(rule, left)| Spent {
                of: of.clone(),
                rule: rule.to_owned(),
                left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            })
        });
        Self {
            served,
            keys,
            learned,
            spent: spent.collect(),
        }
    }

    /// The part that a restart needs too; the rest is for [`carry`].
    pub(crate) fn into_parts(self) -> (Saved, Experience) {
        let saved = Saved {
            served: self.served,
            keys: self.keys,
        };
        (saved, Experience(self.learned, self.spent))
    }
}

/// What an engine learned by talking to endpoints, and gave under limits.
#[derive(Debug)]
pub(crate) struct Experience(Vec<Learned>, Vec<Spent>);

impl Experience {
    /// Holds against endpoints and hosts what the engine before did.
    pub(crate) fn carry(self, world: &World) {
        let now = moment(Instant::now());
        let mut hosts: BTreeMap<&str, &Rotation> = BTreeMap::new();
        let mut endpoints: BTreeMap<(&str, &str, &str), &Rotation> = BTreeMap::new();
        for (name, service) in &world.services {
            for member in service.cluster.members.list() {
                let (host, instance) = member.key();
                hosts.insert(host, &member.host);
                endpoints.insert((name, host, instance), &member.state.rotation);
            }
        }
        for learned in &self.0 {
            let rotation = match learned.service.as_str() {
                "" => hosts.get(&*learned.host),
                service => endpoints.get(&(service, &*learned.host, &*learned.instance)),
            };
            if let Some(rotation) = rotation {
                rotation.carry(learned.held(), now);
            }
        }
        for service in world.services.values() {
            service.cluster.members.recount();
        }
        let limits: BTreeMap<String, &Limits> = limits(world).collect();
        for spent in &self.1 {
            if let Some(limits) = limits.get(&spent.of) {
                limits.spend(&spent.rule, Duration::from_millis(spent.left_ms), now);
            }
        }
    }
}

fn limits(world: &World) -> impl Iterator<Item = (String, &Limits)> {
    let services = world.services.iter();
    let services = services.map(|(name, service)| (name.to_string(), &service.rules.limits));
    let gateways = world.gateways.iter();
    services.chain(gateways.map(|(name, gateway)| (format!("gateway:{name}"), &gateway.limits)))
}

// === impl Learned ===

impl Learned {
    fn new(service: &str, member: &Member, held: Carried) -> Self {
        Self {
            service: service.to_owned(),
            host: member.endpoint.host.clone(),
            instance: member.endpoint.instance.clone(),
            left_ms: held.left_ms,
            out: held.out,
            times: held.times,
        }
    }

    fn held(&self) -> Carried {
        Carried {
            left_ms: self.left_ms,
            out: self.out,
            times: self.times,
        }
    }
}
