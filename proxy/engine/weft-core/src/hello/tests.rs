//! Hellos byte by byte, good and bad, and whatever else may come instead.

use proptest::prelude::*;

use super::*;

/// A hello to be spoiled.
#[derive(Clone, Debug)]
struct Hello {
    version: u16,
    session: Vec<u8>,
    suites: Vec<u8>,
    compressions: Vec<u8>,
    extensions: Option<Vec<(u16, Vec<u8>)>>,
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("short").to_be_bytes()
}

fn within_short(bytes: &[u8]) -> Vec<u8> {
    [&short(bytes.len())[..], bytes].concat()
}

fn within_byte(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("a byte")][..], bytes].concat()
}

/// The extension that asks for these names, each of a type.
fn names(names: &[(u8, &[u8])]) -> (u16, Vec<u8>) {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &within_short(name)].concat())
        .collect();
    (0, within_short(&list))
}

fn name(name: &str) -> (u16, Vec<u8>) {
    names(&[(0, name.as_bytes())])
}

/// Like a browser's: a value of GREASE (RFC 8701) on both sides, an encrypted hello, key shares, versions.
fn browser(asked: &str) -> Hello {
    hello(vec![
        (0x5a5a, Vec::new()),
        name(asked),
        (0xfe0d, vec![0; 250]),
        (51, vec![7; 1200]),
        (43, vec![4, 3, 4, 3, 3]),
        (0xcaca, vec![0]),
        (21, vec![0; 100]),
    ])
}

fn hello(extensions: Vec<(u16, Vec<u8>)>) -> Hello {
    Hello {
        version: 0x0303,
        session: vec![9; 32],
        suites: vec![0x1a, 0x1a, 0x13, 0x01],
        compressions: vec![0],
        extensions: Some(extensions),
    }
}

impl Hello {
    fn body(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend_from_slice(&[5; 32]);
        body.extend(within_byte(&self.session));
        body.extend(within_short(&self.suites));
        body.extend(within_byte(&self.compressions));
        if let Some(extensions) = &self.extensions {
            let all: Vec<u8> = extensions
                .iter()
                .flat_map(|(kind, value)| [&kind.to_be_bytes()[..], &within_short(value)].concat())
                .collect();
            body.extend(within_short(&all));
        }
        body
    }

    fn records(&self, cut: usize) -> Vec<u8> {
        records(&message(1, &self.body()), cut)
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &within_short(payload)].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], cut: usize) -> Vec<u8> {
    message
        .chunks(cut)
        .flat_map(|part| record(22, part))
        .collect()
}

fn read(input: &[u8]) -> Step {
    Reader::default().feed(input)
}

/// Fed so many bytes more each time; what came of it, and after how many bytes.
fn read_in_steps(input: &[u8], steps: impl IntoIterator<Item = usize>) -> (Step, usize) {
    let mut reader = Reader::default();
    let mut end = 0;
    for step in steps {
        end = (end + step).min(input.len());
        match reader.feed(&input[..end]) {
            Step::Need => assert!(end < MOST, "asked for more than 16 KiB"),
            step => return (step, end),
        }
        if end == input.len() {
            break;
        }
    }
    (Step::Need, end)
}

fn asked(name: &str) -> Step {
    Step::ServerName(Some(name.into()))
}

#[test]
fn a_hello_says_whom_it_asks_for_in_however_many_records_it_comes() {
    let hello = browser("Shop.Example.com");
    for cut in [1, 2, 3, 4, 5, 37, 100, 1000, 16384] {
        assert_eq!(
            read(&hello.records(cut)),
            asked("shop.example.com"),
            "{cut}"
        );
    }
}

#[test]
fn a_hello_is_known_with_its_last_byte_and_not_before_wherever_it_is_split() {
    let input = browser("db.example.com").records(700);
    for end in 0..input.len() {
        assert_eq!(read(&input[..end]), Step::Need, "{end}");
        let mut reader = Reader::default();
        reader.feed(&input[..end]);
        assert_eq!(reader.feed(&input), asked("db.example.com"), "{end}");
    }
}

#[test]
fn without_a_name_there_is_none() {
    let mut old = hello(Vec::new());
    old.extensions = None;
    for hello in [
        old,
        hello(Vec::new()),
        hello(vec![(43, vec![2, 3, 4])]),
        hello(vec![name("192.0.2.7")]),
        hello(vec![name("2001:db8::1")]),
    ] {
        assert_eq!(read(&hello.records(9)), Step::ServerName(None), "{hello:?}");
    }
}

#[test]
fn what_follows_in_records_of_its_own_is_not_looked_at() {
    let mut input = browser("db.example.com").records(4096);
    for early in [record(20, &[1]), record(23, b"early data"), record(0, b"?")] {
        input.extend_from_slice(&early);
        assert_eq!(read(&input), asked("db.example.com"));
    }
}

