//! The golden files that the Python side reads too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use weft_model::parse::{self, Section};
use weft_model::{Code, SectionName, Snapshot};

#[derive(Deserialize)]
struct Refused {
    section: String,
    change: String,
    to: Value,
    code: String,
    path: String,
    says: String,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden")
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Section name to its msgpack bytes.
fn sections() -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(at).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "msgpack")
            {
                let name = path.with_extension("");
                let name = name
                    .strip_prefix(root)
                    .expect("below the root")
                    .to_str()
                    .expect("text");
                found.insert(name.to_owned(), read(&path));
            }
        }
    }
    let root = golden().join("sections");
    let mut found = BTreeMap::new();
    walk(&root, &root, &mut found);
    assert!(found.len() >= 10, "the golden sections are there");
    found
}

fn json(name: &str) -> Value {
    let path = golden().join("sections").join(format!("{name}.json"));
    if path.exists() {
        serde_json::from_slice(&read(path)).expect("JSON")
    } else {
        Value::Object(Default::default())
    }
}

#[test]
fn every_golden_section_is_read_and_written_byte_for_byte() {
    for (name, bytes) in sections() {
        let (_, section) =
            parse::section(&name, &bytes).unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!(parse::encode(&section), bytes, "{name}");
    }
}

#[test]
fn the_json_beside_each_golden_section_says_the_same() {
    for (name, bytes) in sections() {
        let (_, section) = parse::section(&name, &bytes).expect("a section");
        let value = match section {
            Section::Host(value) => serde_json::to_value(value),
            Section::Listener(value) => serde_json::to_value(value),
            Section::Service(value) => serde_json::to_value(value),
            Section::Endpoints(value) => serde_json::to_value(value),
            Section::Gateway(value) => serde_json::to_value(value),
        };
        assert_eq!(value.expect("JSON"), json(&name), "{name}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_code_and_path() {
    let table: Vec<Refused> =
        serde_json::from_slice(&read(golden().join("refused.json"))).expect("the table");
    assert!(table.len() > 50);
    for case in table {
        let mut value = json(&case.section);
        put(&mut value, &case.change, case.to.clone());
        let bytes = rmp_serde::to_vec_named(&value).expect("msgpack");
        let refusal = parse::section(&case.section, &bytes).expect_err(&case.change);
        let found = (refusal.code.as_str(), refusal.path.as_str());
        assert_eq!(
            found,
            (case.code.as_str(), case.path.as_str()),
            "{} {}: {refusal}",
            case.section,
            case.change
        );
        assert!(
            refusal.message.contains(&case.says),
            "{:?} does not say {:?}",
            refusal.message,
            case.says
        );
    }
}

fn put(value: &mut Value, pointer: &str, to: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match value
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("nothing at {parent}"))
    {
        Value::Object(map) => drop(map.insert(key.to_owned(), to)),
        Value::Array(list) => list[key.parse::<usize>().expect("a place")] = to,
        other => panic!("{other} has nothing inside"),
    }
}

#[test]
fn bytes_after_the_value_and_half_a_value_are_refused() {
    let bytes = sections().remove("host").expect("a host");
    for wrong in [
        &[&bytes[..], &[0xc0]].concat(),
        &bytes[..bytes.len() - 1],
        &[][..],
        &[0xc1][..],
    ] {
        assert_eq!(
            parse::section("host", wrong).expect_err("refused").code,
            Code::InvalidSection
        );
    }
}

#[test]
fn a_snapshot_takes_all_or_nothing() {
    let all = sections();
    let first = Snapshot::default()
        .apply(true, &all, &[])
        .expect("a snapshot");
    assert_eq!(
        (
            first.raw().len(),
            first.services.len(),
            first.listeners.len()
        ),
        (all.len(), 10, 4)
    );
    let mut wrong = all.clone();
    wrong.insert("service/shop/api".to_owned(), vec![0x80]);
    let refusal = first.apply(true, &wrong, &[]).expect_err("refused");
    assert_eq!(
        (refusal.section.as_str(), refusal.code),
        ("service/shop/api", Code::InvalidSection)
    );
}

#[test]
fn sections_that_did_not_change_are_shared_even_after_a_reset() {
    let all = sections();
    let first = Snapshot::default()
        .apply(true, &all, &[])
        .expect("a snapshot");
    let again = first.apply(true, &all, &[]).expect("a snapshot");
    assert!(Arc::ptr_eq(
        &first.services["shop/api"],
        &again.services["shop/api"]
    ));
    let change = BTreeMap::from([(
        "endpoints/shop/api".to_owned(),
        all["endpoints/shop/empty"].clone(),
    )]);
    let changed = again
        .apply(false, &change, &["gateway/edge".to_owned()])
        .expect("a snapshot");
    assert!(Arc::ptr_eq(
        &first.services["shop/api"],
        &changed.services["shop/api"]
    ));
    assert!(changed.endpoints["shop/api"].endpoints.is_empty() && changed.gateways.is_empty());
    assert_eq!(changed.raw().len(), all.len() - 1);
    assert!(
        first.gateways.contains_key("edge"),
        "the snapshot before is as it was"
    );
}

#[test]
fn a_reset_drops_what_is_not_set() {
    let all = sections();
    let first = Snapshot::default()
        .apply(true, &all, &[])
        .expect("a snapshot");
    let host = BTreeMap::from([("host".to_owned(), all["host"].clone())]);
    let next = first.apply(true, &host, &[]).expect("a snapshot");
    assert_eq!((next.raw().len(), next.services.len()), (1, 0));
}

#[test]
fn without_a_host_nothing_is_taken() {
    let mut all = sections();
    all.remove("host");
    let refusal = Snapshot::default()
        .apply(true, &all, &[])
        .expect_err("refused");
    assert_eq!(
        (refusal.section.as_str(), refusal.code),
        ("host", Code::UnknownSection)
    );
}

#[test]
fn two_listeners_cannot_have_one_address() {
    let mut all = sections();
    all.insert("listener/other".to_owned(), all["listener/inbound"].clone());
    let refusal = Snapshot::default()
        .apply(true, &all, &[])
        .expect_err("refused");
    assert_eq!(
        (refusal.section.as_str(), refusal.path.as_str()),
        ("listener/other", "address")
    );
    assert_eq!(
        SectionName::parse(&refusal.section),
        Some(SectionName::Listener("other".to_owned()))
    );
}
