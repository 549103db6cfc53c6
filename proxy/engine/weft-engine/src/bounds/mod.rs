//! What a peer may use up: every bound of a connection in one place, changed in the engine's file.
//!
//! They hold for the whole process and from its start, because they protect it from what it does not know yet; what a service
//! allows its callers stands in its own section. A value outside its range is refused at start, with the range.

mod amount;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use weft_http1::Limits;

pub(crate) use self::amount::{Length, Size};
use crate::observe::Direction;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// `[bounds]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bounds {
    /// Connections that one listener has open; those beyond wait to be accepted.
    pub(crate) connections: usize,
    /// TLS handshakes with clients under way in one worker; those beyond wait.
    pub(crate) handshakes: usize,
    /// A handshake takes no longer.
    pub(crate) handshake_timeout: Length,
    /// The head of a request: its line and fields.
    pub(crate) header_bytes: Size,
    /// The fields of a request, each crumb of a cookie counted.
    pub(crate) header_count: usize,
    /// From the first byte of a head to its last.
    pub(crate) header_timeout: Length,
    /// The head of a response.
    pub(crate) response_header_bytes: Size,
    /// How long a client of the world may be silent between requests.
    pub(crate) idle_timeout: Length,
    /// No connection to an upstream takes requests for longer, so that balancing reaches those that never pause.
    pub(crate) max_age: Length,
    /// `[bounds.http2]`
    pub(crate) http2: Http2,
}

/// Bounds of connections that carry many streams.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http2 {
    /// Streams that a peer may have open at once.
    pub(crate) max_concurrent_streams: u32,
    /// What a stream may send before it is credited.
    pub(crate) stream_window: Size,
    /// What all streams of a client may. A connection that many callers share has room for all windows of its streams.
    pub(crate) connection_window: Size,
    /// Heads of requests under way on one connection, each line counted as RFC 9113 section 6.5.2 does.
    pub(crate) headers_in_flight: Size,
    /// Streams reset in a second, by a client or for what it did.
    pub(crate) resets_per_second: u32,
    /// PING, SETTINGS, PRIORITY, GOAWAY and unknown frames in a second, and window updates that nothing was sent for.
    pub(crate) control_frames_per_second: u32,
    /// DATA, HEADERS and CONTINUATION in a second that bring nothing.
    pub(crate) empty_frames_per_second: u32,
    /// DATA in a second that brings less than the smallest message of gRPC has.
    pub(crate) small_frames_per_second: u32,
    /// CONTINUATION frames of one header block.
    pub(crate) continuation_frames: u32,
    /// How often a peer engine is asked for a sign of life while something is under way.
    pub(crate) ping_interval: Length,
    /// How long it may take to give one.
    pub(crate) ping_timeout: Length,
}

/// A peer engine carries what many clients do: it may reset and control so many times more.
const PEER_FACTOR: u32 = 10;

/// What a peer engine adds to the head of its client.
const PEER_HEADER_BYTES: usize = 8 * 1024;

// === impl Bounds ===

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 16_384,
            handshakes: 512,
            handshake_timeout: Length::seconds(5),
            header_bytes: Size(16 * KIB),
            header_count: 100,
            header_timeout: Length::seconds(10),
            response_header_bytes: Size(64 * KIB),
            idle_timeout: Length::seconds(75),
            max_age: Length::seconds(3600),
            http2: Http2::default(),
        }
    }
}

impl Bounds {
    /// Whether everything is in its range; the error names the key, what it is and what it may be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let counts = [
            ("connections", self.connections, 1..=1_000_000),
            ("handshakes", self.handshakes, 1..=100_000),
            ("header_count", self.header_count, 8..=100),
        ];
        for (key, count, range) in counts {
            count_within(&format!("bounds.{key}"), count as u64, range)?;
        }
        let sizes = [
            ("header_bytes", self.header_bytes, 1024..=256 * KIB),
            (
                "response_header_bytes",
                self.response_header_bytes,
                1024..=MIB,
            ),
        ];
        for (key, size, range) in sizes {
            size_within(&format!("bounds.{key}"), size, range)?;
        }
        let lengths = [
            ("handshake_timeout", self.handshake_timeout, 100..=60_000),
            ("header_timeout", self.header_timeout, 100..=600_000),
            ("idle_timeout", self.idle_timeout, 100..=86_400_000),
            ("max_age", self.max_age, 1_000..=604_800_000),
        ];
        for (key, length, range) in lengths {
            length_within(&format!("bounds.{key}"), length, range)?;
        }
        self.http2.check()
    }

    /// What the head of a client's request may be.
    pub(crate) fn request(&self, direction: Direction) -> Limits {
        let client = Limits {
            head: self.header_bytes.bytes(),
            fields: self.header_count,
            ..Limits::REQUEST
        };
        match direction {
            Direction::Outbound | Direction::Gateway => client,
            Direction::Inbound => Limits {
                head: client.head + PEER_HEADER_BYTES,
                fields: client.fields + (Limits::MESH.fields - Limits::REQUEST.fields),
                ..client
            },
        }
    }

    /// What the head of a response may be; a peer engine adds to what its application said.
    pub(crate) fn response(&self, peer: bool) -> Limits {
        let application = Limits {
            head: self.response_header_bytes.bytes(),
            fields: self.header_count,
            ..Limits::RESPONSE
        };
        if !peer {
            return application;
        }
        Limits {
            head: application.head + PEER_HEADER_BYTES,
            fields: application.fields + (Limits::MESH.fields - Limits::REQUEST.fields),
            ..application
        }
    }
}

