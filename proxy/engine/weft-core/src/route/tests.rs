//! Tables, and the index against looking at every rule.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_model::section::{Action, Match, PathMatch, Retry, Route, ValueMatch};

use super::*;
use crate::caller::local;

impl Fields for BTreeMap<String, String> {
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.get(name).map(|value| Cow::Borrowed(value.as_bytes()))
    }
}

fn route(rank: u32, hosts: &[&str], matches: Vec<Match>) -> Route {
    Route {
        name: format!("test/{rank}"),
        rank,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        matches,
        action: Action::Respond {
            code: 200,
            body: String::new(),
        },
        timeout_ms: 1,
        retry: Retry {
            max: 0,
            undelivered: false,
            reset: false,
            statuses: vec![],
            grpc_statuses: vec![],
            methods: vec![],
            per_try_timeout_ms: 0,
            backoff_base_ms: 0,
            backoff_max_ms: 0,
        },
        request_headers: Default::default(),
        response_headers: Default::default(),
        allow_encoded_slash: false,
    }
}

fn path(path: PathMatch) -> Match {
    Match {
        path: Some(path),
        ..Match::default()
    }
}

fn prefix(text: &str) -> Match {
    path(PathMatch::Prefix(text.to_owned()))
}

fn choose(
    routes: &[Route],
    host: &str,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> Option<Chosen> {
    let fields: BTreeMap<String, String> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let table = Routes::new(routes, &local()).expect("routes");
    table.choose(
        Request {
            host,
            method,
            path,
            caller: None,
        },
        &fields,
    )
}

#[test]
fn the_path_decides_before_everything_but_the_host() {
    let exact = path(PathMatch::Exact("/a/b".to_owned()));
    let regex = path(PathMatch::Regex("/a/.*".to_owned()));
    let busy = Match {
        methods: vec!["GET".to_owned()],
        ..prefix("/a")
    };
    let routes = [
        route(0, &[], vec![regex]),
        route(1, &[], vec![busy]),
        route(2, &[], vec![prefix("/a/c/")]),
        route(3, &[], vec![exact]),
        route(4, &[], vec![]),
    ];
    for (path, expected) in [
        ("/a/b", 3),
        ("/a/c", 2),
        ("/a/c/d", 2),
        ("/a/cd", 1),
        ("/a", 1),
        ("/b", 4),
        ("/ab", 4),
    ] {
        assert_eq!(
            choose(&routes, "", "GET", path, &[]).map(|chosen| chosen.route),
            Some(expected),
            "{path}"
        );
    }
    assert_eq!(
        choose(&routes, "", "POST", "/a/x", &[]).map(|chosen| chosen.route),
        Some(0)
    );
}

#[test]
fn then_a_method_then_the_most_fields_then_the_smaller_rank() {
    let header = |names: &[&str]| -> BTreeMap<String, ValueMatch> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), ValueMatch::Present(true)))
            .collect()
    };
    let get = Match {
        methods: vec!["GET".to_owned()],
        ..Match::default()
    };
    let routes = [
        route(
            9,
            &[],
            vec![Match {
                headers: header(&["a", "b"]),
                ..Match::default()
            }],
        ),
        route(
            5,
            &[],
            vec![Match {
                headers: header(&["a"]),
                ..Match::default()
            }],
        ),
        route(
            4,
            &[],
            vec![Match {
                headers: header(&["c"]),
                ..Match::default()
            }],
        ),
        route(7, &[], vec![get]),
    ];
    let chosen = |method, fields: &[(&str, &str)]| {
        choose(&routes, "", method, "/", fields).map(|chosen| chosen.route)
    };
    assert_eq!(chosen("GET", &[("a", ""), ("b", "")]), Some(3));
    assert_eq!(chosen("PUT", &[("a", ""), ("b", ""), ("c", "")]), Some(0));
    assert_eq!(chosen("PUT", &[("a", ""), ("c", "")]), Some(2));
    assert_eq!(chosen("PUT", &[]), None);
}

