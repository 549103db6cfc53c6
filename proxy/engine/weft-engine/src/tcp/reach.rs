//! A connection to an instance that is ready to take bytes.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use weft_core::balance::{Key, Pick, Seen};
use weft_core::budget::{Deposit, Withdrawal};
use weft_core::endpoint::Active;
use weft_core::limit::Permit;
use weft_core::outlier::Outcome;
use weft_core::rate::Places;
use weft_core::reason::{Error, Reason};
use weft_core::retry::{Attempt, Failure, Verdict};
use weft_model::section::{Endpoint, HashOn};

use super::greeting;
use super::outbound::Call;
use super::restrain::restrain;
use super::story::Story;
use crate::io::Stream;
use crate::observe::{Direction, Retried};
use crate::tls::{ALPN_TCP, ALPN_TCP_PROXIED, Configs, Identity, TlsReason};
use crate::upstream::{ConnectError, Secure, connect};
use crate::worker::Worker;
use crate::world::{Cluster, Rule, Subset};

/// An instance that waits for bytes, with its place in everything that counts connections.
pub(super) struct Reached {
    pub(super) up: Stream,
    pub(super) cluster: Arc<Cluster>,
    pub(super) expires: Option<Instant>,
    pub(super) held: (Permit, Deposit, Active, Places),
}

/// A try that failed; nothing was delivered by it.
struct Failed {
    error: Error,
    failure: Failure,
    /// What the instance is blamed for.
    outcome: Option<Outcome>,
}

/// What holds for all tries of one connection.
struct Plan<'a> {
    call: &'a Call,
    worker: &'a Worker,
    rule: Arc<Rule>,
    cluster: Arc<Cluster>,
    subset: Subset,
    /// As whom; `None` where the service is outside the mesh.
    identity: Option<Arc<Identity>>,
}

/// Tries one instance after another, as the service's traffic allows; those of another service while none is in rotation.
/// `story` is told how that went.
pub(super) async fn reach(
    call: &Call,
    worker: &Worker,
    story: &mut Story,
) -> Result<Reached, Error> {
    let (mut plan, mut places, delay) = Plan::new(call, worker)?;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut withdrawal = None;
    let mut tries = 0;
    let mut other = worker.elsewhere(&plan.cluster);
    loop {
        if let Some(other) = other.take() {
            plan.turn(other);
            story.key.destination = plan.cluster.label;
        }
        match plan.reach(&mut withdrawal, &mut tries, story).await? {
            Ok((up, expires, held)) => {
                return Ok(Reached {
                    up,
                    expires,
                    held: (held.0, held.1, held.2, std::mem::take(&mut places)),
                    cluster: plan.cluster,
                });
            }
            Err(Elsewhere(next)) => other = Some(next),
        }
    }
}

/// None of a service's instances is in rotation any more: to this one's instead.
struct Elsewhere(Arc<Cluster>);

/// A connection, when it ends, and its place in what is counted.
type Held = (Stream, Option<Instant>, (Permit, Deposit, Active));

// === impl Plan ===

impl<'a> Plan<'a> {
    fn new(call: &'a Call, worker: &'a Worker) -> Result<(Self, Places, Duration), Error> {
        let world = worker.world();
        let service = world.services.get(&call.service).ok_or_else(|| {
            let detail = format!("{} is not known here", call.service);
            Error::new(Reason::NoRoute, detail)
        })?;
        let identity = match service.cluster.outside {
            true => None,
            false => Some(
                world
                    .tls
                    .identity(&call.caller.name)
                    .ok_or_else(|| no_identity(&call.service))?,
            ),
        };
        // Nobody else keeps the limits of a service outside the mesh.
        let (places, delay) = match service.cluster.outside {
            true => restrain(service, &call.caller.id, worker)?,
            false => (Places::default(), Duration::ZERO),
        };
        let plan = Self {
            call,
            worker,
            rule: Arc::clone(call.rule.as_ref().unwrap_or(&service.rules.fallback)),
            cluster: Arc::clone(&service.cluster),
            subset: call.subset,
            identity: identity.cloned(),
        };
        Ok((plan, places, delay))
    }

