//! The TLS configurations between servers, both ends, and that of a client of the site.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use triad_model::Secret;

use crate::{Identity, TlsError};

/// HTTP/2 as the ends of a connection agree on it (RFC 9113 §3.2).
pub const ALPN_HTTP2: &[u8] = b"h2";
/// HTTP/1.1 as the ends of a connection agree on it (RFC 7301 §6).
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The accepting end between edges: as [`mutual_server_config`], HTTP/2 for whoever asks for it.
pub fn hop_server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::clone(&*mutual_server_config(identity)?);
    config.alpn_protocols = [ALPN_HTTP2, ALPN_HTTP1].map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// The opening end between edges, if HTTP/2 is wanted: as [`mutual_client_config`]. An older edge has no word for it, and
/// speaks HTTP/1.1.
pub fn hop_client_config(identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::clone(&*mutual_client_config(identity)?);
    config.alpn_protocols = [ALPN_HTTP2, ALPN_HTTP1].map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// The accepting end between servers: TLS 1.3 only, and only for clients that the design's authority signed.
pub fn mutual_server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&identity.authority_pem)?), provider()).build()?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&identity.certificate_pem)?, key(&identity.key_pem)?)?;
    Ok(Arc::new(config))
}

/// The opening end between servers; the peer must show the certificate of [`crate::internal_name`].
pub fn mutual_client_config(identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(&identity.authority_pem)?)
        .with_client_auth_cert(certificates(&identity.certificate_pem)?, key(&identity.key_pem)?)?;
    Ok(Arc::new(config))
}

/// What a user of the site has: TLS 1.2 and 1.3, no certificate of their own, trust in the authority alone.
pub fn public_client_config(authority_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots(authority_pem)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn roots(authority_pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority_pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = |reason| TlsError::Pem { what: "the certificate", reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| refused(error.to_string()))?;
    if chain.is_empty() {
        return Err(refused("it holds no certificate".to_owned()));
    }
    Ok(chain)
}

pub(crate) fn key(pem: &Secret) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
        .map_err(|error| TlsError::Pem { what: "the key", reason: error.to_string() })
}

#[cfg(test)]
pub(crate) mod tests {
    use rustls::pki_types::ServerName as DnsName;
    use rustls::{ClientConnection, Connection, RootCertStore, ServerConnection};
    use triad_model::{Secret, ServerName};

    use super::{mutual_client_config, mutual_server_config, public_client_config};
    use crate::{Authority, KeyPair, SiteExtras, SiteTls, TlsError, internal_name, peer_server};

    pub(crate) fn roots_of(authority: &Authority) -> RootCertStore {
        super::roots(authority.certificate_pem()).unwrap()
    }

    fn server(name: &str) -> ServerName {
        ServerName::new(name).unwrap()
    }

    /// Carries bytes between both ends until neither has anything to say.
    pub(crate) fn shake_hands(client: &mut Connection, server: &mut Connection) -> Result<(), rustls::Error> {
        for _ in 0..8 {
            carry(client, server)?;
            carry(server, client)?;
        }
        Ok(())
    }

    fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
        let mut wire = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    fn meet(ours: &Authority, theirs: &Authority, name: &str) -> Result<Option<ServerName>, rustls::Error> {
        let accepting = mutual_server_config(&ours.identity(&server("srv2")).unwrap()).unwrap();
        let opening = mutual_client_config(&theirs.identity(&server("srv1")).unwrap()).unwrap();
        let name = DnsName::try_from(name.to_owned()).unwrap();
        let mut client: Connection = ClientConnection::new(opening, name).unwrap().into();
        let mut server: Connection = ServerConnection::new(accepting).unwrap().into();
        shake_hands(&mut client, &mut server)?;
        Ok(server.peer_certificates().and_then(peer_server))
    }

    #[test]
    fn servers_of_one_design_recognise_each_other() {
        let authority = Authority::generate("test").unwrap();
        let seen = meet(&authority, &authority, &internal_name(&server("srv2"))).unwrap();
        assert_eq!(seen, Some(server("srv1")));
    }

    #[test]
    fn a_stranger_or_a_wrong_server_is_refused() {
        let ours = Authority::generate("ours").unwrap();
        let theirs = Authority::generate("theirs").unwrap();
        assert!(meet(&ours, &theirs, &internal_name(&server("srv2"))).is_err());
        assert!(meet(&ours, &ours, &internal_name(&server("srv3"))).is_err());
    }

    #[test]
    fn a_user_trusts_the_sites_authority_and_no_other() {
        let ours = Authority::generate("ours").unwrap();
        let theirs = Authority::generate("theirs").unwrap();
        let host = "www.example.org";
        let visit = |trusted: &Authority| {
            let pair = ours.site(&[host.to_owned()]).unwrap();
            let site = SiteTls::new(&pair, &SiteExtras::default(), true).unwrap().config().clone();
            let user = public_client_config(trusted.certificate_pem()).unwrap();
            let mut client: Connection = ClientConnection::new(user, DnsName::try_from(host).unwrap()).unwrap().into();
            let mut server: Connection = ServerConnection::new(site).unwrap().into();
            shake_hands(&mut client, &mut server)
        };
        assert_eq!(visit(&ours), Ok(()));
        assert!(visit(&theirs).is_err());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let authority = Authority::generate("test").unwrap();
        let [one, two] = [0, 1].map(|_| authority.site(&["example.org".to_owned()]).unwrap());
        let mixed = KeyPair { certificate_pem: one.certificate_pem, key_pem: two.key_pem };
        let site = |pair| SiteTls::new(pair, &SiteExtras::default(), true);
        assert!(matches!(site(&mixed), Err(TlsError::Unusable(_))));
        let broken = KeyPair { certificate_pem: "x".to_owned(), key_pem: Secret::new("y") };
        assert!(matches!(site(&broken), Err(TlsError::Pem { .. })));
    }
}
