//! What is wrong with the certificates of a site, before anything is served with them.

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;

use crate::clients::{ClientAuthority, verifier};
use crate::names::CertificateNames;
use crate::ocsp::{Flaw, Response};
use crate::settings::certificates;
use crate::site::{certified, serial};
use crate::{KeyPair, SiteExtras, TlsError};

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which of the named certificates it is about; `None`: the main one, or all.
    pub of: Option<usize>,
    /// Which of its parts.
    pub part: Part,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub help: &'static str,
    /// How bad it is.
    pub weight: Weight,
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It cannot be served with, or never should.
    Unusable,
    /// It can be served with, and clients will complain.
    Usable,
    /// Something beside it is left out meanwhile.
    LeftOut,
}

/// A part of what a certificate is given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The chain.
    Certificate,
    /// The private key.
    Key,
    /// The OCSP response.
    Ocsp,
    /// The authorities of clients.
    ClientAuthority,
    /// The lists of what they took back.
    ClientCrl,
}

/// Everything wrong with what a site for `hosts` shows: `main`, if it is known here, and what is beside it.
pub fn inspect(hosts: &[String], main: Option<&KeyPair>, extras: &SiteExtras) -> Vec<Fault> {
    let now_s = OffsetDateTime::now_utc().unix_timestamp();
    let mut faults = Vec::new();
    if let Some(pair) = main {
        let is_named = |host: &&String| extras.named.iter().any(|named| named.hosts.contains(host));
        let rest: Vec<&String> = hosts.iter().filter(|host| !is_named(host)).collect();
        Inspection { of: None, now_s, faults: &mut faults }.pair(pair, &rest, extras.ocsp.as_deref());
    }
    for (number, named) in extras.named.iter().enumerate() {
        let hosts: Vec<&String> = named.hosts.iter().collect();
        Inspection { of: Some(number), now_s, faults: &mut faults }.pair(&named.pair, &hosts, named.ocsp.as_deref());
    }
    if let Some(clients) = &extras.clients {
        Inspection { of: None, now_s, faults: &mut faults }.clients(clients);
    }
    faults
}

/// Of one certificate.
struct Inspection<'f> {
    of: Option<usize>,
    now_s: i64,
    faults: &'f mut Vec<Fault>,
}

impl Inspection<'_> {
    fn add(&mut self, part: Part, what: String, help: &'static str) {
        self.faults.push(Fault { of: self.of, part, what, help, weight: Weight::Unusable });
    }

    fn add_usable(&mut self, part: Part, what: String, help: &'static str) {
        self.faults.push(Fault { of: self.of, part, what, help, weight: Weight::Usable });
    }

    fn pair(&mut self, pair: &KeyPair, hosts: &[&String], ocsp: Option<&[u8]>) {
        let chain = match certificates(&pair.certificate_pem) {
            Ok(chain) => chain,
            Err(error) => {
                return self.add(
                    Part::Certificate,
                    error.to_string(),
                    "write a PEM file: the certificate, then its intermediates",
                );
            }
        };
        self.key(pair);
        self.chain(&chain, hosts);
        if let Some(der) = ocsp {
            self.ocsp(&chain, der);
        }
    }

    fn clients(&mut self, clients: &ClientAuthority) {
        let without_list = ClientAuthority { crl_pem: None, ..clients.clone() };
        if let Err(error) = verifier(&without_list) {
            self.add(Part::ClientAuthority, error.to_string(), "write a PEM file with the authorities' certificates");
        } else if let Err(error) = verifier(clients) {
            let help = "write a PEM file with lists of version 2 that have a number and name their signer's key";
            self.add(Part::ClientCrl, error.to_string(), help);
        }
    }

    fn key(&mut self, pair: &KeyPair) {
        match certified(pair) {
            Ok(_) => {}
            Err(TlsError::Unusable(rustls::Error::InconsistentKeys(_))) => {
                let what = "the key does not belong to the certificate".to_owned();
                self.add(Part::Key, what, "write the key that the certificate was made for");
            }
            Err(error) => {
                self.add(Part::Key, error.to_string(), "write a PEM file with the private key, without a password");
            }
        }
    }

    fn chain(&mut self, chain: &[CertificateDer<'_>], hosts: &[&String]) {
        let parsed: Vec<X509Certificate<'_>> =
            chain.iter().map_while(|der| x509_parser::parse_x509_certificate(der).ok()).map(|(_, it)| it).collect();
        let (Some(leaf), true) = (parsed.first(), parsed.len() == chain.len()) else {
            let what = "the file holds something that is no X.509 certificate".to_owned();
            return self.add(Part::Certificate, what, "write a PEM file: the certificate, then its intermediates");
        };
        self.validity(leaf);
        self.hosts(&CertificateNames::of(&chain[0]), hosts);
        if parsed.windows(2).any(|pair| pair[0].issuer().as_raw() != pair[1].subject().as_raw()) {
            let what = "the certificates of the chain are not in order: each must be signed by the next".to_owned();
            self.add_usable(
                Part::Certificate,
                what,
                "write the site's certificate first, then who signed it, and so on",
            );
        }
    }

    fn hosts(&mut self, names: &CertificateNames, hosts: &[&String]) {
        let missing: Vec<&str> =
            hosts.iter().filter(|host| !names.cover(host.as_bytes())).map(|host| host.as_str()).collect();
        if !missing.is_empty() {
            let names: Vec<&str> = names.iter().collect();
            let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
            let what = format!("the certificate is for {names}; it is not for {}", missing.join(", "));
            self.add(Part::Certificate, what, "have one made for all of them, or give them one under tls.certificates");
        }
    }

    fn validity(&mut self, leaf: &X509Certificate<'_>) {
        let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
        let day = |time: x509_parser::time::ASN1Time| time.to_datetime().date().to_string();
        if until.timestamp() < self.now_s {
            let what = format!("the certificate ended on {}", day(until));
            self.add_usable(Part::Certificate, what, "renew it: browsers let nobody past it");
        } else if from.timestamp() > self.now_s {
            let what = format!("the certificate is not valid before {}", day(from));
            self.add_usable(Part::Certificate, what, "wait, or look at this machine's clock");
        }
    }

    fn ocsp(&mut self, chain: &[CertificateDer<'_>], der: &[u8]) {
        let serial = chain.first().and_then(|leaf| serial(leaf)).unwrap_or_default();
        let help = "fetch it anew from the authority, in DER, before its nextUpdate";
        let (weight, what) = match Response::parse(der) {
            Ok(response) => match response.flaw(&serial, self.now_s) {
                Some(flaw) => (flaw.weight(), format!("the OCSP response is not shown: {flaw}")),
                None => return,
            },
            Err(what) => (Weight::Usable, format!("the OCSP response cannot be read: {what}")),
        };
        self.faults.push(Fault { of: self.of, part: Part::Ocsp, what, help, weight });
    }
}

impl Flaw {
    /// Being late is no mistake in a file.
    fn weight(self) -> Weight {
        match self {
            Flaw::Stale | Flaw::Early => Weight::LeftOut,
            Flaw::Another | Flaw::NotGood => Weight::Usable,
        }
    }
}
