//! What a rule says is done: a target is chosen, the path rewritten, or an answer given.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use weft_core::path::{Refused, admit_encoded};
use weft_core::rate::Places;
use weft_core::reason::{Error, Reason};
use weft_core::route::Part;
use weft_core::target::Choice;
use weft_http1::RequestHead;

use super::decide::{Ask, Decision, Forward, Plan, Way};
use super::restrain::{Restrained, at_service};
use crate::h1::Answer;
use crate::observe::{Event, Label};
use crate::world::{Action, Caller, Cluster, Mirror, Rule, Subset, Target};

/// What is needed to follow a rule.
pub(super) struct Chooser<'a> {
    pub(super) ask: &'a Ask<'a>,
    pub(super) caller: &'a Arc<Caller>,
    pub(super) looked: bool,
    pub(super) max_body: u64,
    /// Under the limits of a gateway.
    pub(super) places: Places,
    /// How long the caller says it waits, if it is believed.
    pub(super) patience: Option<Duration>,
}

impl Chooser<'_> {
    /// Where the rule leads.
    pub(super) fn follow(
        mut self,
        head: &mut RequestHead,
        rule: &Arc<Rule>,
        part: Part,
        whole: Label,
        scheme: &str,
    ) -> Decision {
        let places = std::mem::take(&mut self.places);
        let source = self.caller.label;
        let decision = |destination, plan| Decision {
            source,
            destination,
            route: rule.label,
            plan,
            delay: Duration::ZERO,
        };
        if self.looked
            && let Err(why) = admit_encoded(text(head.path()), true, rule.permits_encoded)
        {
            return decision(whole, Err(ambiguous(why)));
        }
        let (targets, split, rewrite, mirror) = match &rule.action {
            Action::Forward {
                targets,
                split,
                rewrite,
                mirror,
            } => (targets, split, rewrite, mirror),
            Action::Respond { code, body } => {
                let said = Answer {
                    status: *code,
                    reason: None,
                    location: None,
                    extra: None,
                    body: body.to_string().into(),
                };
                return decision(whole, Ok(Plan::Answer(said)));
            }
            Action::Redirect {
                scheme: to,
                host,
                path,
                code,
            } => {
                let authority = host.as_deref().unwrap_or(text(head.authority()));
                let target = path.as_deref().unwrap_or(text(head.target()));
                let location = format!("{}://{authority}{target}", to.as_deref().unwrap_or(scheme));
                return decision(whole, Ok(Plan::Answer(redirect(*code, location))));
            }
        };
        let empty = |place: usize| self.cluster(&targets[place]).is_none();
        let choice = match &targets[..] {
            // Nothing is to be drawn.
            [_] if !empty(0) => Choice::To(0),
            _ => split.choose(&mut *self.ask.rng.borrow_mut(), empty),
        };
        let target = match choice {
            Choice::To(place) => &targets[place],
            Choice::Spilled { to, .. } => {
                self.ask.counters.event(Event::Spilled);
                &targets[to]
            }
            Choice::Empty { from } => {
                let service = &targets[from].service;
                let error = Error::new(
                    Reason::NoEndpoint,
                    format!("{service} has no instance for this rule"),
                );
                return decision(Label::of(service), Err(error));
            }
        };
        let Some(cluster) = self.cluster(target) else {
            return decision(
                whole,
                Err(Error::new(Reason::Internal, "the chosen target is empty")),
            );
        };
        if let Some(prefix) = &rewrite.path_prefix {
            let path = part.rewrite(text(head.path()), prefix);
            if retarget(head, &path).is_err() {
                return decision(
                    cluster.label,
                    Err(Error::new(Reason::Internal, "the rewritten path is none")),
                );
            }
        }
        // Nobody else keeps the limits of a service outside the mesh.
        let restrained = match self.ask.world.services.get(&target.service) {
            Some(service) if cluster.outside => {
                at_service(self.ask, head, service, &self.caller.id)
            }
            _ => Restrained::default(),
        };
        let forward = Forward {
            rule: Arc::clone(rule),
            cluster: Arc::clone(cluster),
            way: self.way(cluster, target.subset),
            timeout: self
                .patience
                .map_or(rule.timeout, |own| own.min(rule.timeout)),
            host: rewrite.host.as_deref().map(Box::from),
            max_body: self.max_body,
            places: places.and(restrained.places),
            fault: restrained.fault,
            mirror: mirror
                .as_ref()
                .and_then(|mirror| self.mirror(head, mirror, rule, &rewrite.host)),
        };
        let plan = restrained
            .answer
            .map_or(Plan::Forward(forward), Plan::Answer);
        Decision {
            delay: restrained.delay,
            ..decision(cluster.label, Ok(plan))
        }
    }

    /// Where a copy of a request goes, if it is drawn; one that becomes a tunnel is not.
    fn mirror(
        &self,
        head: &RequestHead,
        mirror: &Mirror,
        rule: &Arc<Rule>,
        host: &Option<String>,
    ) -> Option<Arc<Forward>> {
        let drawn =
            mirror.fraction >= 1.0 || self.ask.rng.borrow_mut().random_bool(mirror.fraction);
        if !drawn || head.is_websocket() {
            return None;
        }
        let Some(cluster) = self.cluster(&mirror.target) else {
            self.ask.counters.event(Event::MirrorFailed);
            return None;
        };
        Some(Arc::new(Forward {
            rule: Arc::clone(rule),
            cluster: Arc::clone(cluster),
            way: self.way(cluster, mirror.target.subset),
            timeout: rule.timeout,
            host: host.as_deref().map(Box::from),
            max_body: 0,
            places: Places::default(),
            fault: None,
            mirror: None,
        }))
    }

    fn way(&self, cluster: &Cluster, subset: Subset) -> Way {
        if cluster.outside {
            return Way::Outside { subset };
        }
        Way::Mesh {
            subset,
            identity: self.ask.world.tls.identity(&self.caller.name).cloned(),
        }
    }

    /// Whose instances a target means; none where there are none, and no other service's instead.
    fn cluster(&self, target: &Target) -> Option<&Arc<Cluster>> {
        let world = self.ask.world;
        let cluster = &world.services.get(&target.service)?.cluster;
        let subset = cluster.subset(target.subset);
        let fails_over = || {
            cluster.has_nobody()
                && world
                    .elsewhere(cluster, |other| !other.has_nobody())
                    .is_some()
        };
        (subset.is_some_and(|subset| !subset.is_empty()) || fails_over()).then_some(cluster)
    }
}

/// The target with another path; its query stays.
pub(super) fn retarget(head: &mut RequestHead, path: &str) -> Result<(), weft_http1::Reject> {
    let target = match head.query() {
        Some(query) => [path.as_bytes(), b"?", query].concat(),
        None => path.as_bytes().to_vec(),
    };
    head.set_target(&target)
}

/// An answer that sends the client elsewhere.
pub(super) fn redirect(code: u16, location: String) -> Answer {
    Answer {
        status: code,
        reason: None,
        body: format!("{location}\n").into(),
        location: Some(location),
        extra: None,
    }
}

/// A path that rules must not see.
pub(super) fn ambiguous(why: Refused) -> Error {
    Error::new(
        Reason::BadRequest,
        match why {
            Refused::Ambiguous => {
                "dot segments and `//` are not taken between services where rules look at the path"
            }
            Refused::Encoded => "`%2f`, `%5c` and `%00` are not taken by this rule",
        },
    )
}

/// The codec lets only ASCII through.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
