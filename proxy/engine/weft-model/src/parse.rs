//! One section from its msgpack bytes, and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::name::SectionName;
use crate::refusal::{Code, Refusal};
use crate::section::{Endpoints, Gateway, Host, Listener, Service};
use crate::validate;

/// A section of any kind.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is unpacked at once, never kept"
)]
pub enum Section {
    /// `host`
    Host(Host),
    /// `listener/<name>`
    Listener(Listener),
    /// `service/<ns>/<name>`
    Service(Service),
    /// `endpoints/<ns>/<name>`
    Endpoints(Endpoints),
    /// `gateway/<name>`
    Gateway(Gateway),
}

/// The section of that name, read and checked in itself; what several sections must agree on is [`crate::Snapshot`]'s.
pub fn section(name: &str, bytes: &[u8]) -> Result<(SectionName, Section), Refusal> {
    let Some(parsed) = SectionName::parse(name) else {
        return Err(Refusal {
            section: name.to_owned(),
            code: Code::UnknownSection,
            path: String::new(),
            message: "no section is called so; expected host, listener/<name>, service/<namespace>/<name>, \
                      endpoints/<namespace>/<name> or gateway/<name>"
                .to_owned(),
        });
    };
    let section = match &parsed {
        SectionName::Host => Section::Host(read(name, bytes)?),
        SectionName::Listener(_) => Section::Listener(read(name, bytes)?),
        SectionName::Service(_) => Section::Service(read(name, bytes)?),
        SectionName::Endpoints(_) => Section::Endpoints(read(name, bytes)?),
        SectionName::Gateway(_) => Section::Gateway(read(name, bytes)?),
    };
    validate::section(&section).map_err(|fault| fault.in_section(name))?;
    Ok((parsed, section))
}

/// The bytes of a section: maps with field names, in the order of the fields.
pub fn encode(section: &Section) -> Vec<u8> {
    match section {
        Section::Host(value) => write(value),
        Section::Listener(value) => write(value),
        Section::Service(value) => write(value),
        Section::Endpoints(value) => write(value),
        Section::Gateway(value) => write(value),
    }
}

fn write(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = rmp_serde::Serializer::new(&mut bytes)
        .with_struct_map()
        .with_human_readable();
    value
        .serialize(&mut serializer)
        .expect("maps with string keys are always written to memory");
    bytes
}

fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Refusal> {
    // Addresses are text: msgpack counts as a format for machines, where serde would expect them in binary.
    let mut deserializer = rmp_serde::Deserializer::new(bytes).with_human_readable();
    let fault = match T::deserialize(&mut deserializer) {
        Ok(value) => match deserializer.get_ref().len() {
            0 => return Ok(value),
            rest => Fault {
                path: String::new(),
                message: format!("{rest} bytes follow the section; expected none"),
            },
        },
        // Msgpack's own errors speak of markers, and of no place; a second reading by way of plain values says where, and what
        // was expected.
        Err(error) => explain::<T>(bytes).unwrap_or_else(|| Fault {
            path: String::new(),
            message: error.to_string(),
        }),
    };
    Err(Refusal {
        section: name.to_owned(),
        code: Code::InvalidSection,
        path: fault.path,
        message: fault.message,
    })
}

struct Fault {
    path: String,
    message: String,
}

fn explain<T: DeserializeOwned>(bytes: &[u8]) -> Option<Fault> {
    let value: serde_json::Value = rmp_serde::from_slice(bytes).ok()?;
    let error = serde_path_to_error::deserialize::<_, T>(value).err()?;
    let path = error.path().to_string();
    Some(Fault {
        path: if path == "." { String::new() } else { path },
        message: error.into_inner().to_string(),
    })
}
