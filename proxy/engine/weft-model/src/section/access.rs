//! Who may call a service.

use serde::{Deserialize, Serialize};

use super::PathMatch;

/// Who may call a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// What holds where no rule decides and no enforced allow rule exists.
    pub default: Decision,
    /// Enforced rules and rules in shadow. Deny wins over allow.
    pub rules: Vec<Rule>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

/// One Access rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `<document>/<rule>`.
    pub name: String,
    /// What it says.
    pub decision: Decision,
    /// Decides nothing; counted as what it would do.
    pub shadow: bool,
    /// Any of these callers: `*`, `ns/*`, `ns/service`, `gateway:<name>`, `spiffe://…`. Empty: every one.
    pub callers: Vec<String>,
    /// Any of these; empty: every one.
    pub methods: Vec<String>,
    /// Any of these; empty: every one.
    pub paths: Vec<PathMatch>,
}
