//! A collector of spans: OTLP over HTTP/1.1 (`POST /v1/traces`, protobuf), in plain or over TLS.
//!
//! How it fails: what may be tried again (as OTLP says: 429, 502, 503 and 504, and where no answer came) is told from what
//! may not.

use std::io;
use std::path::Path;
use std::sync::Arc;

use prost::Message;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use weft_http1::{Framing, Limits, Method, ResponseDecoder, ResponseHead, Step, encode};

use super::otlp::Exported;
use crate::tls::provider;

/// Where spans go.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    host: String,
    port: u16,
    path: String,
    secure: bool,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// How a batch fared.
pub(super) enum Sent {
    Taken,
    Again(String),
    Refused(String),
}

/// An answer is read up to here.
const LONGEST: usize = 64 * 1024;

/// Where systems keep whom they trust: Debian and others, Fedora, SUSE, Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

// === impl Collector ===

impl Collector {
    /// From `http://host:port/path` or the same with https; the error says what is wrong with it.
    pub(super) fn parse(endpoint: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("traces.endpoint = {endpoint:?}: {why}"));
        let (secure, rest) = match (
            endpoint.strip_prefix("http://"),
            endpoint.strip_prefix("https://"),
        ) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return wrong("expected http:// or https://"),
        };
        let (authority, path) = rest
            .find('/')
            .map_or((rest, "/v1/traces"), |at| rest.split_at(at));
        let good = |byte: u8| byte.is_ascii_graphic();
        let Some((host, port)) = authority.rsplit_once(':') else {
            return wrong("expected a port, such as 4318");
        };
        let Ok(port) = port.parse() else {
            return wrong("expected a port, such as 4318");
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || !host.bytes().all(good) || !path.bytes().all(good) {
            return wrong("expected http://host:port/path");
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            secure,
            tls: None,
        })
    }

    /// Whether it is spoken to over TLS.
    pub(super) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Which one, in a log.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Believes one over https whose certificate comes from these, or from those the system trusts.
    pub(super) fn trust(&mut self, ca_file: Option<&Path>) -> io::Result<()> {
        if !self.secure {
            return Ok(());
        }
        let system = || {
            let found = SYSTEM.iter().map(Path::new).find(|path| path.exists());
            found.ok_or_else(|| io::Error::other("traces.ca_file: this system has none of its own"))
        };
        let path = ca_file.map_or_else(system, Ok)?;
        let wrong =
            |why: String| io::Error::other(format!("traces.ca_file {}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| wrong(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        self.tls = Some((Arc::new(config), name));
        Ok(())
    }

    /// Hands a batch over.
    pub(super) async fn send(&self, body: &[u8]) -> io::Result<Sent> {
        let mut stream = TcpStream::connect((&*self.host, self.port)).await?;
        let Some((config, name)) = &self.tls else {
            return self.exchange(&mut stream, body).await;
        };
        let connector = TlsConnector::from(Arc::clone(config));
        match connector.connect(name.clone(), stream).await {
            Ok(mut stream) => self.exchange(&mut stream, body).await,
            // Nobody vouches for it, or it speaks no TLS: in a second it will be the same.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Sent::Refused(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    async fn exchange(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        body: &[u8],
    ) -> io::Result<Sent> {
        let mut out = Vec::with_capacity(body.len() + 256);
        let host = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        encode::request_line(&mut out, b"POST", self.path.as_bytes());
        encode::field(&mut out, b"host", host.as_bytes());
        encode::field(&mut out, b"content-type", b"application/x-protobuf");
        encode::field(
            &mut out,
            b"user-agent",
            concat!("weft-engine/", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        encode::field(&mut out, b"connection", b"close");
        encode::framing(&mut out, Framing::Length(body.len() as u64));
        encode::end(&mut out);
        out.extend_from_slice(body);
        stream.write_all(&out).await?;
        stream.flush().await?;
        let (status, answer) = read(stream).await?;
        Ok(match status {
            200..=299 => match Exported::decode(&*answer) {
                Ok(Exported {
                    partial_success: Some(part),
                }) if part.rejected_spans > 0 => Sent::Refused(format!(
                    "{} spans refused: {}",
                    part.rejected_spans, part.error_message
                )),
                _ => Sent::Taken,
            },
            429 | 502..=504 => Sent::Again(format!("answered {status}")),
            _ => Sent::Refused(format!("answered {status}")),
        })
    }
}

/// Status and body of an answer.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u16, Vec<u8>)> {
    let mut decoder = ResponseDecoder::new(Limits::RESPONSE);
    decoder.expect(Method::Post, false);
    let mut head = ResponseHead::new();
    let (mut bytes, mut body, mut at) = (Vec::new(), Vec::new(), 0);
    let bad = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    loop {
        let (taken, step) = decoder.feed(&bytes[at..], &mut head);
        match step {
            Step::Data(range) => body.extend_from_slice(&bytes[at + range.start..at + range.end]),
            Step::End => return Ok((head.status(), body)),
            Step::Bad(reject) => return Err(bad(reject.text())),
            Step::Head | Step::Trailers => {}
            Step::Need => {
                at += taken;
                if bytes.len() > LONGEST {
                    return Err(bad("an answer that is too long"));
                }
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk).await? {
                    // A body may end with the connection.
                    0 if head.status() >= 200 => return Ok((head.status(), body)),
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => bytes.extend_from_slice(&chunk[..count]),
                }
                continue;
            }
        }
        at += taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_or_refused_by_name() {
        let parse = |text| {
            let parsed = Collector::parse(text);
            parsed.map(|one| (one.secure, one.host, one.port, one.path))
        };
        let made =
            |host: &str, port, path: &str| Ok((false, host.to_owned(), port, path.to_owned()));
        assert_eq!(
            parse("http://127.0.0.1:4318/v1/traces"),
            made("127.0.0.1", 4318, "/v1/traces")
        );
        assert_eq!(parse("http://[::1]:4318"), made("::1", 4318, "/v1/traces"));
        assert_eq!(
            parse("https://otel.corp:4318"),
            Ok((true, "otel.corp".to_owned(), 4318, "/v1/traces".to_owned()))
        );
        for bad in [
            "ftp://x:1/",
            "https://x",
            "http://x",
            "http://:4318",
            "http://x:a/",
            "127.0.0.1:4318",
            "http://x:1/a b",
        ] {
            assert!(
                parse(bad).is_err_and(|why| why.contains("traces.endpoint")),
                "{bad}"
            );
        }
    }

    #[test]
    fn whom_to_believe_is_read_at_the_start_or_said_to_be_missing() {
        let trust = |endpoint: &str, path: &str| {
            let mut collector = Collector::parse(endpoint).expect("an endpoint");
            collector.trust(Some(Path::new(path)))
        };
        let refused = |path| trust("https://x:1", path).expect_err("refused").to_string();
        assert!(refused("/dev/null/none").contains("/dev/null/none"));
        assert!(refused("/dev/null").contains("no certificate"));
        assert!(trust("http://x:1", "/dev/null/none").is_ok());
    }
}