    /// Tries this service's instances.
    async fn reach(
        &self,
        withdrawal: &mut Option<Withdrawal>,
        tries: &mut usize,
        story: &mut Story,
    ) -> Result<Result<Held, Elsewhere>, Error> {
        let cluster = &self.cluster;
        let capacity = &cluster.capacity;
        let permit = capacity.connections.acquire();
        let permit = permit.ok_or_else(|| self.full("connections"))?;
        let waiting = capacity.pending.acquire();
        let _waiting = waiting.ok_or_else(|| self.full("connections that wait"))?;
        let deposit = cluster.budget.deposit();
        let key = match cluster.traffic.hash_on {
            Some(HashOn::SourceAddress(_)) => match self.call.client {
                Some(ends) => Key::of(ends.source.ip().to_string().as_bytes()),
                None => self.worker.host_key(),
            },
            _ => None,
        };
        let mut tried = Vec::new();
        loop {
            let began = Instant::now();
            let picked = self.worker.pick(cluster, self.subset, (&tried, key), began);
            let pick = picked.ok_or_else(|| self.nobody())?;
            let member = &cluster.members.list()[pick.member];
            let active = member.state.begin();
            story.tries += 1;
            member.endpoint.instance.clone_into(&mut story.instance);
            let failed = match self.once(pick).await {
                Ok((up, expires)) => {
                    self.report(pick, Outcome::Success, began.elapsed());
                    return Ok(Ok((up, expires, (permit, deposit, active))));
                }
                Err(failed) => failed,
            };
            if let Some(outcome) = failed.outcome {
                self.report(pick, outcome, cluster.traffic.connect_timeout);
            }
            story.missed(&member.endpoint.instance, &failed.error);
            tried.push(pick.member);
            *tries += 1;
            *withdrawal = self.again(withdrawal.take(), &failed, *tries).await;
            if withdrawal.is_none() {
                return Err(failed.error);
            }
            if let Some(other) = self.worker.elsewhere(cluster) {
                return Ok(Err(Elsewhere(other)));
            }
        }
    }

    /// To another service, whose identity is expected from now on.
    fn turn(&mut self, other: Arc<Cluster>) {
        tracing::debug!(service = %self.cluster.name, to = %other.name, "failed over");
        if other.outside {
            self.identity = None;
        }
        self.subset = Subset::ALL;
        self.cluster = other;
    }

    async fn once(&self, pick: Pick) -> Result<(Stream, Option<Instant>), Failed> {
        let cluster = &self.cluster;
        let endpoint = &cluster.members.list()[pick.member].endpoint;
        let secure = self.secure(pick).map_err(Failed::ours)?;
        let outside = secure.is_none();
        let patience = cluster.traffic.connect_timeout;
        let blamed = |error: ConnectError| self.blamed(&error, endpoint);
        let connected = connect(endpoint.address, secure, patience).await;
        let (mut up, life) = connected.map_err(blamed)?;
        let expires = life.map(|life| life.end);
        self.worker.counters.connected(up.is_resumed());
        if outside {
            return Ok((up, expires));
        }
        if up.alpn() != Some(self.protocol()) {
            return Err(blamed(ConnectError::Tls(TlsReason::WrongAlpn)));
        }
        // The other engine has the same patience with the application.
        match timeout(patience * 2, greeting(&mut up)).await {
            Ok(Ok(Ok(()))) => Ok((up, expires)),
            Ok(Ok(Err(reason))) => Err(Failed::by_peer(reason, &endpoint.instance, &cluster.name)),
            Ok(Err(error)) => Err(blamed(error)),
            Err(_) => Err(blamed(ConnectError::Timeout { reached: true })),
        }
    }

