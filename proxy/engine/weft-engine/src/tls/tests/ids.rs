//! Names: who may be a peer at all, and which text is a SPIFFE ID.

use rcgen::{CustomExtension, DnType, SanType};

use super::mill::{Authority, dns, uri};
use super::{API, Row, hold, trust};
use crate::tls::TlsReason::{
    self, BadCertificate, NoSpiffeId, NotAService, WrongService, WrongTrustDomain,
};

/// Object identifier of the subject alternative name.
const SAN: [u64; 4] = [2, 5, 29, 17];

#[test]
fn services_and_gateways_call_and_only_the_service_that_was_asked_for_is_called() {
    let root = Authority::root("mesh");
    let most = "a".repeat(63);
    let longest = format!("spiffe://test.weft/ns/{most}/dc/{most}/svc/{most}");
    let rows = [
        (API, Ok(())),
        (
            "spiffe://test.weft/ns/shop/dc/local/svc/web",
            Err(WrongService),
        ),
        (
            "spiffe://test.weft/ns/shop/dc/local/svc/api2",
            Err(WrongService),
        ),
        (
            "spiffe://test.weft/ns/shop/dc/local/svc/ap",
            Err(WrongService),
        ),
        (
            "spiffe://test.weft/ns/bank/dc/local/svc/api",
            Err(WrongService),
        ),
        (
            "spiffe://test.weft/ns/shop/dc/far/svc/api",
            Err(WrongService),
        ),
        (
            "spiffe://test.weft/ns/mesh/dc/local/svc/api",
            Err(WrongService),
        ),
        (
            "spiffe://test.weft/ns/api/dc/local/svc/shop",
            Err(WrongService),
        ),
        (longest.as_str(), Err(WrongService)),
        (
            "spiffe://test.weft/ns/mesh/dc/local/gateway/edge",
            Err(NotAService),
        ),
        (
            "spiffe://test.weft/ns/mesh/dc/far/gateway/edge",
            Err(NotAService),
        ),
        (
            "spiffe://test.weft/ns/mesh/dc/local/gateway/api",
            Err(NotAService),
        ),
    ];
    let row = |(id, called): (&str, _)| Row {
        what: id.to_owned(),
        chain: root.with(id, |_| ()),
        caller: Ok(()),
        called,
    };
    hold(&trust(&root, &[]), rows.map(row).into(), 12);
}

#[test]
fn identities_of_another_kind_are_nobody_in_traffic() {
    let root = Authority::root("mesh");
    let too_long_a_label = format!("spiffe://test.weft/ns/shop/dc/local/svc/{}", "a".repeat(64));
    let longest = format!("{:a<2048}", "spiffe://test.weft/x");
    let rows = [
        "spiffe://test.weft/host/vm-1",
        "spiffe://test.weft/host/api",
        "spiffe://test.weft/controller/ctl-1",
        "spiffe://test.weft",
        "spiffe://test.weft/api",
        "spiffe://test.weft/host/vm-1/extra",
        "spiffe://test.weft/controller",
        "spiffe://test.weft/ns/shop/svc/api",
        "spiffe://test.weft/ns/shop/dc/local/svc",
        "spiffe://test.weft/ns/shop/dc/local/svc/api/extra",
        "spiffe://test.weft/x/ns/shop/dc/local/svc/api",
        "spiffe://test.weft/ns/shop/dc/local/job/api",
        "spiffe://test.weft/ns/shop/dc/local/gateway/api",
        "spiffe://test.weft/ns/shop/dc/local/svc/Api",
        "spiffe://test.weft/ns/shop/dc/local/svc/api_1",
        "spiffe://test.weft/ns/shop/dc/local/svc/api.1",
        "spiffe://test.weft/ns/shop/dc/local/svc/-api",
        "spiffe://test.weft/NS/shop/dc/local/svc/api",
        "spiffe://test.weft/dc/local/ns/shop/svc/api",
        "spiffe://test.weft/ns/mesh/dc/local/gateway/Edge",
        &too_long_a_label,
        &longest,
    ];
    let row = |id: &str| Row::both(id, root.with(id, |_| ()), Err(NotAService));
    hold(&trust(&root, &[]), rows.map(row).into(), 22);
}

#[test]
fn identities_of_other_trust_domains_are_strangers_whoever_signed_them() {
    let (root, other) = (Authority::root("mesh"), Authority::root("other"));
    let ids = [
        "spiffe://elsewhere/ns/shop/dc/local/svc/api",
        "spiffe://test.weft.evil/ns/shop/dc/local/svc/api",
        "spiffe://eviltest.weft/ns/shop/dc/local/svc/api",
        "spiffe://test/ns/shop/dc/local/svc/api",
        "spiffe://test.weft_/ns/shop/dc/local/svc/api",
        "spiffe://elsewhere/host/vm-1",
    ];
    let row = |authority: &Authority, id: &str| {
        Row::both(id, authority.with(id, |_| ()), Err(WrongTrustDomain))
    };
    let rows = ids.iter().flat_map(|id| [row(&root, id), row(&other, id)]);
    hold(&trust(&root, &[]), rows.collect(), 12);
}