#[test]
fn an_exact_host_wins_over_wildcards_and_falls_back_to_them() {
    let routes = [
        route(0, &["*.example.com"], vec![prefix("/")]),
        route(1, &["*.shop.example.com"], vec![prefix("/")]),
        route(2, &["a.shop.example.com"], vec![prefix("/a")]),
        route(3, &[], vec![prefix("/deep/er")]),
    ];
    for (host, path, expected) in [
        ("a.shop.example.com", "/a", Some(2)),
        ("a.shop.example.com", "/b", Some(1)),
        ("b.a.shop.example.com", "/a", Some(1)),
        ("shop.example.com", "/deep/er", Some(0)),
        ("example.com", "/deep/er", Some(3)),
        ("example.com", "/", None),
        (".example.com", "/", None),
    ] {
        assert_eq!(
            choose(&routes, host, "GET", path, &[]).map(|chosen| chosen.route),
            expected,
            "{host} {path}"
        );
    }
}

#[test]
fn fields_are_compared_as_a_whole() {
    let wants = |value: ValueMatch| {
        [route(
            0,
            &[],
            vec![Match {
                headers: [("x".to_owned(), value)].into(),
                ..Match::default()
            }],
        )]
    };
    for (value, fields, expected) in [
        (ValueMatch::Exact("yes".into()), &[("x", "yes")][..], true),
        (ValueMatch::Exact("yes".into()), &[("x", "yes, no")], false),
        (ValueMatch::Regex("y.s".into()), &[("x", "yes")], true),
        (ValueMatch::Regex("y|z".into()), &[("x", "yz")], false),
        (ValueMatch::Present(true), &[], false),
        (ValueMatch::Present(false), &[], true),
        (ValueMatch::Present(false), &[("x", "")], false),
        (ValueMatch::Exact(String::new()), &[], false),
    ] {
        assert_eq!(
            choose(&wants(value.clone()), "", "GET", "/", fields).is_some(),
            expected,
            "{value:?} {fields:?}"
        );
    }
}

#[test]
fn what_was_matched_can_be_replaced() {
    for (part, path, replacement, expected) in [
        (Part::Start(3), "/v2/x", "/", "/x"),
        (Part::Start(3), "/v2", "/", "/"),
        (Part::Start(3), "/v2/", "/", "/"),
        (Part::Start(3), "/v2/x", "/api/", "/api/x"),
        (Part::Start(3), "/v2", "/api", "/api"),
        (Part::Start(0), "/x", "/api", "/api/x"),
        (Part::Whole, "/v2/x", "/y", "/y"),
    ] {
        assert_eq!(
            part.rewrite(path, replacement),
            expected,
            "{part:?} {path} {replacement}"
        );
    }
}

