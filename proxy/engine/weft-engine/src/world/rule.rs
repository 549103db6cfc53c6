//! One rule, prepared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weft_core::header::Edits;
use weft_core::retry;
use weft_core::target::Split;
use weft_model::section;

use super::Subset;
use crate::observe::Label;

/// What happens to the requests of one rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its name in metrics.
    pub(crate) label: Label,
    /// What then.
    pub(crate) action: Action,
    /// From the end of the request to the final response head.
    pub(crate) timeout: Duration,
    /// When to try again.
    pub(crate) retry: retry::Policy,
    /// Edits of the request.
    pub(crate) request: Edits,
    /// Edits of the response.
    pub(crate) response: Edits,
    /// Whether `%2f` and its like may stand in the path.
    pub(crate) permits_encoded: bool,
}

/// What a rule does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send it on.
    Forward {
        /// To one of these.
        targets: Box<[Target]>,
        /// By these shares.
        split: Split,
        /// With these changes.
        rewrite: section::Rewrite,
        /// And a copy of some of it there.
        mirror: Option<Mirror>,
    },
    /// Answer with a Location.
    Redirect {
        /// Or the request's own.
        scheme: Option<Box<str>>,
        /// Or the request's own.
        host: Option<Box<str>>,
        /// Or the request's own.
        path: Option<Box<str>>,
        /// The status.
        code: u16,
    },
    /// Answer at once.
    Respond {
        /// The status.
        code: u16,
        /// As text.
        body: Box<str>,
    },
}

/// Some instances of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `ns/service`
    pub(crate) service: Arc<str>,
    /// Which of them.
    pub(crate) subset: Subset,
}

/// Where copies go.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    /// To one of these.
    pub(crate) target: Target,
    /// Of the rule's requests; 0 to 1.
    pub(crate) fraction: f64,
}

// === impl Rule ===

impl Rule {
    /// From a section; `subset` numbers sets of labels.
    pub(crate) fn new(
        route: &section::Route,
        mut subset: impl FnMut(&BTreeMap<String, String>) -> Subset,
    ) -> Self {
        let action = match &route.action {
            section::Action::Forward {
                to,
                on_empty,
                rewrite,
                mirror,
            } => {
                let mirror = mirror.as_ref().map(|mirror| Mirror {
                    target: Target {
                        service: mirror.service.as_str().into(),
                        subset: subset(&mirror.labels),
                    },
                    fraction: mirror.percent / 100.0,
                });
                let target = |target: &section::Target| Target {
                    service: target.service.as_str().into(),
                    subset: subset(&target.labels),
                };
                Action::Forward {
                    targets: to.iter().map(target).collect(),
                    split: Split::new(to, *on_empty),
                    rewrite: rewrite.clone(),
                    mirror,
                }
            }
            section::Action::Redirect {
                scheme,
                host,
                path,
                code,
            } => {
                let text = |text: &Option<String>| text.as_deref().map(Box::from);
                Action::Redirect {
                    scheme: text(scheme),
                    host: text(host),
                    path: text(path),
                    code: *code,
                }
            }
            section::Action::Respond { code, body } => Action::Respond {
                code: *code,
                body: body.as_str().into(),
            },
        };
        Self {
            label: Label::of(&route.name),
            action,
            timeout: Duration::from_millis(route.timeout_ms),
            retry: retry::Policy::new(&route.retry),
            request: Edits::new(&route.request_headers),
            response: Edits::new(&route.response_headers),
            permits_encoded: route.allow_encoded_slash,
        }
    }

    /// What holds for a service's requests where no rule matches.
    pub(crate) fn fallback(service: &Arc<str>, traffic: &section::Traffic) -> Self {
        let whole = section::Target {
            service: service.to_string(),
            labels: BTreeMap::new(),
            weight: 1,
        };
        Self {
            label: Label::NONE,
            action: Action::Forward {
                targets: Box::new([Target {
                    service: Arc::clone(service),
                    subset: Subset::ALL,
                }]),
                split: Split::new(&[whole], section::OnEmpty::Fail),
                rewrite: section::Rewrite::default(),
                mirror: None,
            },
            timeout: Duration::from_millis(traffic.timeout_ms),
            retry: retry::Policy::new(&traffic.retry),
            request: Edits::default(),
            response: Edits::default(),
            permits_encoded: false,
        }
    }

    /// What holds for calls from the mesh: nothing is edited, and nothing tried again but on a connection that had gone stale.
    /// `%2f` may stand in a path that Access looks at if one of the service's routes permits it.
    pub(crate) fn inbound(name: &Arc<str>, service: &section::Service) -> Self {
        let retry = section::Retry {
            max: 0,
            undelivered: false,
            reset: false,
            statuses: Vec::new(),
            grpc_statuses: Vec::new(),
            methods: Vec::new(),
            per_try_timeout_ms: 0,
            backoff_base_ms: 0,
            backoff_max_ms: 0,
        };
        Self {
            retry: retry::Policy::new(&retry),
            permits_encoded: service.routes.iter().any(|route| route.allow_encoded_slash),
            ..Self::fallback(name, &service.traffic)
        }
    }

    /// The services it may send to, with the subsets.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        let (targets, mirror) = match &self.action {
            Action::Forward {
                targets, mirror, ..
            } => (&targets[..], mirror.as_ref()),
            Action::Redirect { .. } | Action::Respond { .. } => (&[][..], None),
        };
        targets.iter().chain(mirror.map(|mirror| &mirror.target))
    }
}
