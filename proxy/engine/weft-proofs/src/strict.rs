//! What an application reads, by the slow readers alone: every byte an engine sends must be one request behind another.

use crate::chunks;
use crate::reference::{self, Body};

/// One whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As in the first line.
    pub method: String,
    /// As in the first line.
    pub target: String,
    /// With names as they were written.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its framing taken off.
    pub body: Vec<u8>,
}

/// The request at the start of these bytes and its length; `None`: it is not whole yet.
///
/// # Errors
/// What two readers could take for two things.
pub fn first(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = bytes.split_at(end + 4);
    let dirty = || format!("not a request: {:?}", String::from_utf8_lossy(head));
    let read = reference::read(head).ok_or_else(dirty)?;
    let (body, length) = match read.body {
        Body::None => (Vec::new(), 0),
        Body::Length(length) => {
            let length = usize::try_from(length).map_err(|error| error.to_string())?;
            match rest.get(..length) {
                Some(body) => (body.to_vec(), length),
                None => return Ok(None),
            }
        }
        Body::Chunked => match chunks::read(rest) {
            chunks::Read::Whole(body, _, length) => (body, length),
            chunks::Read::Short => return Ok(None),
            chunks::Read::Bad => return Err("chunks that nobody reads".to_owned()),
        },
    };
    let request = Request {
        method: read.method,
        target: read.target,
        fields: read.fields,
        body,
    };
    Ok(Some((request, head.len() + length)))
}
