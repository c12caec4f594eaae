//! Which hosts a certificate is for.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use triad_model::ServerName;
use x509_parser::extensions::GeneralName;

use crate::authority::server_of_internal_name;

/// The DNS names of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames(Box<[Box<str>]>);

impl CertificateNames {
    /// Of `certificate`; none if it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(certificate_names(certificate).into_iter().map(String::into_boxed_str).collect())
    }

    /// Whether it is for `host`, in any case and with or without a final dot. `*` stands for one whole label, the first
    /// (RFC 9525 section 6.3).
    pub fn cover(&self, host: &[u8]) -> bool {
        let host = without_final_dot(host);
        let parent = host.iter().position(|byte| *byte == b'.').filter(|dot| *dot > 0).map(|dot| &host[dot..]);
        self.0.iter().any(|name| match (name.strip_prefix('*'), parent) {
            (Some(below), Some(parent)) => below.as_bytes().eq_ignore_ascii_case(parent),
            (Some(_), None) => false,
            (None, _) => name.as_bytes().eq_ignore_ascii_case(host),
        })
    }

    /// The names, in the certificate's order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

/// `host` without the dot that ends an absolute name.
pub(crate) fn without_final_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

/// The DNS names that `certificate` is for; none if it cannot be read.
pub fn certificate_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let names = |certificate: &CertificateDer<'_>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??.value.general_names.iter();
        Some(names.filter_map(dns_name).map(str::to_owned).collect())
    };
    names(certificate).unwrap_or_default()
}

fn dns_name<'n>(name: &'n GeneralName<'_>) -> Option<&'n str> {
    match name {
        GeneralName::DNSName(name) => Some(name),
        _ => None,
    }
}

/// Whether `certificate_pem` says that it is for `address`; not, if it cannot be read.
pub fn is_for_address(certificate_pem: &str, address: IpAddr) -> bool {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let is_for = || {
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let names = certificate.subject_alternative_name().ok()??.value.general_names.iter();
        Some({ names }.any(|name| matches!(name, GeneralName::IPAddress(named) if *named == octets)))
    };
    is_for().unwrap_or(false)
}

/// The server that a peer's verified certificate belongs to.
pub fn peer_server(certificates: &[CertificateDer<'_>]) -> Option<ServerName> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificates.first()?).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().filter_map(dns_name).find_map(server_of_internal_name)
}

#[cfg(test)]
mod tests {
    use super::CertificateNames;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names = CertificateNames(["www.foobar.com", "*.shop.foobar.com"].map(Box::from).into());
        for host in ["www.foobar.com", "WWW.FooBar.com", "www.foobar.com.", "a.shop.foobar.com", "A.SHOP.foobar.com."] {
            assert!(names.cover(host.as_bytes()), "{host}");
        }
        for host in ["foobar.com", "shop.foobar.com", ".shop.foobar.com", "a.b.shop.foobar.com", "", ".", "com"] {
            assert!(!names.cover(host.as_bytes()), "{host}");
        }
    }
}
