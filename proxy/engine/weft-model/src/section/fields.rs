//! Sections that come in kinds, as flat sets of fields.
//!
//! Serde reads internally tagged enums through a buffer, behind which the path of an error is lost. Read flat and sorted
//! by kind afterwards, an error deep inside a target still says where it is.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{Mirror, OnEmpty, Rewrite, Target};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ListenerKind {
    Outbound,
    Open,
    Inbound,
    Gateway,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    kind: ListenerKind,
    address: SocketAddr,
    caller: Option<String>,
    upstream: Option<String>,
    gateway: Option<String>,
    listener: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionKind {
    Forward,
    Redirect,
    Respond,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    kind: ActionKind,
    to: Option<Vec<Target>>,
    on_empty: Option<OnEmpty>,
    rewrite: Option<Rewrite>,
    mirror: Option<Mirror>,
    scheme: Option<String>,
    host: Option<String>,
    path: Option<String>,
    code: Option<u16>,
    body: Option<String>,
}

/// Fields that were found and belong to another kind.
fn foreign(kind: &str, fields: &[(&str, bool)]) -> Result<(), String> {
    match fields.iter().find(|(_, there)| *there) {
        Some((field, _)) => Err(format!("unknown field `{field}` for kind `{kind}`")),
        None => Ok(()),
    }
}

fn needed<T>(kind: &str, field: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("missing field `{field}`, which kind `{kind}` needs"))
}

// === impl Listener ===

impl TryFrom<Listener> for super::Listener {
    type Error = String;

    fn try_from(fields: Listener) -> Result<Self, String> {
        let Listener {
            kind,
            address,
            caller,
            upstream,
            gateway,
            listener,
        } = fields;
        let outbound = [
            ("caller", caller.is_some()),
            ("upstream", upstream.is_some()),
        ];
        let edge = [
            ("gateway", gateway.is_some()),
            ("listener", listener.is_some()),
        ];
        match kind {
            ListenerKind::Outbound => {
                foreign("outbound", &edge)?;
                Ok(Self::Outbound {
                    address,
                    caller: needed("outbound", "caller", caller)?,
                    upstream: needed("outbound", "upstream", upstream)?,
                })
            }
            ListenerKind::Open => {
                foreign("open", &[("upstream", upstream.is_some())])?;
                foreign("open", &edge)?;
                Ok(Self::Open {
                    address,
                    caller: needed("open", "caller", caller)?,
                })
            }
            ListenerKind::Inbound => {
                foreign("inbound", &outbound)?;
                foreign("inbound", &edge)?;
                Ok(Self::Inbound { address })
            }
            ListenerKind::Gateway => {
                foreign("gateway", &outbound)?;
                Ok(Self::Gateway {
                    address,
                    gateway: needed("gateway", "gateway", gateway)?,
                    listener: needed("gateway", "listener", listener)?,
                })
            }
        }
    }
}

// === impl Action ===

impl TryFrom<Action> for super::Action {
    type Error = String;

    fn try_from(fields: Action) -> Result<Self, String> {
        let Action {
            kind,
            to,
            on_empty,
            rewrite,
            mirror,
            scheme,
            host,
            path,
            code,
            body,
        } = fields;
        let forward = [
            ("to", to.is_some()),
            ("on_empty", on_empty.is_some()),
            ("rewrite", rewrite.is_some()),
            ("mirror", mirror.is_some()),
        ];
        let redirect = [
            ("scheme", scheme.is_some()),
            ("host", host.is_some()),
            ("path", path.is_some()),
        ];
        match kind {
            ActionKind::Forward => {
                foreign("forward", &redirect)?;
                foreign(
                    "forward",
                    &[("code", code.is_some()), ("body", body.is_some())],
                )?;
                Ok(Self::Forward {
                    to: needed("forward", "to", to)?,
                    on_empty: needed("forward", "on_empty", on_empty)?,
                    rewrite: rewrite.unwrap_or_default(),
                    mirror,
                })
            }
            ActionKind::Redirect => {
                foreign("redirect", &forward)?;
                foreign("redirect", &[("body", body.is_some())])?;
                Ok(Self::Redirect {
                    scheme,
                    host,
                    path,
                    code: needed("redirect", "code", code)?,
                })
            }
            ActionKind::Respond => {
                foreign("respond", &forward)?;
                foreign("respond", &redirect)?;
                Ok(Self::Respond {
                    code: needed("respond", "code", code)?,
                    body: body.unwrap_or_default(),
                })
            }
        }
    }
}