#[test]
fn the_host_is_taken_from_an_authority_without_its_port() {
    for (authority, host) in [
        ("Shop.Example.com:443", "shop.example.com"),
        ("a.", "a"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
    ] {
        assert_eq!(host_of(authority), host);
    }
    assert!(
        serves_host(&[], "x")
            && serves_host(&["*.x".to_owned()], "a.b.x")
            && !serves_host(&["*.x".to_owned()], "x")
    );
}

fn paths() -> impl Strategy<Value = PathMatch> {
    let text = "(/[ab]{1,2}){1,3}/?";
    prop_oneof![
        text.prop_map(PathMatch::Exact),
        text.prop_map(PathMatch::Prefix),
        Just(PathMatch::Prefix("/".to_owned())),
        r"(/[ab.]{1,2}){1,2}(/\.\*)?".prop_map(PathMatch::Regex),
    ]
}

fn any_route() -> impl Strategy<Value = Route> {
    let hosts = prop::collection::vec(prop::sample::select(vec!["a.x", "*.x", "*.a.x"]), 0..3);
    let matched = (
        prop::option::of(paths()),
        prop::collection::vec(prop::sample::select(vec!["GET", "PUT"]), 0..2),
        prop::collection::btree_map(
            "[xy]",
            prop::sample::select(vec![
                ValueMatch::Present(true),
                ValueMatch::Exact("1".into()),
            ]),
            0..3,
        ),
    );
    let matches = prop::collection::vec(matched, 0..3);
    (0..3_u32, hosts, matches).prop_map(|(rank, hosts, matches)| {
        let matches = matches.into_iter().map(|(path, methods, headers)| Match {
            path,
            methods: methods.into_iter().map(str::to_owned).collect(),
            headers,
            callers: vec![],
        });
        route(rank, &hosts, matches.collect())
    })
}

/// The greatest summary of all that match, looking at every rule.
fn naive(
    routes: &[Route],
    request: Request<'_>,
    fields: &BTreeMap<String, String>,
) -> Option<Summary> {
    let always = [Match::default()];
    let every = [String::new()];
    let mut best = None;
    for (index, route) in routes.iter().enumerate() {
        let matches = if route.matches.is_empty() {
            &always[..]
        } else {
            &route.matches
        };
        for (place, matched) in matches.iter().enumerate() {
            for host in if route.hosts.is_empty() {
                &every[..]
            } else {
                &route.hosts
            } {
                let path = match &matched.path {
                    None => true,
                    Some(PathMatch::Exact(exact)) => exact == request.path,
                    Some(PathMatch::Prefix(prefix)) => {
                        let wanted = prefix.trim_end_matches('/').split('/');
                        let found: Vec<&str> = request.path.split('/').collect();
                        wanted
                            .enumerate()
                            .all(|(at, segment)| found.get(at) == Some(&segment))
                    }
                    Some(PathMatch::Regex(text)) => regex::Regex::new(&format!("^(?:{text})$"))
                        .expect("a regex")
                        .is_match(request.path),
                };
                let item = item::Item::new((index, place), route, matched, host, &local())
                    .expect("an item");
                let host = host.is_empty() || summary::host_matches(host, request.host);
                if path && host && item.matches(request, fields) {
                    best = best.max(Some(item.summary));
                }
            }
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_index_finds_what_looking_at_every_rule_finds(
        routes in prop_oneof![
            prop::collection::vec(any_route(), 0..12),
            prop::collection::vec(any_route(), 80..140), // tries and sets
        ],
        requests in prop::collection::vec(
            ("((/[ab]{1,2}){0,4}/?|/)", prop::sample::select(vec!["a.x", "b.x", "b.a.x", "x", "y"]), any::<bool>(),
             prop::collection::btree_map("[xy]", "[12]", 0..3)),
            1..8,
        ),
    ) {
        let table = Routes::new(&routes, &local()).expect("routes");
        let explainer = Explainer::new(&routes, &local()).expect("the same routes");
        for (path, host, get, fields) in &requests {
            let request = Request { host, method: if *get { "GET" } else { "PUT" }, path, caller: None };
            let chosen = table.choose(request, fields);
            let won: Vec<_> = explainer
                .tried(request, fields)
                .into_iter()
                .filter(|tried| tried.fate == Fate::Won)
                .map(|tried| (tried.route, tried.summary))
                .collect();
            prop_assert_eq!(chosen.map(|chosen| (chosen.route, chosen.summary)).into_iter().collect::<Vec<_>>(), won);
            prop_assert_eq!(chosen.map(|chosen| chosen.summary), naive(&routes, request, fields));
        }
    }
}

#[test]
fn every_loser_says_what_did_not_hold() {
    let mut by_field = prefix("/a");
    by_field
        .headers
        .insert("x-user".to_owned(), ValueMatch::Exact("ann".to_owned()));
    let by_method = Match {
        methods: vec!["PUT".to_owned()],
        ..prefix("/a")
    };
    let by_caller = Match {
        callers: vec!["shop/web".to_owned()],
        ..prefix("/a")
    };
    let routes = [
        route(0, &["b.example.com"], vec![prefix("/a")]),
        route(1, &[], vec![prefix("/b"), by_method]),
        route(2, &[], vec![by_caller, by_field]),
        route(3, &[], vec![prefix("/a")]),
        route(4, &[], vec![]),
    ];
    let explainer = Explainer::new(&routes, &local()).expect("routes");
    let request = Request {
        host: "a.example.com",
        method: "GET",
        path: "/a/x",
        caller: None,
    };
    let fields: BTreeMap<String, String> = BTreeMap::new();
    let tried = explainer.tried(request, &fields);
    let fates: Vec<_> = tried
        .iter()
        .map(|tried| (tried.route, tried.matched, tried.fate))
        .collect();
    assert_eq!(
        fates,
        [
            (0, 0, Fate::Lost(Lost::Host)),
            (1, 0, Fate::Lost(Lost::Path)),
            (1, 1, Fate::Lost(Lost::Method)),
            (2, 0, Fate::Lost(Lost::Caller)),
            (2, 1, Fate::Lost(Lost::Header("x-user"))),
            (3, 0, Fate::Won),
            (4, 0, Fate::Outranked),
        ]
    );
}
