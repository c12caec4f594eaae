//! Certificates of clients: whose are asked for, and what is told of the one that was shown.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::TlsError;
use crate::settings::{provider, roots};

/// Bytes of a client's certificate at most. It goes to the application with every request, in a field that is a third
/// longer and must fit a head.
pub const CLIENT_CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// Whose clients' certificates are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuthority {
    /// Who shows none is refused.
    pub required: bool,
    /// The authorities that sign them, PEM.
    pub authority_pem: String,
    /// What they took back, PEM.
    pub crl_pem: Option<String>,
}

impl ClientAuthority {
    /// The same for the same, and for nothing else.
    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        let crl = self.crl_pem.as_deref().unwrap_or_default();
        let whole = [self.authority_pem.as_bytes(), &[0, u8::from(self.required)], crl.as_bytes()].concat();
        digest(&SHA256, &whole).as_ref().to_vec()
    }
}

/// Verifies clients as `clients` says. A list of revoked certificates is held against the client's own certificate, not
/// against its intermediates, and counts however old it is: a list that nobody renewed must not close the site.
pub(crate) fn verifier(clients: &ClientAuthority) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&clients.authority_pem)?), provider());
    let builder = match &clients.crl_pem {
        Some(pem) => builder.with_crls(revoked(pem)?).only_check_end_entity_revocation(),
        None => builder,
    };
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(TlsError::Clients)
}

fn revoked(pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let refused = |reason| TlsError::Pem { what: "the list of revoked certificates", reason };
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| refused(error.to_string()))?;
    if lists.is_empty() {
        return Err(refused("it holds no list".to_owned()));
    }
    Ok(lists)
}

/// Why a client is refused whose certificate was verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefused {
    /// It was good when the session began that is taken up now.
    #[error("the client's certificate has ended since its session began")]
    Ended,
    /// It is longer than [`CLIENT_CERTIFICATE_BYTES_MAX`].
    #[error("the client's certificate is longer than {CLIENT_CERTIFICATE_BYTES_MAX} bytes")]
    TooLong,
}

/// The value of `Client-Cert` for a verified `chain`: the client's own certificate as a byte sequence (RFC 9440
/// section 2.2). A session that is taken up is not verified again, so whether it has ended is looked at here.
pub fn client_cert_field(chain: &[CertificateDer<'_>]) -> Result<Option<Arc<str>>, ClientRefused> {
    let Some(certificate) = chain.first() else { return Ok(None) };
    if certificate.len() > CLIENT_CERTIFICATE_BYTES_MAX {
        return Err(ClientRefused::TooLong);
    }
    let now_s = OffsetDateTime::now_utc().unix_timestamp();
    let ends_s = x509_parser::parse_x509_certificate(certificate).map(|(_, it)| it.validity().not_after.timestamp());
    if ends_s.is_ok_and(|ends_s| ends_s < now_s) {
        return Err(ClientRefused::Ended);
    }
    Ok(Some(format!(":{}:", base64(certificate)).into()))
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    /// RFC 4648 section 10.
    #[test]
    fn base64_is_what_the_rfc_says() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }
}