// === impl Http2 ===

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 100,
            stream_window: Size(256 * KIB),
            connection_window: Size(MIB),
            headers_in_flight: Size(512 * KIB),
            resets_per_second: 200,
            control_frames_per_second: 200,
            empty_frames_per_second: 100,
            small_frames_per_second: 500,
            continuation_frames: 16,
            ping_interval: Length::seconds(10),
            ping_timeout: Length::seconds(3),
        }
    }
}

impl Http2 {
    fn check(&self) -> Result<(), String> {
        let counts = [
            (
                "max_concurrent_streams",
                self.max_concurrent_streams,
                1..=1_000,
            ),
            ("resets_per_second", self.resets_per_second, 1..=100_000),
            (
                "control_frames_per_second",
                self.control_frames_per_second,
                8..=100_000,
            ),
            (
                "empty_frames_per_second",
                self.empty_frames_per_second,
                1..=100_000,
            ),
            (
                "small_frames_per_second",
                self.small_frames_per_second,
                1..=1_000_000,
            ),
            ("continuation_frames", self.continuation_frames, 1..=1_000),
        ];
        for (key, count, range) in counts {
            count_within(&format!("bounds.http2.{key}"), count.into(), range)?;
        }
        let sizes = [
            // Less than what RFC 9113 section 6.9.2 begins with cannot be asked for of a connection.
            ("stream_window", self.stream_window, 16 * KIB..=16 * MIB),
            (
                "connection_window",
                self.connection_window,
                64 * KIB..=1024 * MIB,
            ),
            ("headers_in_flight", self.headers_in_flight, 1024..=64 * MIB),
        ];
        for (key, size, range) in sizes {
            size_within(&format!("bounds.http2.{key}"), size, range)?;
        }
        let lengths = [
            ("ping_interval", self.ping_interval, 100..=3_600_000),
            ("ping_timeout", self.ping_timeout, 100..=60_000),
        ];
        for (key, length, range) in lengths {
            length_within(&format!("bounds.http2.{key}"), length, range)?;
        }
        Ok(())
    }

    /// The window of a connection that many share, towards services and from peer engines: as large as those of all its
    /// streams, so that readers who stopped never keep the others waiting.
    pub(crate) fn shared_window(&self) -> u32 {
        const MOST: u64 = (1 << 31) - 1;
        let all = self.stream_window.0 * u64::from(self.max_concurrent_streams);
        u32::try_from(all.clamp(64 * KIB, MOST)).unwrap_or(u32::MAX >> 1)
    }

    /// How many times more than a client somebody may do of what is counted.
    pub(crate) const fn factor(direction: Direction) -> u32 {
        match direction {
            Direction::Outbound | Direction::Gateway => 1,
            Direction::Inbound => PEER_FACTOR,
        }
    }
}

fn count_within(key: &str, count: u64, range: RangeInclusive<u64>) -> Result<(), String> {
    if range.contains(&count) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(format!("{key} = {count}: expected {least} to {most}"))
}

fn size_within(key: &str, size: Size, range: RangeInclusive<u64>) -> Result<(), String> {
    if range.contains(&size.0) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    let (least, most) = (Size(least), Size(most));
    Err(format!("{key} = \"{size}\": expected {least} to {most}"))
}

fn length_within(key: &str, length: Length, range: RangeInclusive<u64>) -> Result<(), String> {
    let (least, most) = range.into_inner();
    let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
    if (least..=most).contains(&length.0) {
        return Ok(());
    }
    let (least, most) = (Length(least), Length(most));
    Err(format!("{key} = \"{length}\": expected {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Bounds, String> {
        let bounds: Bounds = toml::from_str(text).map_err(|error| error.to_string())?;
        bounds.check().map(|()| bounds)
    }

    #[test]
    fn the_defaults_are_in_their_ranges() {
        Bounds::default().check().expect("good");
    }

    #[test]
    fn sizes_and_lengths_are_numbers_with_a_unit() {
        let bounds = parse(
            "header_bytes = \"8KiB\"\nheader_timeout = \"1500ms\"\n[http2]\nstream_window = 65536\n",
        );
        let bounds = bounds.expect("good");
        assert_eq!(bounds.header_bytes, Size(8192));
        assert_eq!(bounds.header_timeout, Length(Duration::from_millis(1500)));
        assert_eq!(bounds.http2.stream_window, Size(65536));
    }

    #[test]
    fn what_is_out_of_its_range_is_told_with_the_range() {
        for (text, expected) in [
            (
                "connections = 0",
                "bounds.connections = 0: expected 1 to 1000000",
            ),
            (
                "header_count = 101",
                "bounds.header_count = 101: expected 8 to 100",
            ),
            (
                "header_bytes = \"1MiB\"",
                "bounds.header_bytes = \"1MiB\": expected 1KiB to 256KiB",
            ),
            (
                "header_timeout = \"1ms\"",
                "bounds.header_timeout = \"1ms\": expected 100ms to 10m",
            ),
            (
                "[http2]\nmax_concurrent_streams = 0",
                "bounds.http2.max_concurrent_streams = 0: expected 1 to 1000",
            ),
            (
                "[http2]\nping_timeout = \"2m\"",
                "bounds.http2.ping_timeout = \"2m\": expected 100ms to 1m",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text), expected);
        }
        for text in [
            "header_timeout = 10",
            "header_bytes = \"16 kilo\"",
            "speed = 1",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn a_shared_connection_has_room_for_all_windows_of_its_streams() {
        let mut http2 = Http2::default();
        assert_eq!(http2.shared_window(), 100 * 256 * 1024);
        http2.max_concurrent_streams = 1_000;
        http2.stream_window = Size(16 * MIB);
        assert_eq!(http2.shared_window(), (1 << 31) - 1);
    }
}
