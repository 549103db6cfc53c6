//! The one place that says whose cryptography this is.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// AWS-LC with post-quantum key exchange, or ring where a C build is unwanted.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(choice()))
}

#[cfg(feature = "aws-lc-rs")]
fn choice() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn choice() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// A source of session tickets of its own: sessions issued under it end with it.
pub(crate) fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::Ticketer::new();
    #[cfg(not(feature = "aws-lc-rs"))]
    return rustls::crypto::ring::Ticketer::new();
}