#[test]
fn names_are_those_of_hosts() {
    let longest = format!(
        "{}.{}",
        ["a".repeat(63).as_str(); 3].join("."),
        "b".repeat(61)
    );
    for good in [
        "a",
        "xn--bcher-kva.example",
        "_under.score",
        "0.a",
        &longest,
    ] {
        assert_eq!(read(&hello(vec![name(good)]).records(99)), asked(good));
    }
    let too_long = format!("{longest}b");
    let label = "a".repeat(64);
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a/b",
        "a:443",
        "b\u{fc}cher.example",
        "a\0",
        "*.example.com",
        "[::1]",
        &too_long,
        &label,
    ] {
        let step = read(&hello(vec![name(bad)]).records(99));
        assert_eq!(step, Step::Bad(Flaw::ServerName), "{bad:?}");
    }
    let not_text = hello(vec![names(&[(0, b"\xff\xfe")])]);
    assert_eq!(read(&not_text.records(99)), Step::Bad(Flaw::ServerName));
}

#[test]
fn other_protocols_are_no_tls_from_their_first_byte() {
    for input in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0",
        b"SSH-2.0-x",
        b"PROXY TCP4 1.2.3.4",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03",
        b"\x16\x02\x00",
    ] {
        assert_eq!(read(input), Step::NotTls, "{input:?}");
        assert_eq!(read_in_steps(input, std::iter::repeat(1)).0, Step::NotTls);
    }
}

#[test]
fn every_other_fault_has_its_name() {
    let good = hello(vec![name("a.example"), (43, vec![2, 3, 4])]);
    let spoiled = |spoil: fn(&mut Hello)| {
        let mut hello = good.clone();
        spoil(&mut hello);
        hello.records(16384)
    };
    let body = |change: fn(&mut Vec<u8>)| {
        let mut body = good.body();
        change(&mut body);
        records(&message(1, &body), 16384)
    };
    let with = |extensions: Vec<(u16, Vec<u8>)>| hello(extensions).records(16384);
    let whole = message(1, &good.body());
    let table: Vec<(Flaw, Vec<u8>)> = vec![
        // Records.
        (Flaw::Record, record(22, &[])),
        (Flaw::Record, vec![22, 3, 1, 0x40, 0x01]),
        (Flaw::Record, vec![22, 3, 1, 0xff, 0xff]),
        (
            Flaw::Record,
            [record(22, &whole[..50]), record(22, &[])].concat(),
        ),
        (
            Flaw::Record,
            [record(22, &whole[..50]), record(21, &[2, 40])].concat(),
        ),
        (
            Flaw::Record,
            [record(22, &whole[..50]), record(23, &whole[50..])].concat(),
        ),
        (
            Flaw::Record,
            [record(22, &whole[..50]), vec![22, 2, 1]].concat(),
        ),
        (Flaw::Surplus, record(22, &[&whole[..], &[0]].concat())),
        (
            Flaw::Surplus,
            record(22, &[&whole[..], &whole[..]].concat()),
        ),
        (
            Flaw::Surplus,
            [
                record(22, &whole[..50]),
                record(22, &[&whole[50..], &[1]].concat()),
            ]
            .concat(),
        ),
        // Messages.
        (Flaw::NotAHello, records(&message(2, &good.body()), 16384)),
        (Flaw::NotAHello, records(&message(0, &[]), 16384)),
        (Flaw::NotAHello, vec![22, 3, 1, 0, 4, 20]),
        (Flaw::TooLarge, vec![22, 3, 1, 0, 4, 1, 1, 0, 0]),
        (Flaw::TooLarge, vec![22, 3, 1, 0, 4, 1, 0, 0x40, 0x00]),
        (Flaw::TooLarge, vec![22, 3, 1, 0x40, 0x00]),
        (Flaw::Length, records(&message(1, &[]), 16384)),
        (
            Flaw::Length,
            records(&message(1, &good.body()[..34]), 16384),
        ),
        (Flaw::Length, spoiled(|hello| hello.version = 0x0203)),
        (Flaw::Length, spoiled(|hello| hello.version = 0x0403)),
        (Flaw::Length, spoiled(|hello| hello.session = vec![0; 33])),
        (Flaw::Length, spoiled(|hello| hello.suites = Vec::new())),
        (Flaw::Length, spoiled(|hello| hello.suites = vec![0x13])),
        (
            Flaw::Length,
            spoiled(|hello| hello.suites = vec![0x13, 1, 2]),
        ),
        (
            Flaw::Length,
            spoiled(|hello| hello.compressions = Vec::new()),
        ),
        (Flaw::Length, body(|body| body.push(0))),
        (Flaw::Length, body(|body| body.truncate(body.len() - 1))),
        (Flaw::Length, body(|body| body.truncate(body.len() - 7))),
        // Extensions.
        (Flaw::Length, with(vec![(0, Vec::new())])),
        (Flaw::Length, with(vec![(0, vec![0])])),
        (Flaw::Length, with(vec![(0, vec![0, 0])])),
        (Flaw::Length, with(vec![(0, vec![0, 1, 0])])),
        (Flaw::Length, with(vec![(0, vec![0, 4, 0, 0, 2, b'a'])])),
        (Flaw::Length, with(vec![(0, vec![0, 3, 0, 0, 1, b'a'])])),
        (
            Flaw::Length,
            with(vec![(0, vec![0, 4, 0, 0, 1, b'a', b'b'])]),
        ),
        (Flaw::ServerName, with(vec![names(&[(1, b"a.example")])])),
        (
            Flaw::ServerName,
            with(vec![names(&[(0, b"a.example"), (0, b"b.example")])]),
        ),
        (
            Flaw::ServerName,
            with(vec![names(&[(0, b"a.example"), (1, b"b.example")])]),
        ),
        (
            Flaw::Extension,
            with(vec![name("a.example"), name("b.example")]),
        ),
        (
            Flaw::Extension,
            with(vec![name("a.example"), name("a.example")]),
        ),
        (
            Flaw::Extension,
            with(vec![(43, vec![2, 3, 4]), name("a"), (43, vec![2, 3, 4])]),
        ),
        (
            Flaw::Extension,
            with(vec![(0x0a0a, vec![]), name("a"), (0x0a0a, vec![])]),
        ),
        (
            Flaw::Extension,
            with(vec![(41, vec![0; 40]), name("a.example")]),
        ),
    ];
    for (flaw, input) in table {
        assert_eq!(read(&input), Step::Bad(flaw), "{input:?}");
        let slowly = read_in_steps(&input, std::iter::repeat(1));
        assert_eq!(slowly.0, Step::Bad(flaw), "byte by byte: {input:?}");
    }
    assert_eq!(
        read(&with(vec![name("a.example"), (41, vec![0; 40])])),
        asked("a.example")
    );
}

