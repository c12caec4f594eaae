//! The design's own certificate authority and what it signs.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use triad_model::{Secret, ServerName};

use crate::TlsError;

/// How long server and site certificates are valid, in days: browsers refuse more than 398 for public authorities,
/// and ours should not be the exception that nobody tests.
pub const LEAF_DAYS: i64 = 397;
const AUTHORITY_DAYS: i64 = 3650;
/// Clocks of a small fleet differ; a certificate is valid a little before it was made.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// The domain in which servers recognise each other; ICANN keeps `.internal` out of the public DNS for such uses.
const INTERNAL_DOMAIN: &str = "triad.internal";

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The certificate, then its intermediates.
    pub certificate_pem: String,
    /// The private key (PKCS#8).
    pub key_pem: Secret,
}

/// What a server shows to other servers, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The design's authority.
    pub authority_pem: String,
    /// This server's certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: Secret,
}

/// The name in `server`'s internal certificate.
pub fn internal_name(server: &ServerName) -> String {
    format!("{server}.{INTERNAL_DOMAIN}")
}

/// The server whose internal certificate carries `name`.
pub(crate) fn server_of_internal_name(name: &str) -> Option<ServerName> {
    ServerName::new(name.strip_suffix(INTERNAL_DOMAIN)?.strip_suffix('.')?).ok()
}

/// A design's certificate authority, with its key.
pub struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    certificate_pem: String,
}

impl Authority {
    /// Makes a new authority for the design called `design_name`.
    pub fn generate(design_name: &str) -> Result<Self, TlsError> {
        let subject = format!("Triad authority of {design_name}");
        let mut params = params(&subject, Vec::new(), AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key(&subject)?;
        let certificate =
            params.self_signed(&key).map_err(|source| TlsError::Issue { subject: subject.clone(), source })?;
        Ok(Self { certificate_pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// Takes up an authority that was made before.
    pub fn from_pem(pair: &KeyPair) -> Result<Self, TlsError> {
        let refused = |what| move |source: rcgen::Error| TlsError::Pem { what, reason: source.to_string() };
        let key = rcgen::KeyPair::from_pem(pair.key_pem.expose_secret()).map_err(refused("the authority's key"))?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate_pem, key).map_err(refused("the authority"))?;
        Ok(Self { issuer, certificate_pem: pair.certificate_pem.clone() })
    }

    /// The authority's certificate, for whoever is to trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Certificate and key, to be kept by the operator.
    pub fn key_pair(&self) -> KeyPair {
        KeyPair {
            certificate_pem: self.certificate_pem.clone(),
            key_pem: Secret::new(self.issuer.key().serialize_pem()),
        }
    }

    /// Signs `server`'s identity, good for both ends of a connection between servers.
    pub fn identity(&self, server: &ServerName) -> Result<Identity, TlsError> {
        self.identity_at(server, None)
    }

    /// The same, with the private address it has: etcd's voters believe each other only from there.
    pub fn identity_at(&self, server: &ServerName, private: Option<IpAddr>) -> Result<Identity, TlsError> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let names = [internal_name(server)].into_iter().chain(private.map(|address| address.to_string()));
        let pair = self.issue(names.collect(), usages)?;
        Ok(Identity {
            authority_pem: self.certificate_pem.clone(),
            certificate_pem: pair.certificate_pem,
            key_pem: pair.key_pem,
        })
    }

    /// Signs a certificate for the site's `hosts`.
    pub fn site(&self, hosts: &[String]) -> Result<KeyPair, TlsError> {
        self.issue(hosts.to_vec(), vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn issue(&self, names: Vec<String>, usages: Vec<ExtendedKeyUsagePurpose>) -> Result<KeyPair, TlsError> {
        let subject = names.first().cloned().unwrap_or_default();
        let mut params = params(&subject, names, LEAF_DAYS)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let key = new_key(&subject)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|source| TlsError::Issue { subject, source })?;
        Ok(KeyPair { certificate_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
    }
}

fn params(subject: &str, names: Vec<String>, days: i64) -> Result<CertificateParams, TlsError> {
    let mut params =
        CertificateParams::new(names).map_err(|source| TlsError::Issue { subject: subject.to_owned(), source })?;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + Duration::days(days);
    params.distinguished_name.push(DnType::CommonName, subject);
    Ok(params)
}

fn new_key(subject: &str) -> Result<rcgen::KeyPair, TlsError> {
    rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|source| TlsError::Issue { subject: subject.to_owned(), source })
}

/// Whole days until the first certificate in `certificate_pem` ends; negative when it has ended.
pub fn days_left(certificate_pem: &str) -> Result<i64, TlsError> {
    let refused = |reason: String| TlsError::Pem { what: "the certificate", reason };
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()).map_err(|error| refused(error.to_string()))?;
    let certificate = pem.parse_x509().map_err(|error| refused(error.to_string()))?;
    let seconds = certificate.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp();
    Ok(seconds.div_euclid(86_400))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::{is_for_address, peer_server};

    use super::{Authority, LEAF_DAYS, days_left, internal_name, server_of_internal_name};
    use triad_model::ServerName;

    #[test]
    fn an_authority_survives_being_written_down() {
        let authority = Authority::generate("test").unwrap();
        let again = Authority::from_pem(&authority.key_pair()).unwrap();
        let site = again.site(&["www.example.org".to_owned()]).unwrap();
        assert_eq!(again.certificate_pem(), authority.certificate_pem());
        let left = days_left(&site.certificate_pem).unwrap();
        assert!((LEAF_DAYS - 1..=LEAF_DAYS).contains(&left), "{left}: a second may have begun since");
    }

    #[test]
    fn an_identity_may_say_where_its_server_is() {
        let authority = Authority::generate("test").unwrap();
        let server = ServerName::new("srv2").unwrap();
        for address in ["10.0.0.2", "fd00::2"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let certificate = authority.identity_at(&server, Some(address)).unwrap().certificate_pem;
            assert!(is_for_address(&certificate, address));
            assert!(!is_for_address(&certificate, "10.0.0.3".parse().unwrap()));
            let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
            assert_eq!(peer_server(&[pem.contents.into()]), Some(server.clone()), "its name is still found");
        }
        assert!(!is_for_address(&authority.identity(&server).unwrap().certificate_pem, "10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn internal_names_lead_back_to_their_servers() {
        let server = ServerName::new("srv2").unwrap();
        assert_eq!(server_of_internal_name(&internal_name(&server)), Some(server));
        assert_eq!(server_of_internal_name("srv2.example.org"), None);
        assert_eq!(server_of_internal_name("a.b.triad.internal"), None);
    }
}
