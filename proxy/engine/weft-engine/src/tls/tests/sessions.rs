//! What a build of an identity allows its sessions.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::mill::{Authority, leaf};
use super::{API, local, trust};
use crate::tls::{Configs, Identity};

fn identity(root: &Authority, id: u64) -> Identity {
    let key = rcgen::KeyPair::generate().expect("a key");
    let chain: Vec<CertificateDer<'static>> = vec![root.sign_key(&leaf(API), &key)];
    let trust = trust(root, &[]);
    Identity::new("shop/api", chain, key.serialize_der(), &trust, &local(), id).expect("it fits")
}

#[test]
fn nobody_sends_or_takes_early_data() {
    let root = Authority::root("mesh");
    let Configs::Mesh { server, client, .. } = identity(&root, 1).configs else {
        panic!("an identity of the mesh");
    };
    assert_eq!(server.max_early_data_size, 0);
    assert!(!client.enable_early_data);
}

#[test]
fn another_build_of_an_identity_cannot_open_the_tickets_of_the_one_before() {
    let root = Authority::root("mesh");
    let before = identity(&root, 1);
    let after = before
        .under(&trust(&root, &["1"]), &local(), 2)
        .expect("it fits");
    let (
        Configs::Mesh {
            server: old,
            client: known,
            ..
        },
        Configs::Mesh {
            server: new,
            client,
            ..
        },
    ) = (before.configs, after.configs)
    else {
        panic!("identities of the mesh");
    };
    let ticket = old.ticketer.encrypt(b"a session").expect("sealed");
    assert_eq!(
        old.ticketer.decrypt(&ticket).as_deref(),
        Some(&b"a session"[..])
    );
    assert_eq!(new.ticketer.decrypt(&ticket), None);
    assert!(!Arc::ptr_eq(&known, &client));
}
