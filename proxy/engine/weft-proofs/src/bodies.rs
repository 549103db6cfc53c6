//! Chunked bodies.

use crate::chunks::{self, Read};
use crate::harness::{Requests, Said, tell};
use crate::requests;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The codec and the slow reader agree on whether a body is one, what is in it and where it ends; and all that holds for
/// requests.
pub fn check(data: &[u8]) {
    let (first, body) = data.split_at(data.len().min(1));
    let cuts = usize::from(first.first().unwrap_or(&0) & 7).min(body.len());
    let (cuts, body) = body.split_at(cuts);
    requests::check(&[first, cuts, HEAD, body].concat());

    let said = tell(Requests::new(), [HEAD, body]);
    let told = said.iter().find_map(|said| match said {
        Said::Body(body) => Some(&body[..]),
        _ => None,
    });
    let trailers = said.iter().find_map(|said| match said {
        Said::Trailers(lines) => Some(lines.len()),
        _ => None,
    });
    let ended = said.contains(&Said::End);
    match chunks::read(body) {
        Read::Whole(data, lines, _) if ended => {
            assert_eq!(told.unwrap_or_default(), data);
            assert_eq!(trailers.unwrap_or_default(), lines.len());
        }
        // The slow reader knows nothing of what a trailer may be.
        Read::Whole(_, lines, _) => assert!(!lines.is_empty(), "refused: {said:?}"),
        Read::Short | Read::Bad => assert!(!ended, "accepted: {said:?}"),
    }
}
