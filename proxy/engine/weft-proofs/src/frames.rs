//! Frames of the engine's socket, and the snapshots they bring.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_model::frame::{ToEngine, decode};
use weft_model::{Snapshot, parse};

/// A frame that is read reads the same once it is written again; a snapshot that is taken is made of sections that read the
/// same once they are written, is the same when it is sent again, and shares all of it.
pub fn check(data: &[u8]) {
    let Ok(frame) = decode(data) else {
        return;
    };
    let bytes = rmp_serde::to_vec_named(&frame).expect("a frame is written to memory");
    assert_eq!(decode(&bytes).expect("it was read before"), frame);
    if let ToEngine::Apply { set, delete, .. } = frame {
        let set = set
            .into_iter()
            .map(|(name, bytes)| (name, bytes.into_vec()))
            .collect();
        applied(&set, &delete);
    }
}

fn applied(set: &BTreeMap<String, Vec<u8>>, delete: &[String]) {
    let before = Snapshot::default();
    let Ok(snapshot) = before.apply(true, set, delete) else {
        return;
    };
    assert_eq!(snapshot.raw().len(), set.len());
    for (name, bytes) in set {
        let (_, section) = parse::section(name, bytes).expect("it was taken");
        let written = parse::encode(&section);
        let (_, again) = parse::section(name, &written).expect("it was taken");
        assert_eq!(again, section, "{name}");
    }
    let again = snapshot.apply(true, set, &[]).expect("it was taken");
    for (name, service) in &snapshot.services {
        assert!(Arc::ptr_eq(service, &again.services[name]), "{name}");
    }
    let emptied = snapshot.apply(false, &BTreeMap::<String, Vec<u8>>::new(), &names(set));
    assert_eq!(emptied.map_or(0, |emptied| emptied.raw().len()), 0);
}

fn names(set: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    set.keys().cloned().collect()
}
