//! Certificates and TLS settings.
//!
//! Every design has an *authority* of its own. It signs one *identity* per server, with which edges and agents
//! recognise each other (mutual TLS), and, with `certificate = "internal"`, the site's certificate. The authority's
//! key never lies on a server: whoever provisions the design keeps it.
//!
//! Invariant: every [`rustls`] configuration of Triad is made here, so there is one place where versions, suites and
//! client verification are decided.

#![forbid(unsafe_code)]

mod authority;
mod clients;
mod inspect;
mod names;
mod ocsp;
mod pseudonyms;
mod settings;
mod site;
mod tickets;

pub use authority::{Authority, Identity, KeyPair, LEAF_DAYS, days_left, internal_name};
pub use clients::{CLIENT_CERTIFICATE_BYTES_MAX, ClientAuthority, ClientRefused, client_cert_field};
pub use inspect::{Fault, Part, Weight, inspect};
pub use names::{CertificateNames, certificate_names, is_for_address, peer_server};
pub use ocsp::OCSP_BYTES_MAX;
pub use pseudonyms::{PSEUDONYM_BYTES, Pseudonym, Pseudonyms};
pub use settings::{
    ALPN_HTTP1, ALPN_HTTP2, hop_client_config, hop_server_config, mutual_client_config, mutual_server_config,
    public_client_config,
};
pub use site::{NamedPair, Shown, SiteExtras, SiteTls};

/// What can be wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Making or signing a certificate failed.
    #[error("cannot make a certificate for {subject}: {source}")]
    Issue {
        /// Who it was for.
        subject: String,
        /// What the library says.
        source: rcgen::Error,
    },
    /// A PEM text does not hold what it should.
    #[error("{what} cannot be read: {reason}; it must be PEM (-----BEGIN …)")]
    Pem {
        /// Which of the texts: `the certificate`, `the key`.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// A key does not belong to its certificate, or a certificate is unusable.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The authority cannot be used to verify clients.
    #[error("the authority cannot verify clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The authorities of clients, or their lists of revoked certificates, cannot be used.
    #[error("clients cannot be verified: {0}")]
    Clients(rustls::server::VerifierBuilderError),
}