    /// A gateway says whose connection it passes on, to a service that wants to know.
    fn protocol(&self) -> &'static [u8] {
        let passes_on = self.call.direction == Direction::Gateway;
        match self.cluster.traffic.proxy_protocol {
            Some(_) if passes_on => ALPN_TCP_PROXIED,
            _ => ALPN_TCP,
        }
    }

    fn secure(&self, pick: Pick) -> Result<Option<Secure>, Error> {
        let Some(identity) = &self.identity else {
            return Ok(None);
        };
        let name = self.cluster.server_name(pick.member);
        let (
            Configs::Mesh {
                tcp_client,
                tcp_client_proxied,
                ..
            },
            Some(name),
        ) = (&identity.configs, name)
        else {
            return Err(no_identity(&self.cluster.name));
        };
        let config = match self.protocol() {
            ALPN_TCP_PROXIED => tcp_client_proxied,
            _ => tcp_client,
        };
        Ok(Some(Secure {
            config: Arc::clone(config),
            name: name.clone(),
            own: identity.facts.clone(),
        }))
    }

    fn blamed(&self, error: &ConnectError, endpoint: &Endpoint) -> Failed {
        if let ConnectError::Tls(reason) = error {
            self.worker.counters.tls(self.call.direction, *reason);
        }
        Failed {
            error: error.explain(&endpoint.instance, endpoint.address),
            failure: if error.is_ours() {
                Failure::Local
            } else {
                Failure::Connect
            },
            outcome: match error {
                error if error.is_ours() => None,
                error if error.is_of_the_host() => Some(Outcome::HostUnreachable),
                _ => Some(Outcome::Failure),
            },
        }
    }

    fn report(&self, pick: Pick, outcome: Outcome, took: Duration) {
        let now = Instant::now();
        let seen = match outcome {
            Outcome::Success => Seen::Answer(took),
            Outcome::Failure | Outcome::HostUnreachable => Seen::Failure(took),
        };
        self.worker.observe(&self.cluster, pick.member, seen, now);
        self.worker.report(&self.cluster, pick, outcome, now);
    }

    /// Pauses before the next try; `None`: there is none, by the rule or for want of budget.
    async fn again(
        &self,
        before: Option<Withdrawal>,
        failed: &Failed,
        tries: usize,
    ) -> Option<Withdrawal> {
        drop(before);
        let retry = u32::try_from(tries).unwrap_or(u32::MAX);
        let policy = &self.rule.retry;
        let verdict = policy.judge("", Attempt::default(), failed.failure, retry - 1);
        if verdict != Verdict::Again {
            return None;
        }
        let Some(withdrawal) = self.cluster.budget.withdraw() else {
            self.cluster.shared.retried(Retried::OverBudget);
            return None;
        };
        self.cluster.shared.retried(Retried::Tried);
        let pause = policy.backoff(retry, &mut *self.worker.rng.borrow_mut());
        tracing::debug!(service = %self.cluster.name, error = %failed.error, retry, "tried again");
        tokio::time::sleep(pause).await;
        Some(withdrawal)
    }

    fn full(&self, what: &str) -> Error {
        let detail = format!("{} has too many {what}", self.cluster.name);
        Error::new(Reason::Overloaded, detail)
    }

    fn nobody(&self) -> Error {
        let detail = format!("{} has no instance to ask", self.cluster.name);
        Error::new(Reason::NoEndpoint, detail)
    }
}

/// Reads the one byte. In TLS 1.3 a server's refusal of our certificate comes only here.
async fn greeting(up: &mut Stream) -> Result<Result<(), Reason>, ConnectError> {
    let mut byte = [0];
    match poll_fn(|cx| up.poll_read(cx, &mut byte)).await {
        Ok(1) => Ok(greeting::parse(byte[0])),
        Ok(_) => Err(ConnectError::Tls(TlsReason::Closed)),
        Err(error) => Err(ConnectError::Tls(TlsReason::of_io(&error))),
    }
}

fn no_identity(service: &str) -> Error {
    let detail = format!("there is no certificate to call {service} with");
    Error::new(Reason::TlsFailed, detail)
}

// === impl Failed ===

impl Failed {
    fn ours(error: Error) -> Self {
        Self {
            error,
            failure: Failure::Connect,
            outcome: None,
        }
    }

    /// The called engine refused. Whatever it could not do, nothing was delivered; what it may not do, another may not either.
    fn by_peer(reason: Reason, instance: &str, service: &str) -> Self {
        let failure = match reason {
            Reason::ConnectFailed | Reason::ConnectTimeout => Failure::Connect,
            other => Failure::Peer(other),
        };
        Self {
            error: Error::new(reason, format!("{instance} of {service} was not to be had")),
            failure,
            outcome: failure.counts().then_some(Outcome::Failure),
        }
    }
}
