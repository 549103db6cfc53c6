//! Server names as the caller's side uses them: they decide which identity is expected.

use super::mill::Authority;
use super::{API, ASKED, as_called, trust};
use crate::tls::TlsReason::{NoServerName, WrongService, WrongTrustDomain};

#[test]
fn the_name_that_was_asked_for_decides_which_service_must_answer() {
    let root = Authority::root("mesh");
    let trust = trust(&root, &[]);
    let api = root.with(API, |_| ());
    for (asked, said) in [
        (ASKED, Ok(())),
        ("api-2.api.shop.test.weft", Ok(())),
        ("api-1.web.shop.test.weft", Err(WrongService)),
        ("api-1.api.bank.test.weft", Err(WrongService)),
        ("api-1.shop.api.test.weft", Err(WrongService)),
        ("api-1.api.shop.elsewhere", Err(WrongTrustDomain)),
        ("api-1.api.shop.eviltest.weft", Err(WrongTrustDomain)),
        ("api.shop.test.weft", Err(NoServerName)),
        ("x.api-1.api.shop.test.weft", Err(NoServerName)),
        ("127.0.0.1", Err(WrongTrustDomain)),
    ] {
        assert_eq!(as_called(&trust, &api, asked), said, "{asked}");
    }
}
