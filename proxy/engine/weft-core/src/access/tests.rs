use super::*;
use crate::caller::local;
use weft_model::section::PathMatch;

fn rule(name: &str, decision: Decision, callers: &[&str], paths: &[&str]) -> Rule {
    Rule {
        name: name.to_owned(),
        decision,
        shadow: false,
        callers: callers.iter().map(|text| (*text).to_owned()).collect(),
        methods: vec![],
        paths: paths
            .iter()
            .map(|text| PathMatch::Prefix((*text).to_owned()))
            .collect(),
    }
}

fn judge(
    default: Decision,
    rules: Vec<Rule>,
    service: &str,
    path: &str,
) -> (Decision, Option<Decision>, String) {
    let rules = Rules::new(&Access { default, rules }, &local()).expect("rules");
    let caller = local().service(service).expect("an identity");
    let verdict = rules.judge(Call {
        caller: Some(&caller),
        method: "GET",
        path,
    });
    let by = match verdict.enforced.by {
        By::Rule(name) => name.to_owned(),
        other => format!("{other:?}"),
    };
    (
        verdict.enforced.decision,
        verdict.shadow.map(|ruling| ruling.decision),
        by,
    )
}

#[test]
fn the_default_decides_only_where_no_allow_rule_is_enforced() {
    use Decision::{Allow, Deny};
    assert_eq!(
        judge(Allow, vec![], "a/b", "/"),
        (Allow, None, "Default".into())
    );
    assert_eq!(
        judge(Deny, vec![], "a/b", "/"),
        (Deny, None, "Default".into())
    );
    let readers = rule("readers", Allow, &["shop/web"], &[]);
    assert_eq!(
        judge(Allow, vec![readers.clone()], "a/b", "/"),
        (Deny, None, "NoneAllows".into())
    );
    assert_eq!(
        judge(Deny, vec![readers], "shop/web", "/"),
        (Allow, None, "readers".into())
    );
    let admin = rule("admin", Deny, &["*"], &["/admin"]);
    assert_eq!(
        judge(Allow, vec![admin], "a/b", "/x"),
        (Allow, None, "Default".into())
    );
}

#[test]
fn deny_wins_whatever_the_order() {
    use Decision::{Allow, Deny};
    let allow = rule("all", Allow, &["*"], &[]);
    let deny = rule("admin", Deny, &["*"], &["/admin"]);
    for rules in [vec![allow.clone(), deny.clone()], vec![deny, allow]] {
        assert_eq!(
            judge(Allow, rules.clone(), "a/b", "/admin/x"),
            (Deny, None, "admin".into())
        );
        assert_eq!(
            judge(Deny, rules, "a/b", "/administrators"),
            (Allow, None, "all".into())
        );
    }
}

#[test]
fn a_rule_in_shadow_decides_nothing_and_says_what_it_would() {
    use Decision::{Allow, Deny};
    let mut only_web = rule("only-web", Allow, &["shop/web"], &[]);
    only_web.shadow = true;
    assert_eq!(
        judge(Allow, vec![only_web.clone()], "a/b", "/"),
        (Allow, Some(Deny), "Default".into())
    );
    assert_eq!(
        judge(Deny, vec![only_web], "shop/web", "/"),
        (Deny, Some(Allow), "Default".into())
    );
}

#[test]
fn methods_are_compared_byte_for_byte() {
    let mut readers = rule("readers", Decision::Allow, &[], &[]);
    readers.methods = vec!["GET".to_owned()];
    let rules = Rules::new(
        &Access {
            default: Decision::Deny,
            rules: vec![readers],
        },
        &local(),
    )
    .expect("rules");
    let decide = |method| {
        rules
            .judge(Call {
                caller: None,
                method,
                path: "/",
            })
            .enforced
            .decision
    };
    assert_eq!(decide("GET"), Decision::Allow);
    assert_eq!(decide("HEAD"), Decision::Deny);
}

#[test]
fn a_connection_without_requests_is_judged_by_its_caller_alone() {
    let by_method = Rule {
        methods: vec!["GET".to_owned()],
        ..rule("methods", Decision::Allow, &["shop/web"], &[])
    };
    let cases = [
        (
            vec![rule("callers", Decision::Allow, &["shop/web"], &[])],
            "shop/web",
            Decision::Allow,
        ),
        (
            vec![rule("callers", Decision::Allow, &["shop/web"], &[])],
            "shop/cron",
            Decision::Deny,
        ),
        (
            vec![rule("callers", Decision::Deny, &["shop/web"], &[])],
            "shop/web",
            Decision::Deny,
        ),
        (
            vec![rule("root", Decision::Allow, &["shop/web"], &["/"])],
            "shop/web",
            Decision::Deny,
        ),
        (
            vec![rule("root", Decision::Deny, &["shop/web"], &["/"])],
            "shop/web",
            Decision::Allow,
        ),
        (vec![by_method], "shop/web", Decision::Deny),
        (vec![], "shop/web", Decision::Allow),
    ];
    for (rules, service, expected) in cases {
        let access = Access {
            default: Decision::Allow,
            rules,
        };
        let prepared = Rules::new(&access, &local()).expect("rules");
        let caller = local().service(service).expect("an identity");
        let found = prepared.judge_connection(Some(&caller)).enforced.decision;
        assert_eq!(found, expected, "{access:?} {service}");
    }
}

#[test]
fn what_was_looked_at_says_what_did_not_hold() {
    let mut writers = rule("writers", Decision::Allow, &["shop/web"], &[]);
    writers.methods = vec!["PUT".to_owned()];
    let mut shadow = rule("shadow", Decision::Deny, &["*"], &[]);
    shadow.shadow = true;
    let access = Access {
        default: Decision::Deny,
        rules: vec![
            writers,
            rule("cron", Decision::Allow, &["shop/cron"], &[]),
            rule("admin", Decision::Deny, &["*"], &["/admin"]),
            shadow,
        ],
    };
    let rules = Rules::new(&access, &local()).expect("rules");
    let caller = local().service("shop/web").expect("an identity");
    let looked = rules.looked_at(Call {
        caller: Some(&caller),
        method: "GET",
        path: "/",
    });
    let found: Vec<_> = looked
        .iter()
        .map(|looked| (looked.name, looked.shadow, looked.lost))
        .collect();
    assert_eq!(
        found,
        [
            ("writers", false, Some(Lost::Method)),
            ("cron", false, Some(Lost::Caller)),
            ("admin", false, Some(Lost::Path)),
            ("shadow", true, None),
        ]
    );
}
