//! Questions and answers, through the front door.

use serde_json::{Value, json};

use super::run;

fn route(name: &str, rank: u32, matches: Value, action: Value) -> Value {
    json!({
        "name": name, "rank": rank, "matches": matches, "action": action, "timeout_ms": 2000,
        "retry": retry(), "request_headers": {}, "response_headers": {},
    })
}

fn retry() -> Value {
    json!({
        "max": 1, "undelivered": true, "reset": true, "statuses": [], "methods": [],
        "per_try_timeout_ms": 0, "backoff_base_ms": 25, "backoff_max_ms": 250,
    })
}

fn service(routes: Value, access: Value) -> Value {
    json!({
        "protocol": "http", "routes": routes, "access": access,
        "traffic": {
            "balance": "p2c", "connect_timeout_ms": 1000, "timeout_ms": 15000, "idle_timeout_ms": 1000,
            "stream_idle_ms": 1000, "retry": retry(),
            "capacity": {"connections": 0, "pending": 0, "requests": 0},
            "retry_budget": {"percent": 20.0, "min": 3},
            "outlier": {"consecutive": 5, "success_below": 80.0, "eject_ms": 30000, "max_ejected": 50.0},
        },
    })
}

fn endpoint(instance: &str, host: &str, version: &str) -> Value {
    json!({
        "instance": instance, "host": host, "address": "127.0.0.1:7502", "port": 8080, "weight": 100,
        "labels": {"version": version}, "state": "up",
    })
}

fn snapshot() -> Value {
    let v2 = json!({
        "kind": "forward", "on_empty": "spill", "rewrite": {},
        "to": [{"service": "shop/api", "labels": {"version": "v2"}, "weight": 1}],
    });
    let gone = json!({"kind": "respond", "code": 410, "body": "gone"});
    let canary = json!([{"path": {"prefix": "/v2"}, "headers": {"x-canary": {"exact": "yes"}}}]);
    let routes = json!([
        route("canary/v2", 0, canary, v2),
        route("old/gone", 1, json!([{"path": {"prefix": "/old"}}]), gone),
    ]);
    let rule = |name, decision, callers: &[&str], paths| {
        json!({
            "name": name, "decision": decision, "shadow": false, "callers": callers, "methods": [], "paths": paths,
        })
    };
    let access = json!({"default": "deny", "rules": [
        rule("api/web", "allow", &["shop/web"], json!([])),
        rule("api/admin", "deny", &["*"], json!([{"prefix": "/admin"}])),
    ]});
    let open = json!({"default": "allow", "rules": []});
    json!({"sections": {
        "host": {"name": "vm-1", "zone": "", "trust_domain": "corp", "datacenter": "ams1"},
        "listener/web.api": {
            "kind": "outbound", "address": "127.0.0.1:9001", "caller": "shop/web", "upstream": "shop/api",
        },
        "listener/mesh": {"kind": "inbound", "address": "127.0.0.1:7502"},
        "service/shop/api": service(routes, access),
        "service/shop/web": service(json!([]), open),
        "endpoints/shop/api": {"endpoints": [endpoint("api-1", "vm-1", "v1"), endpoint("api-2", "vm-2", "v2")]},
    }})
}

