//! Server names of mesh connections: `<instance>.<service>.<namespace>.<trust domain>`.

use rustls_pki_types::{DnsName, ServerName};
use weft_model::name::is_label;

use super::TlsReason;

/// Which instance a server name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerName<'a> {
    /// One label.
    pub(crate) instance: &'a str,
    /// `namespace/service`
    pub(crate) service: String,
}

// === impl PeerName ===

impl<'a> PeerName<'a> {
    /// Takes a server name of that trust domain apart; the error: it is another's, or names no instance.
    pub(crate) fn parse(name: &'a str, trust_domain: &str) -> Result<Self, TlsReason> {
        let labels = name
            .strip_suffix(trust_domain)
            .and_then(|labels| labels.strip_suffix('.'))
            .ok_or(TlsReason::WrongTrustDomain)?;
        let mut labels = labels.split('.');
        let mut label = || labels.next().filter(|label| is_label(label));
        match (label(), label(), label(), labels.next()) {
            (Some(instance), Some(service), Some(namespace), None) => Ok(Self {
                instance,
                service: format!("{namespace}/{service}"),
            }),
            _ => Err(TlsReason::NoServerName),
        }
    }
}

/// The name to ask an instance for; `service` is `namespace/service`. `None`: no host name can say it.
pub(crate) fn server_name(
    instance: &str,
    service: &str,
    trust_domain: &str,
) -> Option<ServerName<'static>> {
    let (namespace, service) = service.split_once('/')?;
    if instance.contains('.') {
        return None;
    }
    let name = format!("{instance}.{service}.{namespace}.{trust_domain}");
    DnsName::try_from(name).ok().map(ServerName::DnsName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_instance_and_service_and_reads_back() {
        let name = server_name("api-1", "shop/api", "dev.weft").expect("a name");
        let text = name.to_str().into_owned();
        assert_eq!(text, "api-1.api.shop.dev.weft");
        let parsed = PeerName::parse(&text, "dev.weft").expect("an instance");
        assert_eq!(
            (parsed.instance, parsed.service.as_str()),
            ("api-1", "shop/api")
        );
    }

    #[test]
    fn names_of_other_domains_or_other_depths_name_nobody() {
        for (name, why) in [
            ("api-1.api.shop.corp", TlsReason::WrongTrustDomain),
            ("api-1.api.shop.evildev.weft", TlsReason::WrongTrustDomain),
            ("api.shop.dev.weft", TlsReason::NoServerName),
            ("x.api-1.api.shop.dev.weft", TlsReason::NoServerName),
            ("..shop.dev.weft", TlsReason::NoServerName),
            ("api_1.api.shop.dev.weft", TlsReason::NoServerName),
            ("dev.weft", TlsReason::WrongTrustDomain),
            ("", TlsReason::WrongTrustDomain),
        ] {
            assert_eq!(PeerName::parse(name, "dev.weft"), Err(why), "{name}");
        }
    }

    #[test]
    fn an_instance_cannot_smuggle_another_service_into_the_name() {
        assert_eq!(server_name("x.admin", "shop/api", "corp"), None);
    }
}
