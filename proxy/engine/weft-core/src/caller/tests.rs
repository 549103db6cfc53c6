use super::*;

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("a SPIFFE ID")
}

#[test]
fn identities_are_of_the_kind_their_path_says() {
    let web = id("spiffe://corp/ns/shop/dc/ams1/svc/web");
    assert_eq!(web, local().service("shop/web").expect("an identity"));
    assert_eq!(web.trust_domain(), "corp");
    assert_eq!(web.label(), "shop/web");
    assert_eq!(
        id("spiffe://corp/ns/mesh/dc/ams1/gateway/edge").label(),
        "gateway:edge"
    );
    assert_eq!(
        *id("spiffe://corp/host/vm-1").kind(),
        Kind::Host("vm-1".into())
    );
    assert_eq!(
        *id("spiffe://corp/controller/vm-1").kind(),
        Kind::Controller("vm-1".into())
    );
    for other in [
        "spiffe://corp",
        "spiffe://corp/ns/shop/svc/web",
        "spiffe://corp/ns/shop/dc/ams1/gateway/edge",
    ] {
        assert_eq!(*id(other).kind(), Kind::Other, "{other}");
    }
}

#[test]
fn what_is_no_spiffe_id_is_refused() {
    for text in [
        "",
        "corp/ns",
        "https://corp/x",
        "SPIFFE://corp/x",
        "spiffe:///x",
        "spiffe://Corp/x",
        "spiffe://corp:80/x",
        "spiffe://user@corp/x",
        "spiffe://corp/",
        "spiffe://corp/a//b",
        "spiffe://corp/a/../b",
        "spiffe://corp/./b",
        "spiffe://corp/a%20b",
        "spiffe://corp/a?b",
        "spiffe://corp/a#b",
    ] {
        assert!(SpiffeId::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_pattern_matches_its_callers_and_no_others() {
    let web = "spiffe://corp/ns/shop/dc/ams1/svc/web";
    let edge = "spiffe://corp/ns/mesh/dc/ams1/gateway/edge";
    for (pattern, caller, expected) in [
        ("*", web, true),
        ("*", "spiffe://other/x", true),
        ("shop/*", web, true),
        ("sho/*", web, false),
        ("shop/web", web, true),
        ("shop/we", web, false),
        ("shop/web", "spiffe://other/ns/shop/dc/ams1/svc/web", false),
        ("shop/web", "spiffe://corp/ns/shop/dc/fra1/svc/web", false),
        ("shop/web", "spiffe://corp/host/web", false),
        ("mesh/*", edge, false),
        ("gateway:edge", edge, true),
        ("gateway:edge", web, false),
        (
            "spiffe://corp/ns/shop/dc/fra1/svc/web",
            "spiffe://corp/ns/shop/dc/fra1/svc/web",
            true,
        ),
        ("spiffe://corp/ns/shop", web, false),
    ] {
        let callers = Callers::new(&[pattern.to_owned()], &local());
        assert_eq!(
            callers.matches(Some(&id(caller))),
            expected,
            "{pattern} {caller}"
        );
    }
}

#[test]
fn nobody_is_anybody_but_never_somebody() {
    let matches = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        Callers::new(&patterns, &local()).matches(None)
    };
    assert!(matches(&[]) && matches(&["*"]) && !matches(&["shop/*", "gateway:edge", "shop/web"]));
}
