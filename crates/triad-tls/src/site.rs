//! What HTTPS users meet: which certificate for which name, what is shown with it, and whether they must show one.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use serde::{Deserialize, Serialize};

use crate::clients::{ClientAuthority, verifier};
use crate::names::{CertificateNames, without_final_dot};
use crate::ocsp::Response;
use crate::settings::{ALPN_HTTP1, ALPN_HTTP2, certificates, key, provider};
use crate::tickets::Tickets;
use crate::{KeyPair, TlsError};

/// What HTTPS answers with beside the site's main certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteExtras {
    /// Certificates of some of the hosts.
    pub named: Vec<NamedPair>,
    /// The OCSP response for the main certificate, DER.
    pub ocsp: Option<Vec<u8>>,
    /// Whose clients' certificates are asked for.
    pub clients: Option<ClientAuthority>,
}

impl SiteExtras {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A certificate that is shown to who asks for one of these hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedPair {
    /// Lower case, without a final dot.
    pub hosts: Vec<String>,
    /// What is shown.
    pub pair: KeyPair,
    /// The OCSP response for it, DER.
    pub ocsp: Option<Vec<u8>>,
}

/// HTTPS towards users, ready to serve.
#[derive(Debug)]
pub struct SiteTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl SiteTls {
    /// TLS 1.2 and 1.3, HTTP/1.1 and, if wanted, HTTP/2, session tickets so that a returning client need not wait, in
    /// TLS 1.3 at whichever server has the same keys. A client that asks for none of the named hosts, or for none at
    /// all, gets the `main` certificate, as every other server does: a name in a handshake is a hint (RFC 6066
    /// section 3), and those who check a server by its address send none.
    pub fn new(main: &KeyPair, extras: &SiteExtras, http2: bool) -> Result<Self, TlsError> {
        let mut named = HashMap::new();
        for NamedPair { hosts, pair, ocsp } in &extras.named {
            let shown = Arc::new(Shown::new(pair, ocsp.as_deref(), false)?);
            named.extend(hosts.iter().map(|host| (host.to_ascii_lowercase(), shown.clone())));
        }
        let main_shown = Arc::new(Shown::new(main, extras.ocsp.as_deref(), true)?);
        let certificates = Arc::new(Certificates { main: main_shown, named });
        let verifier = match &extras.clients {
            Some(clients) => verifier(clients)?,
            None => Arc::new(NoClientAuth),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = [ALPN_HTTP2, ALPN_HTTP1].map(<[u8]>::to_vec).to_vec();
        config.alpn_protocols.retain(|protocol| http2 || protocol != ALPN_HTTP2);
        config.ticketer = Arc::new(Tickets::new(&ticket_secret(main, extras)?, Arc::new(DefaultTimeProvider))?);
        Ok(Self { config: Arc::new(config), certificates })
    }

    /// What connections are accepted with.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The certificate for who asks for `host`, in any case and with or without a final dot.
    pub fn shown(&self, host: Option<&str>) -> &Arc<Shown> {
        self.certificates.choose(host)
    }

    /// Whether a request for `host` may be answered on a connection that began with `shown`, perhaps before a reload:
    /// that certificate is for the host, or the host has none of its own and the client saw the main one.
    pub fn may_answer(&self, shown: &Shown, host: &[u8]) -> bool {
        shown.names.cover(host) || shown.is_main && self.has_main(host)
    }

    fn has_main(&self, host: &[u8]) -> bool {
        std::str::from_utf8(host).is_ok_and(|host| self.shown(Some(host)).is_main)
    }
}

/// Who holds one of several keys must not be able to make tickets that clients of the others would take for theirs, so
/// tickets follow from all. They follow from whom clients' certificates are asked from as well: a ticket carries who
/// the client is, and a session that is taken up is not verified again.
fn ticket_secret(main: &KeyPair, extras: &SiteExtras) -> Result<Vec<u8>, TlsError> {
    let mut secret = Vec::new();
    for pair in std::iter::once(main).chain(extras.named.iter().map(|named| &named.pair)) {
        secret.extend_from_slice(key(&pair.key_pem)?.secret_der());
    }
    secret.extend(extras.clients.iter().flat_map(ClientAuthority::fingerprint));
    Ok(secret)
}

/// A certificate as clients see it.
#[derive(Debug)]
pub struct Shown {
    names: CertificateNames,
    is_main: bool,
    key: Arc<CertifiedKey>,
    staple: Option<Staple>,
}

/// The same certificate with an OCSP response, and what of that can pass.
#[derive(Debug)]
struct Staple {
    key: Arc<CertifiedKey>,
    response: Response,
    serial: Vec<u8>,
}

impl Shown {
    fn new(pair: &KeyPair, ocsp: Option<&[u8]>, is_main: bool) -> Result<Self, TlsError> {
        let key = certified(pair)?;
        let names = key.cert.first().map(CertificateNames::of).unwrap_or_default();
        let staple = ocsp.and_then(|der| Staple::new(&key, der));
        Ok(Self { names, is_main, key: Arc::new(key), staple })
    }

    fn key_at(&self, now: Option<UnixTime>) -> &Arc<CertifiedKey> {
        let now_s = now.and_then(|now| i64::try_from(now.as_secs()).ok());
        let staple = self.staple.as_ref().zip(now_s).filter(|(staple, now_s)| staple.is_fresh(*now_s));
        staple.map_or(&self.key, |(staple, _)| &staple.key)
    }
}

impl Staple {
    /// `None` if `der` cannot be shown ever; [`crate::inspect`] says why.
    fn new(key: &CertifiedKey, der: &[u8]) -> Option<Self> {
        let response = Response::parse(der).ok()?;
        let serial = serial(key.cert.first()?)?;
        let mut key = key.clone();
        key.ocsp = Some(der.to_vec());
        Some(Self { key: Arc::new(key), response, serial })
    }

    fn is_fresh(&self, now_s: i64) -> bool {
        self.response.flaw(&self.serial, now_s).is_none()
    }
}

/// The serial number in a certificate, as DER has it.
pub(crate) fn serial(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.raw_serial().to_vec())
}

/// A chain with its key, which belongs to it.
pub(crate) fn certified(pair: &KeyPair) -> Result<CertifiedKey, TlsError> {
    Ok(CertifiedKey::from_der(certificates(&pair.certificate_pem)?, key(&pair.key_pem)?, &provider())?)
}

/// Which certificate is for whom.
#[derive(Debug)]
struct Certificates {
    main: Arc<Shown>,
    /// By host, lower case.
    named: HashMap<String, Arc<Shown>>,
}

impl Certificates {
    fn choose(&self, host: Option<&str>) -> &Arc<Shown> {
        let Some(host) = host.filter(|_| !self.named.is_empty()) else { return &self.main };
        let host = String::from_utf8_lossy(without_final_dot(host.as_bytes())).to_ascii_lowercase();
        self.named.get(&host).unwrap_or(&self.main)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()).key_at(DefaultTimeProvider.current_time()).clone())
    }
}

#[cfg(test)]
mod tests;