#[test]
fn nothing_longer_than_16_kib_is_waited_for() {
    let padded = |padding: usize| hello(vec![name("a.example"), (21, vec![0; padding])]);
    let empty = padded(0).records(4096).len();
    // In records of 4 KiB a hello of this length has four headers.
    let most = MOST - empty - 3 * RECORD_HEADER;
    let fits = padded(most).records(4096);
    assert_eq!((fits.len(), read(&fits)), (MOST, asked("a.example")));
    let over = padded(most + 1).records(4096);
    let (step, after) = read_in_steps(&over, std::iter::repeat(1));
    assert_eq!(step, Step::Bad(Flaw::TooLarge));
    assert!(after < MOST, "known before it is there: {after}");
    // One byte to a record: the headers alone are too much.
    let tiny = padded(3000).records(1);
    assert_eq!(
        read_in_steps(&tiny, std::iter::repeat(1)).0,
        Step::Bad(Flaw::TooLarge)
    );
    assert_eq!(read(&tiny), Step::Bad(Flaw::TooLarge));
}

fn some_hello() -> impl Strategy<Value = Vec<u8>> {
    let extension = (0_u16..60, prop::collection::vec(any::<u8>(), 0..40));
    let asked = prop::option::of("[a-zA-Z0-9.-]{0,20}");
    (prop::collection::vec(extension, 0..6), asked, 1_usize..400).prop_map(
        |(mut all, asked, cut)| {
            if let Some(asked) = asked {
                all.retain(|(kind, _)| *kind != 0);
                all.insert(all.len() / 2, name(&asked));
            }
            hello(all).records(cut)
        },
    )
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_is_waited_for_beyond_16_kib(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        read_in_steps(&input, std::iter::repeat(1));
        let framed = record(22, &message(1, &input));
        prop_assert!(!matches!(read(&framed), Step::Need));
        read(&records(&input.iter().copied().chain([0]).collect::<Vec<_>>(), 7));
    }

    #[test]
    fn however_it_is_split_the_same_comes_of_it(
        mut input in some_hello(),
        spoil in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        steps in prop::collection::vec(1_usize..50, 1..200),
    ) {
        if let Some((place, byte)) = spoil {
            let place = place.index(input.len());
            input[place] = byte;
        }
        let at_once = read(&input);
        let slowly = read_in_steps(&input, std::iter::repeat(1)).0;
        let in_steps = read_in_steps(&input, steps.into_iter().chain(std::iter::repeat(50))).0;
        prop_assert_eq!(&at_once, &slowly);
        prop_assert_eq!(&at_once, &in_steps);
    }
}
