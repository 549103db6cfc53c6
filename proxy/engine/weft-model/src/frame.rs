//! The frames of the engine's socket: a big-endian `u32` length, then one msgpack map with a `type`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the sections and frames this crate describes.
pub const SCHEMA: u32 = 1;

/// A frame longer than this is refused before it is read.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// What an agent sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToEngine {
    /// First on every connection. One writing agent at a time; a newer one takes over.
    Hello {
        /// The schema the agent builds for.
        schema: u32,
        /// Who it is, for the log.
        agent: String,
    },
    /// A change of the snapshot: all of it or nothing.
    Apply {
        /// The generation this builds on; anything else than what the engine serves is `nack rebase`.
        base: u64,
        /// The generation afterwards; the agent's own counter.
        generation: u64,
        /// The policy revision it serves then.
        policy: u64,
        /// The registry revision it serves then.
        registry: u64,
        /// Whether everything not in `set` is dropped; `base` is then not looked at.
        reset: bool,
        /// Section name to its value as msgpack bytes.
        set: BTreeMap<String, serde_bytes::ByteBuf>,
        /// Sections to drop.
        delete: Vec<String>,
    },
    /// A certificate and key to serve and present. `chain` empty: forget it.
    Identity {
        /// Rises with every change; acked.
        epoch: u64,
        /// `ns/service`, `gateway:edge`, or `public/<gateway>/<listener>/<n>` for what a gateway shows the world.
        service: String,
        /// DER certificates, leaf first.
        chain: Vec<serde_bytes::ByteBuf>,
        /// PKCS#8 DER.
        key: serde_bytes::ByteBuf,
    },
    /// Whose certificates are believed.
    Trust {
        /// Rises with every change; acked.
        epoch: u64,
        /// Trust domain to DER CA certificates.
        bundles: BTreeMap<String, Vec<serde_bytes::ByteBuf>>,
        /// Serials (lower-case hex) of certificates that are not believed although they verify.
        #[serde(default)]
        revoked: Vec<String>,
    },
    /// Accept no more, finish what is open, at most until the deadline.
    Drain {
        /// Milliseconds from now.
        deadline_ms: u64,
    },
    /// On a connection of its own, by a successor: everything, please. Answered by `handing`, with bytes and descriptors after it.
    Handover {
        /// The layout of what follows `handing` that the successor understands.
        format: u32,
    },
    /// By a successor that accepts on every listener it was handed: the old engine accepts no more, and says `handed`.
    Serving {},
    /// On a connection of its own: single requests as they end, in `tap` frames, until it is closed.
    Subscribe {
        /// Which.
        filter: TapFilter,
    },
    /// On a connection of its own: what the engine serves, as JSON in a `state` frame. Changes nothing.
    Inspect {},
    /// On a connection of its own: the snapshot that is served, in a `sections` frame. Changes nothing.
    Sections {},
}

/// Which requests somebody wants to hear of: all that is said has to hold, of a list one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TapFilter {
    /// `outbound`, `inbound`, `gateway`; empty: any.
    pub direction: String,
    /// `ns/service` of who is called.
    pub services: Vec<String>,
    /// Callers as metrics name them.
    pub callers: Vec<String>,
    /// Routes as metrics name them.
    pub routes: Vec<String>,
    /// `503`, `5xx`.
    pub codes: Vec<String>,
    /// Words of `x-weft-reason`.
    pub reasons: Vec<String>,
    /// Only those with a reason, or answered with 500 or more.
    pub failed: bool,
    /// As the request has them.
    pub methods: Vec<String>,
    /// What the path begins with.
    pub path_prefix: String,
    /// The share that is told, from 0 to 1.
    pub sample: f64,
    /// Further fields of the request to tell; those that carry credentials are refused.
    pub fields: Vec<String>,
}