fn answers(lines: &[Value]) -> Vec<Value> {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut output = Vec::new();
    run(input.as_bytes(), &mut output).expect("memory");
    let text = String::from_utf8(output).expect("JSON");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn ask(question: Value) -> Value {
    let mut answers = answers(&[snapshot(), question]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn instances(answer: &Value) -> Vec<&str> {
    let endpoints = answer["endpoints"].as_array().expect("a list");
    endpoints
        .iter()
        .filter_map(|endpoint| endpoint["instance"].as_str())
        .collect()
}

#[test]
fn a_rule_that_holds_leads_to_its_instances_and_the_losers_say_why() {
    let answer = ask(json!({
        "listener": "web.api", "target": "/v2/x", "host": "api", "headers": [["x-canary", "yes"]],
    }));
    assert_eq!(answer["outcome"], "forward", "{answer}");
    assert_eq!(answer["route"], "canary/v2");
    assert_eq!(instances(&answer), ["api-2"]);
    assert_eq!(answer["timeout_ms"], 2000);
    let tried = &answer["trace"]["routes"]["tried"];
    assert_eq!(tried[0]["fate"], "won");
    assert_eq!(
        (&tried[1]["fate"], &tried[1]["by"]),
        (&json!("lost"), &json!("path"))
    );
}

#[test]
fn a_decision_alone_is_the_same_without_its_trace() {
    let question = |trace: bool| json!({"listener": "web.api", "target": "/old/1", "host": "api", "trace": trace});
    let mut with = ask(question(true));
    assert!(
        with.as_object_mut()
            .expect("an object")
            .remove("trace")
            .is_some()
    );
    assert_eq!(ask(question(false)), with);
}

#[test]
fn where_no_rule_holds_the_service_itself_is_asked() {
    let answer = ask(json!({"listener": "web.api", "target": "/v2", "host": "api"}));
    assert_eq!(answer["outcome"], "forward", "{answer}");
    assert_eq!(
        (&answer["route"], &answer["to"]),
        (&json!(""), &json!("shop/api"))
    );
    assert_eq!(instances(&answer).len(), 2);
    assert_eq!(
        answer["trace"]["routes"]["tried"][0]["by"],
        "header x-canary"
    );
}

#[test]
fn an_answer_of_the_engines_own_is_told() {
    let answer = ask(json!({"listener": "web.api", "target": "/old/1", "host": "api"}));
    assert_eq!(
        (&answer["outcome"], &answer["status"]),
        (&json!("answer"), &json!(410))
    );
}

#[test]
fn access_is_judged_where_the_service_is_called() {
    let web = "spiffe://corp/ns/shop/dc/ams1/svc/web";
    let question = |caller: &str, target: &str| {
        json!({
            "listener": "mesh", "caller": caller, "service": "shop/api", "target": target, "host": "api",
        })
    };
    let allowed = ask(question(web, "/x"));
    assert_eq!(
        (&allowed["outcome"], &allowed["way"]),
        (&json!("forward"), &json!("here"))
    );
    assert_eq!(instances(&allowed), ["api-1"]);
    let denied = ask(question(web, "/admin/x"));
    assert_eq!(
        (&denied["reason"], &denied["status"]),
        (&json!("denied"), &json!(403))
    );
    assert_eq!(
        denied["trace"]["access"]["by"],
        json!({"rule": "api/admin"})
    );
    let stranger = ask(question("spiffe://corp/ns/shop/dc/ams1/svc/cron", "/x"));
    assert_eq!(stranger["trace"]["access"]["by"], "none allows it");
    assert_eq!(stranger["trace"]["access"]["rules"][0]["by"], "caller");
}

#[test]
fn what_the_codec_refuses_is_refused() {
    let answer = ask(json!({"listener": "web.api", "target": "/a b", "host": "api"}));
    assert_eq!(
        (&answer["reason"], &answer["status"]),
        (&json!("bad_request"), &json!(400))
    );
    let answer = ask(json!({"listener": "web.api"}));
    assert_eq!(answer["reason"], "bad_request", "no Host: {answer}");
}

#[test]
fn a_line_that_cannot_be_read_costs_nothing_else() {
    let broken = json!({"sections": {"host": 1}});
    let lines = [
        snapshot(),
        json!({"listener": "elsewhere"}),
        broken,
        json!({"listener": "web.api", "host": "api\r\nx: y"}),
        json!({"listener": "web.api", "host": "api", "colour": "red"}),
        json!({"listener": "web.api", "host": "api"}),
    ];
    let answers = answers(&lines);
    let error = |place: usize| answers[place]["error"].as_str().unwrap_or_default();
    assert!(error(0).contains("there are: mesh, web.api"), "{answers:?}");
    assert!(error(1).contains("host"), "{answers:?}");
    assert!(error(3).contains("colour"), "{answers:?}");
    assert_eq!(answers[4]["outcome"], "forward");
}

#[test]
fn every_target_of_a_rule_is_told_and_where_requests_go_while_there_is_nobody() {
    let mut snapshot = snapshot();
    let split = json!({
        "kind": "forward", "on_empty": "spill", "rewrite": {},
        "to": [
            {"service": "shop/api", "labels": {"version": "v1"}, "weight": 9},
            {"service": "shop/api", "labels": {"version": "v2"}, "weight": 1},
        ],
    });
    let sections = &mut snapshot["sections"];
    sections["service/shop/api"]["routes"] = json!([route("split", 0, json!([]), split)]);
    let question = json!({"listener": "web.api", "host": "api"});
    let answer = &answers(&[snapshot.clone(), question.clone()])[0];
    let told: Vec<Vec<&str>> = answer["targets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(instances)
        .collect();
    assert_eq!(told, [["api-1"], ["api-2"]], "{answer}");
    assert_eq!(answer["elsewhere"], Value::Null);

    let sections = &mut snapshot["sections"];
    sections["service/shop/api"]["routes"] = json!([]);
    sections["service/shop/api"]["traffic"]["failover"] = json!(["shop/web"]);
    sections["endpoints/shop/web"] = json!({"endpoints": [endpoint("web-1", "vm-3", "v1")]});
    sections["endpoints/shop/api"] = json!({"endpoints": []});
    let answer = &answers(&[snapshot.clone(), question.clone()])[0];
    assert_eq!(answer["to"], "shop/api", "{answer}");
    assert_eq!(answer["elsewhere"]["to"], "shop/web");
    assert_eq!(instances(&answer["elsewhere"]), ["web-1"]);

    // They stand in for each other, and nobody of either is there.
    let sections = &mut snapshot["sections"];
    let back = sections["service/shop/api"].clone();
    sections["service/shop/web"] = back;
    sections["service/shop/web"]["traffic"]["failover"] = json!(["shop/web", "shop/api"]);
    sections["endpoints/shop/web"] = json!({"endpoints": []});
    let answer = &answers(&[snapshot, question])[0];
    assert_eq!(answer["reason"], "no_endpoint", "{answer}");
}

#[test]
fn who_is_ejected_and_what_is_used_up_is_supposed_for_one_question() {
    let mut snapshot = snapshot();
    let sections = &mut snapshot["sections"];
    sections["service/shop/api"]["routes"] = json!([]);
    sections["service/shop/api"]["traffic"]["failover"] = json!(["shop/web"]);
    sections["service/shop/api"]["limits"] = json!([{
        "name": "api/orders", "matches": [], "by": "caller", "rate": 5, "window_ms": 1000, "burst": 5,
        "concurrency": 0, "scope": "host",
    }]);
    sections["endpoints/shop/web"] = json!({"endpoints": [endpoint("web-1", "vm-3", "v1")]});
    let asked = |ejected: Value| json!({"listener": "web.api", "host": "api", "state": {"ejected": ejected}});
    let inbound = |used_up: Value| {
        json!({
            "listener": "mesh", "caller": "spiffe://corp/ns/shop/dc/ams1/svc/web", "service": "shop/api",
            "host": "api", "state": {"used_up": used_up},
        })
    };
    let all = json!(["shop/api/api-1", "shop/api/api-2", "shop/web/web-1"]);
    let said = answers(&[
        snapshot,
        asked(json!([])),
        asked(json!(["shop/api/api-2"])),
        asked(json!(["shop/api/api-1", "shop/api/api-2"])),
        asked(all),
        asked(json!(["shop/api/nobody"])),
        asked(json!([])),
        inbound(json!(["api/orders"])),
        inbound(json!(["api/others"])),
    ]);
    let told: Vec<(&Value, &Value)> = said[..4]
        .iter()
        .map(|one| (&one["rotation"], &one["elsewhere"]["to"]))
        .collect();
    let both = json!(["api-1", "api-2"]);
    assert_eq!(told[0], (&both, &Value::Null), "{said:?}");
    assert_eq!(told[1], (&json!(["api-1"]), &Value::Null));
    // Of panic nothing is told where there is somebody elsewhere: they go there.
    assert_eq!(told[2], (&both, &json!("shop/web")));
    assert_eq!(told[3], (&both, &Value::Null));
    let error = said[4]["error"].as_str().unwrap_or_default();
    assert!(error.contains("shop/api/nobody"), "{error}");
    assert_eq!(said[5]["rotation"], both, "what was supposed is over");
    assert_eq!(said[6]["reason"], "limited");
    assert_eq!(said[7]["outcome"], "forward");
}

#[test]
fn the_limits_and_faults_that_a_request_falls_under_are_told_by_name() {
    let mut snapshot = snapshot();
    let limit = |name: &str, path: &str| {
        json!({
            "name": name, "matches": [{"path": {"prefix": path}}], "by": "caller", "rate": 5, "window_ms": 1000,
            "burst": 5, "concurrency": 0, "scope": "host",
        })
    };
    let fault = |name: &str, until: u64| {
        json!({
            "name": name, "until_ms": until, "matches": [], "percent": 5.0, "delay_ms": 10, "abort": 0,
        })
    };
    let service = &mut snapshot["sections"]["service/shop/api"];
    service["limits"] = json!([
        limit("api/search", "/search"),
        limit("api/orders", "/orders")
    ]);
    service["faults"] = json!([
        fault("shop/over", 1_000),
        fault("shop/slow", 4_000_000_000_000)
    ]);
    let question = json!({
        "listener": "mesh", "caller": "spiffe://corp/ns/shop/dc/ams1/svc/web", "service": "shop/api",
        "target": "/search/x", "host": "api",
    });
    let answer = &answers(&[snapshot, question])[0];
    assert_eq!(answer["trace"]["limits"], json!(["api/search"]), "{answer}");
    assert_eq!(answer["trace"]["faults"], json!(["shop/slow"]), "{answer}");
}
