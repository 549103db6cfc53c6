//! Responses of HTTP/1.1, to requests of any method.

use weft_http1::{Limits, Method};

use crate::forward;
use crate::harness::{Responses, tell};
use crate::input::Input;

/// What an engine takes of another, which adds to what an application said.
const PEER: Limits = Limits {
    head: Limits::RESPONSE.head + 8 * 1024,
    fields: Limits::MAX_FIELDS,
    ..Limits::RESPONSE
};

/// However the bytes are cut, the same is read; what is forwarded of them reads as the same responses, and as many; forwarded
/// once more it stays as it is.
pub fn check(data: &[u8]) {
    let input = Input::new(data);
    let method = if input.options & 1 == 0 {
        Method::Get
    } else {
        Method::Head
    };
    let offered = input.options & 2 != 0;
    let whole = tell(Responses::to(method, offered), [input.message]);
    assert_eq!(tell(Responses::to(method, offered), input.pieces()), whole);
    if let Some(bytes) = input.bytes() {
        assert_eq!(tell(Responses::to(method, offered), bytes), whole);
    }
    let written = forward::responses(input.message, method, offered, Limits::RESPONSE);
    let again = forward::responses(&written.bytes, method, false, PEER);
    assert_eq!(again.meanings(), written.meanings());
    assert_eq!(again.bytes, written.bytes);
}
