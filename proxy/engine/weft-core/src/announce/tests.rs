//! Headers as the specification has them, and others.

use proptest::prelude::*;

use super::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    }
}

/// What a header in front of other bytes says. It must say nothing before its last byte, and no byte of it may matter twice.
fn said(header: &[u8]) -> Option<Ends> {
    for end in 0..header.len() {
        assert_eq!(
            parse(&header[..end]),
            Step::Need,
            "{end} bytes of {header:?}"
        );
    }
    let followed = [header, b"\r\nPROXY GET"].concat();
    assert_eq!(parse(header), parse(&followed), "{header:?}");
    match parse(header) {
        Step::Header(Header { length, ends }) => {
            assert_eq!(length, header.len(), "{header:?}");
            ends
        }
        other => panic!("{other:?}: {header:?}"),
    }
}

/// Version 2: command, family, and what follows its length.
fn bytes(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];

fn v6() -> Vec<u8> {
    let mut addresses = Vec::new();
    for address in ["2001:db8::9", "2001:db8::1"] {
        let address: Ipv6Addr = address.parse().expect("an address");
        addresses.extend_from_slice(&address.octets());
    }
    [&addresses[..], &V4[8..]].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("short").to_be_bytes();
    [&[kind][..], &length, value].concat()
}

#[test]
fn lines_say_who_called_and_what_was_asked_for() {
    let v4 = Some(ends("192.168.0.1:56324", "192.168.0.11:443"));
    assert_eq!(
        said(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
        v4
    );
    let widest = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
    let v4 = Some(ends("255.255.255.255:65535", "255.255.255.255:65535"));
    assert_eq!(said(widest.as_bytes()), v4);
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let line = format!("PROXY TCP6 {full} {full} 65535 65535\r\n");
    let v6 = format!("[{full}]:65535");
    assert_eq!(said(line.as_bytes()), Some(ends(&v6, &v6)));
    let v6 = Some(ends("[2001:db8::9]:0", "[::1]:1"));
    assert_eq!(said(b"PROXY TCP6 2001:DB8::9 ::1 0 1\r\n"), v6);
}

#[test]
fn a_line_that_knows_nothing_leaves_the_connections_own_ends() {
    for line in [
        "PROXY UNKNOWN\r\n".to_owned(),
        "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_owned(),
        "PROXY UNKNOWN whatever there is\r\n".to_owned(),
        // The longest there may be.
        format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16)),
    ] {
        assert_eq!(said(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn bytes_say_who_called_and_what_was_asked_for() {
    let v4 = Some(ends("203.0.113.9:56324", "10.0.0.1:443"));
    assert_eq!(said(&bytes(0x21, 0x11, &V4)), v4);
    assert_eq!(said(&bytes(0x21, 0x12, &V4)), v4);
    let six = Some(ends("[2001:db8::9]:56324", "[2001:db8::1]:443"));
    assert_eq!(said(&bytes(0x21, 0x21, &v6())), six);
    assert_eq!(said(&bytes(0x21, 0x22, &v6())), six);
}

#[test]
fn health_checks_of_a_balancer_and_ends_that_are_no_addresses_leave_the_connections_own() {
    for header in [
        bytes(0x20, 0x00, &[]),
        // Of a LOCAL connection the family and everything behind it are to be ignored.
        bytes(0x20, 0x11, &V4),
        bytes(0x20, 0xff, &[1, 2, 3]),
        bytes(0x21, 0x00, &[]),
        bytes(0x21, 0x00, &[9; 40]),
        bytes(0x21, 0x31, &[b'/'; 216]),
        bytes(0x21, 0x32, &[b'/'; 216]),
    ] {
        assert_eq!(said(&header), None, "{header:?}");
    }
}

#[test]
fn fields_are_passed_over_and_a_checksum_must_hold() {
    let v4 = Some(ends("203.0.113.9:56324", "10.0.0.1:443"));
    let vendor = [
        field(0x04, &[0; 9]),
        field(0x02, b"db.example.com"),
        field(0xea, &[1; 300]),
    ]
    .concat();
    assert_eq!(said(&bytes(0x21, 0x11, &[&V4[..], &vendor].concat())), v4);
    let blank = field(0x03, &[0; 4]);
    let mut header = bytes(0x21, 0x11, &[&V4[..], &blank, &vendor].concat());
    let place = 16 + 12 + 3;
    let sum = crc32c(&header, &(place..place + 4));
    header[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(said(&header), v4);
    header[16] ^= 1;
    assert_eq!(parse(&header), Step::Bad(Flaw::Checksum));
}

#[test]
fn the_checksum_is_castagnolis() {
    // RFC 3720 appendix B.4.
    let nothing = 0..0;
    assert_eq!(crc32c(b"123456789", &nothing), 0xe306_9283);
    assert_eq!(crc32c(&[0; 32], &nothing), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32], &nothing), 0x62a8_ab43);
    assert_eq!(crc32c(&[0xff; 32], &(0..32)), 0x8a91_36aa);
}

#[test]
fn everything_else_is_refused_by_name() {
    let line = |text: &str| (Flaw::Malformed, text.as_bytes().to_vec());
    let wrong = |command, family, rest: &[u8]| (Flaw::Malformed, bytes(command, family, rest));
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    let sum = field(0x03, &crc32c(&[], &(0..0)).to_be_bytes());
    let table = [
        (Flaw::Missing, b"GET / HTTP/1.1\r\n".to_vec()),
        (Flaw::Missing, b"PROXY\t".to_vec()),
        (Flaw::Missing, b"proxy TCP4 ".to_vec()),
        (Flaw::Missing, b"PROXX".to_vec()),
        (Flaw::Missing, b" PROXY TCP4 ".to_vec()),
        (Flaw::Missing, b"\r\n\r\n\0\r\nQUIT\r".to_vec()),
        (Flaw::Missing, b"\r\n\r\nPROXY".to_vec()),
        (Flaw::Missing, vec![22, 3, 1]),
        (Flaw::TooLarge, too_long.into_bytes()),
        (
            Flaw::TooLarge,
            format!("PROXY TCP4 {}", "1".repeat(107)).into_bytes(),
        ),
        line("PROXY \r\n"),
        line("PROXY TCP4\r\n"),
        line("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY UNKNOWNX\r\n"),
        line("PROXY unknown\r\n"),
        line("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4\r\n"),
        line("PROXY TCP4 1.2.3.4\r\n"),
        line("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"),
        line("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n"),
        line("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n"),
        line("PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY TCP4 ::1 ::1 1 2\r\n"),
        line("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
        line("PROXY TCP6 ::1 1.2.3.4 1 2\r\n"),
        line("PROXY TCP6 [::1] ::1 1 2\r\n"),
        line("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
        line("PROXY TCP6 1::2::3 ::1 1 2\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"),
        line("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n"),
        line("PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n"),
        line("PROXY UNKNOWN \u{fc}\r\n"),
        line("PROXY UNKNOWN \0\r\n"),
        line("PROXY UNKNOWN\n"),
        wrong(0x11, 0x11, &V4),
        wrong(0x31, 0x11, &V4),
        wrong(0x01, 0x11, &V4),
        wrong(0x22, 0x11, &V4),
        wrong(0x2f, 0x11, &V4),
        wrong(0x21, 0x01, &V4),
        wrong(0x21, 0x10, &V4),
        wrong(0x21, 0x13, &V4),
        wrong(0x21, 0x20, &v6()),
        wrong(0x21, 0x41, &V4),
        wrong(0x21, 0xff, &V4),
        wrong(0x21, 0x11, &[]),
        wrong(0x21, 0x11, &V4[..11]),
        wrong(0x21, 0x21, &V4),
        wrong(0x21, 0x21, &v6()[..35]),
        wrong(0x21, 0x31, &[0; 215]),
        wrong(0x21, 0x11, &[&V4[..], &[4]].concat()),
        wrong(0x21, 0x11, &[&V4[..], &[4, 0]].concat()),
        wrong(0x21, 0x11, &[&V4[..], &[4, 0, 2, 0]].concat()),
        wrong(0x21, 0x11, &[&V4[..], &[4, 0xff, 0xff, 0]].concat()),
        wrong(0x21, 0x11, &[&V4[..], &field(0x03, &[0; 3])].concat()),
        wrong(0x21, 0x11, &[&V4[..], &field(0x03, &[0; 5])].concat()),
        (Flaw::Checksum, bytes(0x21, 0x11, &[&V4[..], &sum].concat())),
        (Flaw::TooLarge, bytes(0x21, 0x11, &[0; MOST - 15])),
        (
            Flaw::TooLarge,
            [&SIGNATURE[..], &[0x20, 0, 0xff, 0xff]].concat(),
        ),
    ];
    assert!(table.len() >= 65);
    for (flaw, input) in table {
        assert_eq!(
            parse(&input),
            Step::Bad(flaw),
            "{:?}",
            String::from_utf8_lossy(&input)
        );
    }
}

#[test]
fn what_is_written_is_as_the_specification_has_it() {
    let v4 = ends("203.0.113.9:56324", "10.0.0.1:443");
    let line = encode(ProxyProtocol::V1, v4);
    assert_eq!(line, b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n");
    assert_eq!(encode(ProxyProtocol::V2, v4), bytes(0x21, 0x11, &V4));
    let six = ends("[2001:db8::9]:56324", "[2001:db8::1]:443");
    let line = encode(ProxyProtocol::V1, six);
    assert_eq!(line, b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n");
    assert_eq!(encode(ProxyProtocol::V2, six), bytes(0x21, 0x21, &v6()));
    let mapped = ends("[::ffff:203.0.113.9]:56324", "10.0.0.1:443");
    assert_eq!(encode(ProxyProtocol::V2, mapped), bytes(0x21, 0x11, &V4));
    let mixed = encode(ProxyProtocol::V1, ends("203.0.113.9:1", "[::1]:2"));
    assert_eq!(mixed, b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n");
}

fn some_ends() -> impl Strategy<Value = Ends> {
    let v4 = any::<([u8; 4], [u8; 4], u16, u16)>().prop_map(|(from, to, one, other)| Ends {
        source: (from, one).into(),
        destination: (to, other).into(),
    });
    // Not mapped ones: they would be read back as IPv4.
    let v6 = any::<([u16; 7], [u16; 7], u16, u16)>().prop_map(|(from, to, one, other)| {
        let address = |tail: [u16; 7]| {
            let [b, c, d, e, f, g, h] = tail;
            Ipv6Addr::new(0x2001, b, c, d, e, f, g, h)
        };
        Ends {
            source: (address(from), one).into(),
            destination: (address(to), other).into(),
        }
    });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(wanted in some_ends(), line in any::<bool>()) {
        let version = if line { ProxyProtocol::V1 } else { ProxyProtocol::V2 };
        prop_assert_eq!(said(&encode(version, wanted)), Some(wanted));
    }

    #[test]
    fn nothing_panics_and_nothing_is_waited_for_beyond_the_bound(
        start in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]), Just(&SIGNATURE[..])],
        rest in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        let input = [start, &rest].concat();
        let whole = parse(&input);
        prop_assert!(whole != Step::Need || input.len() < MOST);
        // What is decided stays decided, whatever follows.
        for end in 0..input.len().min(200) {
            match parse(&input[..end]) {
                Step::Need => {}
                decided => prop_assert_eq!(decided, whole),
            }
        }
    }
}
