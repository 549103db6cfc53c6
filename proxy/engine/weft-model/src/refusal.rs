//! Why a section was not taken.

use std::fmt;

/// A section that is not taken, and with it the whole apply: what a `nack` frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The section's name as it was sent.
    pub section: String,
    /// What kind of refusal.
    pub code: Code,
    /// Where in the section, as `routes[0].action.to[1].weight`; empty: the section as such.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

/// The permanent codes of refusals by this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It does not fit the schema, or contradicts itself.
    InvalidSection,
    /// No section has such a name, or one that is needed is missing.
    UnknownSection,
    /// It is right, and this engine cannot enforce it.
    Unsupported,
}

// === impl Code ===

impl Code {
    /// The word in `nack` frames and in acks.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidSection => "invalid_section",
            Code::UnknownSection => "unknown_section",
            Code::Unsupported => "unsupported",
        }
    }
}

// === impl Refusal ===

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.section, self.code.as_str())?;
        if !self.path.is_empty() {
            write!(f, " at {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Refusal {}
