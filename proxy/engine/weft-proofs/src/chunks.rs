//! A slow reader of chunked bodies, written from RFC 9112 section 7.1 and the engine's bounds, and not from the codec.

/// What a chunked body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It is whole: its data, its trailer lines, and how many bytes it took.
    Whole(Vec<u8>, Vec<Vec<u8>>, usize),
    /// It may become whole.
    Short,
    /// It never will be.
    Bad,
}

const LONGEST_EXTENSION: usize = 256;
const LONGEST_TRAILER: usize = 4 * 1024;
const MOST_TRAILERS: usize = 16 * 1024;

/// Reads one body from the start. Trailer lines are read as lines only.
pub(crate) fn read(input: &[u8]) -> Read {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = input[at..].iter().position(|byte| *byte == b'\n') else {
            return Read::Short;
        };
        let Some(size) = input[at..at + line].strip_suffix(b"\r").and_then(size) else {
            return Read::Bad;
        };
        at += line + 1;
        if size == 0 {
            return trailers(input, at, data);
        }
        let Ok(size) = usize::try_from(size) else {
            return Read::Short;
        };
        let Some(chunk) = input.get(at..at.saturating_add(size)) else {
            return Read::Short;
        };
        data.extend_from_slice(chunk);
        at += size;
        match input.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Read::Bad,
            None => return Read::Short,
        }
    }
}

fn size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let (digits, extension) = match text.split_once(';') {
        Some((digits, extension)) => (digits, Some(extension)),
        None => (text, None),
    };
    let good_digits =
        (1..=15).contains(&digits.len()) && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    let good_extension = extension.is_none_or(|extension| {
        extension.len() <= LONGEST_EXTENSION
            && extension.chars().all(|c| (' '..='~').contains(&c))
            && extension.chars().any(|c| c != ' ' && c != ';')
    });
    if !good_digits || !good_extension {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn trailers(input: &[u8], start: usize, data: Vec<u8>) -> Read {
    let mut lines = Vec::new();
    let mut at = start;
    loop {
        let Some(length) = input[at..].iter().position(|byte| *byte == b'\n') else {
            return Read::Short;
        };
        let Some(line) = input[at..at + length].strip_suffix(b"\r") else {
            return Read::Bad;
        };
        at += length + 1;
        if at - start > MOST_TRAILERS || line.len() > LONGEST_TRAILER {
            return Read::Bad;
        }
        if line.is_empty() {
            return Read::Whole(data, lines, at);
        }
        lines.push(line.to_vec());
    }
}
