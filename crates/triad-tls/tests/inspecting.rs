//! What is said of certificates that are not what they should be.

use time::{Date, Duration, OffsetDateTime};
use triad_model::Secret;
use triad_tls::{Authority, ClientAuthority, KeyPair, NamedPair, SiteExtras, client_cert_field, inspect};

const WWW: &str = "www.foobar.com";
const SHOP: &str = "shop.foobar.com";

fn site(authority: &Authority, names: &[&str]) -> KeyPair {
    authority.site(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("a pair")
}

/// A certificate that signed itself and is good from one year to another.
fn of_years(from: i32, until: i32) -> KeyPair {
    let new_year = |year| Date::from_ordinal_date(year, 1).expect("a day").midnight().assume_utc();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut params = rcgen::CertificateParams::new(vec![WWW.to_owned(), SHOP.to_owned()]).expect("names");
    (params.not_before, params.not_after) = (new_year(from), new_year(until));
    let certificate_pem = params.self_signed(&key).expect("a certificate").pem();
    KeyPair { certificate_pem, key_pem: Secret::new(key.serialize_pem()) }
}

fn said(main: Option<&KeyPair>, extras: &SiteExtras) -> String {
    let faults = inspect(&[WWW.to_owned(), SHOP.to_owned()], main, extras);
    let line = |fault: &triad_tls::Fault| {
        format!("  {:?} of {:?}, {:?}: {}\n    {}\n", fault.part, fault.of, fault.weight, fault.what, fault.help)
    };
    if faults.is_empty() { "  nothing\n".to_owned() } else { faults.iter().map(line).collect() }
}

#[test]
fn what_is_wrong_is_said_of_each_part() {
    let authority = Authority::generate("test").expect("an authority");
    let both = site(&authority, &[WWW, SHOP]);
    let plain = SiteExtras::default();
    let with = |pair: KeyPair, ocsp: Option<&[u8]>| SiteExtras {
        named: vec![NamedPair { hosts: vec![SHOP.to_owned()], pair, ocsp: ocsp.map(<[u8]>::to_vec) }],
        ..SiteExtras::default()
    };
    let other_key = KeyPair { key_pem: site(&authority, &[WWW]).key_pem, ..both.clone() };
    let chained = |other: &str| KeyPair { certificate_pem: both.certificate_pem.clone() + other, ..both.clone() };
    let not_pem = KeyPair { certificate_pem: "MIIB".to_owned(), key_pem: Secret::new("MIIB") };
    let clients = ClientAuthority { required: true, authority_pem: String::new(), crl_pem: None };
    let crl_pem = Some(authority.certificate_pem().to_owned());
    let listed = ClientAuthority { required: true, authority_pem: authority.certificate_pem().to_owned(), crl_pem };
    let listing = SiteExtras { clients: Some(listed), ..SiteExtras::default() };
    let asking = SiteExtras { clients: Some(clients), ..SiteExtras::default() };
    let cases = [
        ("for both hosts", said(Some(&both), &plain)),
        ("a wildcard", said(Some(&site(&authority, &["*.foobar.com"])), &plain)),
        ("with its authority", said(Some(&chained(authority.certificate_pem())), &plain)),
        ("one each", said(Some(&site(&authority, &[WWW])), &with(site(&authority, &[SHOP]), None))),
        ("of the authority's own, and one", said(None, &with(site(&authority, &[SHOP]), None))),
        ("for one of two hosts", said(Some(&site(&authority, &[WWW])), &plain)),
        ("named, for another host", said(Some(&both), &with(site(&authority, &[WWW]), None))),
        ("another's key", said(Some(&other_key), &plain)),
        ("no PEM", said(Some(&not_pem), &plain)),
        ("chain out of order", said(Some(&chained(&site(&authority, &[WWW]).certificate_pem)), &plain)),
        ("ended", said(Some(&of_years(2020, 2021)), &plain)),
        ("not begun", said(Some(&of_years(2090, 2091)), &plain)),
        ("a response that is none", said(None, &with(site(&authority, &[SHOP]), Some(b"-----BEGIN")))),
        ("no authority of clients", said(Some(&both), &asking)),
        ("no list of revoked ones", said(Some(&both), &listing)),
    ];
    let printed: String = cases.iter().map(|(name, said)| format!("{name}\n{said}")).collect();
    triad_golden::compare("tests/golden/inspected.txt", &printed);
}

#[test]
fn a_clients_certificate_that_ended_since_its_session_began_is_refused() {
    let field = |pair: KeyPair| {
        use rustls::pki_types::pem::PemObject;
        let chain = rustls::pki_types::CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes());
        client_cert_field(&[chain.expect("a certificate")]).map(|field| field.is_some())
    };
    let year = (OffsetDateTime::now_utc() + Duration::days(366)).year();
    assert_eq!(field(of_years(2020, year)), Ok(true));
    assert_eq!(field(of_years(2020, 2021)), Err(triad_tls::ClientRefused::Ended));
    assert_eq!(client_cert_field(&[]), Ok(None));
}