#[test]
fn text_that_is_no_spiffe_id_names_nobody() {
    let root = Authority::root("mesh");
    let too_long = format!("{:a<2049}", "spiffe://test.weft/x");
    let long_domain = format!("spiffe://{}/ns/shop/dc/local/svc/api", "a".repeat(256));
    let rows = [
        "spiffe://test.weft/ns/shop/dc/local/svc/%61pi",
        "spiffe://test.weft/ns/shop/dc/local/svc%2fapi",
        "spiffe://test%2eweft/ns/shop/dc/local/svc/api",
        "spiffe://Test.weft/ns/shop/dc/local/svc/api",
        "spiffe://test.weft/ns//shop/dc/local/svc/api",
        "spiffe://test.weft//ns/shop/dc/local/svc/api",
        "spiffe://test.weft/ns/shop/dc/local/svc/api/",
        "spiffe://test.weft/",
        "spiffe://test.weft/ns/./shop/dc/local/svc/api",
        "spiffe://test.weft/ns/shop/dc/local/svc/x/../api",
        "spiffe://test.weft/ns/shop/dc/local/svc/api?x=1",
        "spiffe://test.weft/ns/shop/dc/local/svc/api?",
        "spiffe://test.weft/ns/shop/dc/local/svc/api#x",
        "spiffe://test.weft:443/ns/shop/dc/local/svc/api",
        "spiffe://api@test.weft/ns/shop/dc/local/svc/api",
        "spiffe://[::1]/ns/shop/dc/local/svc/api",
        "spiffe:///ns/shop/dc/local/svc/api",
        "spiffe://",
        "spiffe:/test.weft/ns/shop/dc/local/svc/api",
        "SPIFFE://test.weft/ns/shop/dc/local/svc/api",
        "https://test.weft/ns/shop/dc/local/svc/api",
        "test.weft/ns/shop/dc/local/svc/api",
        "",
        " spiffe://test.weft/ns/shop/dc/local/svc/api",
        "spiffe://test.weft/ns/shop/dc/local/svc/api ",
        "spiffe://test.weft/ns/shop/dc/local/svc/api\n",
        "spiffe://test.weft/ns/shop/dc/local/svc/a\0pi",
        "spiffe://test.weft/ns/shop/dc/local/svc/*",
        "spiffe://test.weft/ns/shop/dc/local/svc/a:b",
        "spiffe://test.weft\\ns/shop/dc/local/svc/api",
        "spiffe://spiffe://test.weft/ns/shop/dc/local/svc/api",
        &too_long,
        &long_domain,
    ];
    let row = |id: &str| Row::both(id, root.with(id, |_| ()), Err(NoSpiffeId));
    hold(&trust(&root, &[]), rows.map(row).into(), 33);
}

#[test]
fn a_certificate_names_exactly_one_uri_and_nothing_stands_in_for_it() {
    let root = Authority::root("mesh");
    let web = "spiffe://test.weft/ns/shop/dc/local/svc/web";
    let address = SanType::IpAddress([127, 0, 0, 1].into());
    let mail = SanType::Rfc822Name("api@test.weft".try_into().expect("ASCII"));
    let names: [(&str, Vec<SanType>, Result<(), TlsReason>); 11] = [
        ("one", vec![uri(API)], Ok(())),
        (
            "one among other kinds",
            vec![mail.clone(), dns("api"), uri(API), address.clone()],
            Ok(()),
        ),
        ("two", vec![uri(API), uri(web)], Err(NoSpiffeId)),
        (
            "two the other way round",
            vec![uri(web), uri(API)],
            Err(NoSpiffeId),
        ),
        ("the same twice", vec![uri(API), uri(API)], Err(NoSpiffeId)),
        (
            "and a web address",
            vec![uri(API), uri("https://api.test")],
            Err(NoSpiffeId),
        ),
        ("none", vec![], Err(NoSpiffeId)),
        (
            "a host name",
            vec![dns("api-1.api.shop.test.weft")],
            Err(NoSpiffeId),
        ),
        (
            "an identity as a host name",
            vec![dns("spiffe")],
            Err(NoSpiffeId),
        ),
        ("a mail address", vec![mail], Err(NoSpiffeId)),
        ("an address", vec![address], Err(NoSpiffeId)),
    ];
    let mut rows: Vec<Row> = names
        .into_iter()
        .map(|(what, names, said)| {
            let chain = root.with(API, |params| params.subject_alt_names = names);
            Row::both(what, chain, said)
        })
        .collect();
    let only_common_name = root.with(API, |params| {
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, API);
    });
    rows.push(Row::both(
        "only a common name",
        only_common_name,
        Err(NoSpiffeId),
    ));
    let misleading = root.with(API, |params| {
        params.distinguished_name.push(DnType::CommonName, web);
    });
    rows.push(Row::both(
        "a common name that says otherwise",
        misleading,
        Ok(()),
    ));
    let twice = root.with(API, |params| {
        params.custom_extensions.push(raw(web.as_bytes()));
    });
    rows.push(Row::both(
        "two extensions of names",
        twice,
        Err(BadCertificate),
    ));
    let foreign = root.with(API, |params| {
        params.subject_alt_names.clear();
        params.custom_extensions.push(raw(
            "spiffe://test.weft/ns/shop/dc/local/svc/\u{e4}pi".as_bytes()
        ));
    });
    rows.push(Row::both("letters beyond ASCII", foreign, Err(NoSpiffeId)));
    let broken = root.with(API, |params| {
        params.subject_alt_names.clear();
        params
            .custom_extensions
            .push(raw(b"spiffe://test.weft/ns/shop/dc/local/svc/\xff\xfe"));
    });
    rows.push(Row::both(
        "bytes that are no text",
        broken,
        Err(BadCertificate),
    ));
    hold(&trust(&root, &[]), rows, 16);
}

/// A name of that many bytes (under 126), whatever they are.
fn raw(name: &[u8]) -> CustomExtension {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
    let name = [&[0x86, length(name)], name].concat();
    CustomExtension::from_oid_content(&SAN, [&[0x30, length(&name)], &name[..]].concat())
}
