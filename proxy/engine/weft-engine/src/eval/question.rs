//! What is asked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A line of input.
#[derive(Debug)]
pub(super) enum Line {
    /// What is served from now on: section name to its value, as an agent sends them.
    Snapshot {
        /// By name.
        sections: BTreeMap<String, Value>,
    },
    /// What would happen to this?
    Question(Box<Question>),
}

/// A request that may come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// The listener it comes in at, `listener/` left out.
    pub(super) listener: String,
    /// On the inbound listener: who calls, as a SPIFFE ID.
    #[serde(default)]
    pub(super) caller: Option<String>,
    /// On the inbound listener: which `ns/service` its server name asked for.
    #[serde(default)]
    pub(super) service: Option<String>,
    /// On the inbound listener: and which instance of it; the first that is there if left out.
    #[serde(default)]
    pub(super) instance: Option<String>,
    /// The method.
    #[serde(default = "get")]
    pub(super) method: String,
    /// Path and query, or the absolute form.
    #[serde(default = "root")]
    pub(super) target: String,
    /// The Host field; left out: no such field.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// Further fields, in their order.
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    /// Where chance decides (shares by weight), this draws.
    #[serde(default)]
    pub(super) seed: u64,
    /// How many rules that did not match the trace tells.
    #[serde(default = "many")]
    pub(super) lost: usize,
    /// What a running engine would have learned.
    #[serde(default)]
    pub(super) state: State,
    /// Whether there is to be a trace: looking at every rule costs more than deciding.
    #[serde(default = "yes")]
    pub(super) trace: bool,
}

/// What only a running engine knows, supposed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    /// Instances that are ejected, as `ns/service/instance`.
    pub(super) ejected: Vec<String>,
    /// Limits that have nothing left for this request, by name.
    pub(super) used_up: Vec<String>,
}

// === impl Line ===

impl Line {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let Some(sections) = value.get("sections") else {
            let question = serde_json::from_value(value);
            return question
                .map(|question| Self::Question(Box::new(question)))
                .map_err(|error| format!("no question: {error}"));
        };
        let sections = sections
            .as_object()
            .ok_or("sections: expected an object of section name to value")?;
        let sections = sections
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(Self::Snapshot { sections })
    }
}

// === impl Question ===

impl Question {
    /// The request as a client would send it; the codec judges it as it judges every other.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let host = self.host.iter().map(|host| ("host", host.as_str()));
        let rest = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in host.chain(rest) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

fn many() -> usize {
    100
}
