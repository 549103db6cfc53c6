//! A snapshot: the sections an engine has, as values and as the bytes they came in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::name::SectionName;
use crate::parse::{self, Section};
use crate::refusal::{Code, Refusal};
use crate::section::{Endpoints, Gateway, Host, Listener, Service};

/// Everything an engine was told, immutable. Snapshots share the sections that did not change between them.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// `host`; none only where there is nothing else either.
    pub host: Option<Arc<Host>>,
    /// `listener/<name>` by name.
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// `service/<ns>/<name>` by `ns/name`.
    pub services: BTreeMap<String, Arc<Service>>,
    /// `endpoints/<ns>/<name>` by `ns/name`.
    pub endpoints: BTreeMap<String, Arc<Endpoints>>,
    /// `gateway/<name>` by name.
    pub gateways: BTreeMap<String, Arc<Gateway>>,
    raw: BTreeMap<String, Arc<[u8]>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// The snapshot afterwards, or what stands against it; this one is unchanged either way.
    ///
    /// With `reset` whatever is not in `set` is dropped. A section whose bytes are those it has already is not parsed
    /// again and keeps its `Arc`, reset or not. A name in both `set` and `delete` is set. Deleting what is not there is
    /// no fault. Sections are refused in the order of their names.
    pub fn apply<B: AsRef<[u8]>>(
        &self,
        reset: bool,
        set: &BTreeMap<String, B>,
        delete: &[String],
    ) -> Result<Snapshot, Refusal> {
        let mut next = if reset {
            Snapshot::default()
        } else {
            self.clone()
        };
        for name in delete.iter().filter(|name| !set.contains_key(*name)) {
            next.remove(name);
        }
        for (name, bytes) in set {
            match self.raw.get_key_value(name) {
                Some((_, known)) if known[..] == *bytes.as_ref() => next.keep(name, self),
                _ => next.put(name, bytes.as_ref())?,
            }
        }
        next.agree()?;
        Ok(next)
    }

    /// The sections as they were sent, by name: what goes to the disk, and what [`Snapshot::apply`] takes back.
    pub fn raw(&self) -> impl ExactSizeIterator<Item = (&str, &Arc<[u8]>)> {
        self.raw.iter().map(|(name, bytes)| (name.as_str(), bytes))
    }

    /// A section as it was sent, if it is there.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.raw.get(name).map(|bytes| &**bytes)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        match parse::section(name, bytes)? {
            (SectionName::Listener(key), Section::Listener(value)) => {
                self.listeners.insert(key, Arc::new(value));
            }
            (SectionName::Service(key), Section::Service(value)) => {
                self.services.insert(key, Arc::new(value));
            }
            (SectionName::Endpoints(key), Section::Endpoints(value)) => {
                self.endpoints.insert(key, Arc::new(value));
            }
            (SectionName::Gateway(key), Section::Gateway(value)) => {
                self.gateways.insert(key, Arc::new(value));
            }
            (_, Section::Host(value)) => self.host = Some(Arc::new(value)),
            (name, _) => unreachable!("the kind of {name} follows from its name"),
        }
        self.raw.insert(name.to_owned(), Arc::from(bytes));
        Ok(())
    }

    fn keep(&mut self, name: &str, from: &Snapshot) {
        fn carry<T>(
            to: &mut BTreeMap<String, Arc<T>>,
            from: &BTreeMap<String, Arc<T>>,
            key: String,
        ) {
            if let Some(value) = from.get(&key) {
                to.insert(key, Arc::clone(value));
            }
        }
        match SectionName::parse(name) {
            Some(SectionName::Host) => self.host.clone_from(&from.host),
            Some(SectionName::Listener(key)) => carry(&mut self.listeners, &from.listeners, key),
            Some(SectionName::Service(key)) => carry(&mut self.services, &from.services, key),
            Some(SectionName::Endpoints(key)) => carry(&mut self.endpoints, &from.endpoints, key),
            Some(SectionName::Gateway(key)) => carry(&mut self.gateways, &from.gateways, key),
            None => {}
        }
        if let Some(bytes) = from.raw.get(name) {
            self.raw.insert(name.to_owned(), Arc::clone(bytes));
        }
    }

    fn remove(&mut self, name: &str) {
        match SectionName::parse(name) {
            Some(SectionName::Host) => self.host = None,
            Some(SectionName::Listener(key)) => drop(self.listeners.remove(&key)),
            Some(SectionName::Service(key)) => drop(self.services.remove(&key)),
            Some(SectionName::Endpoints(key)) => drop(self.endpoints.remove(&key)),
            Some(SectionName::Gateway(key)) => drop(self.gateways.remove(&key)),
            None => {}
        }
        self.raw.remove(name);
    }

    /// What no section can say alone.
    fn agree(&self) -> Result<(), Refusal> {
        if self.host.is_none() && !self.raw.is_empty() {
            return Err(Refusal {
                section: "host".to_owned(),
                code: Code::UnknownSection,
                path: String::new(),
                message: "there are sections but no `host`; expected it in the first apply"
                    .to_owned(),
            });
        }
        let mut taken: BTreeMap<SocketAddr, &str> = BTreeMap::new();
        for (name, listener) in &self.listeners {
            if let Some(other) = taken.insert(listener.address(), name) {
                return Err(Refusal {
                    section: format!("listener/{name}"),
                    code: Code::InvalidSection,
                    path: "address".to_owned(),
                    message: format!(
                        "{} is the address of listener/{other} too",
                        listener.address()
                    ),
                });
            }
        }
        Ok(())
    }
}

impl Listener {
    /// Where it listens, whatever its kind.
    pub fn address(&self) -> SocketAddr {
        match self {
            Listener::Outbound { address, .. }
            | Listener::Open { address, .. }
            | Listener::Inbound { address }
            | Listener::Gateway { address, .. } => *address,
        }
    }
}