impl Default for TapFilter {
    fn default() -> Self {
        Self {
            direction: String::new(),
            services: Vec::new(),
            callers: Vec::new(),
            routes: Vec::new(),
            codes: Vec::new(),
            reasons: Vec::new(),
            failed: false,
            methods: Vec::new(),
            path_prefix: String::new(),
            sample: 1.0,
            fields: Vec::new(),
        }
    }
}

/// What an engine answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromEngine {
    /// Answer to `hello`.
    Welcome {
        /// The schema the engine understands.
        schema: u32,
        /// The engine's version.
        version: String,
        /// The generation it serves (0: nothing yet).
        base: u64,
        /// The policy revision it serves.
        policy: u64,
        /// The registry revision it serves.
        registry: u64,
        /// The process, for supervision.
        pid: u32,
    },
    /// The generation is in force in every worker.
    Ack {
        /// Which.
        generation: u64,
    },
    /// Nothing of that apply is in force.
    Nack {
        /// Which.
        generation: u64,
        /// The section at fault; empty for `rebase`.
        section: String,
        /// A permanent code: `rebase`, `invalid_section`, `unknown_section`, `unsupported`, `bind_failed`, `crashed`.
        code: String,
        /// Where in the section, as `routes[0].to[1].weight`.
        path: String,
        /// What was wrong and what was expected.
        message: String,
        /// Other sections that are refused for the same reason.
        #[serde(default)]
        also: Vec<String>,
    },
    /// An identity or trust epoch is in force.
    EpochAck {
        /// Which.
        epoch: u64,
    },
    /// An identity or trust frame was refused; what was before stays.
    EpochNack {
        /// Which.
        epoch: u64,
        /// Why.
        message: String,
    },
    /// Nothing is open any more, or the deadline passed.
    Drained {},
    /// Answer to `handover`. So many bytes of state follow, then the descriptors, by SCM_RIGHTS.
    Handing {
        /// Whose state it is; a successor has the same.
        state_dir: String,
        /// Bytes that follow.
        state: u64,
        /// Listening sockets, by address, in the order of their descriptors; before them come lock, door and admin.
        listeners: Vec<(String, u32)>,
    },
    /// Answer to `serving`: this engine accepts no more, writes no more, and ends when nothing is open any more.
    Handed {},
    /// Something happened that the agent or a person may want to know.
    Event {
        /// `ejected`, `returned`, `certificate_served`, `gone`, `fell_back`.
        kind: String,
        /// Fields by name, from the glossary.
        fields: BTreeMap<String, String>,
    },
    /// Answer to `subscribe`, before the first record.
    Subscribed {},
    /// A request that ended.
    Tap {
        /// A JSON object with the fields of the access log.
        record: String,
        /// Records lost since the subscription began, because this reader was behind.
        dropped: u64,
    },
    /// Answer to `inspect`.
    State {
        /// A JSON document: generation, revisions, listeners, services, endpoints with their state, certificates.
        json: String,
    },
    /// Answer to `sections`.
    Sections {
        /// The agent's counter.
        generation: u64,
        /// The policy revision.
        policy: u64,
        /// The registry revision.
        registry: u64,
        /// Section name to its value as msgpack bytes, as they were sent.
        sections: BTreeMap<String, serde_bytes::ByteBuf>,
    },
}

/// Bytes that are no frame of this schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFrame(String);

/// Reads a frame from all of its bytes, the length before them taken off.
pub fn decode(bytes: &[u8]) -> Result<ToEngine, InvalidFrame> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    let decoded: ToEngine = Deserialize::deserialize(&mut deserializer)
        .map_err(|error: rmp_serde::decode::Error| InvalidFrame(error.to_string()))?;
    match deserializer.get_ref().len() {
        0 => Ok(decoded),
        rest => Err(InvalidFrame(format!(
            "{rest} bytes follow the frame's value"
        ))),
    }
}

// === impl InvalidFrame ===

impl fmt::Display for InvalidFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidFrame {}
