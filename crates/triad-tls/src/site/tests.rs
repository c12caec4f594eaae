//! Real handshakes, in memory.

use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName as DnsName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, HandshakeKind, ServerConnection,
    SignatureScheme,
};
use time::{Duration, OffsetDateTime};
use triad_model::ServerName;

use super::{NamedPair, SiteExtras, SiteTls, certified, serial};
use crate::ocsp::tests::response;
use crate::settings::provider;
use crate::settings::tests::{roots_of, shake_hands};
use crate::{Authority, ClientAuthority, Identity, KeyPair, client_cert_field};

const HOST: &str = "www.example.org";
const SHOP: &str = "shop.example.org";
const GOOD: u8 = 0x80;

fn named(authority: &Authority, host: &str) -> NamedPair {
    NamedPair { hosts: vec![host.to_owned()], pair: authority.site(&[host.to_owned()]).unwrap(), ocsp: None }
}

fn main_pair(authority: &Authority) -> KeyPair {
    authority.site(&[HOST.to_owned()]).unwrap()
}

/// What a client found out about a server.
#[derive(Debug, Default)]
struct Seen {
    certificate: Vec<u8>,
    ocsp: Vec<u8>,
}

/// Notes what is shown and believes it if it is the authority's; the name is not compared.
#[derive(Debug)]
struct Notes {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Seen>,
}

impl ServerCertVerifier for Notes {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &DnsName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap() = Seen { certificate: certificate.to_vec(), ocsp: ocsp.to_vec() };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What is shown to a client that asks for `host`; with `None`, for nothing.
fn seen(site: &SiteTls, authority: &Authority, host: Option<&str>) -> Seen {
    let roots = Arc::new(roots_of(authority));
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().unwrap();
    let notes = Arc::new(Notes { inner, seen: Mutex::default() });
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(notes.clone());
    let mut config = builder.with_no_client_auth();
    config.enable_sni = host.is_some();
    let name = DnsName::try_from(host.unwrap_or(HOST).to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap().into();
    let mut server = ServerConnection::new(site.config().clone()).unwrap().into();
    shake_hands(&mut client, &mut server).unwrap();
    std::mem::take(&mut notes.seen.lock().unwrap())
}

fn leaf(pair: &KeyPair) -> Vec<u8> {
    certified(pair).unwrap().cert[0].to_vec()
}

#[test]
fn a_client_sees_the_certificate_of_the_name_it_asks_for_or_the_main_one() {
    let authority = Authority::generate("test").unwrap();
    let (main, shop) = (main_pair(&authority), named(&authority, SHOP));
    let extras = SiteExtras { named: vec![shop.clone()], ..SiteExtras::default() };
    let site = SiteTls::new(&main, &extras, true).unwrap();
    let shown = |host| seen(&site, &authority, host).certificate;
    for host in [SHOP, "SHOP.Example.ORG", "shop.example.org."] {
        assert!(shown(Some(host)) == leaf(&shop.pair), "{host}");
    }
    for host in [Some(HOST), Some("a.shop.example.org"), Some("elsewhere.example"), None] {
        assert!(shown(host) == leaf(&main), "{host:?}");
    }
}

#[test]
fn a_connection_is_for_hosts_of_the_certificate_it_began_with() {
    let authority = Authority::generate("test").unwrap();
    let both = NamedPair { hosts: vec![SHOP.to_owned()], ..named(&authority, "*.example.org") };
    let extras = SiteExtras { named: vec![both], ..SiteExtras::default() };
    let site = SiteTls::new(&main_pair(&authority), &extras, true).unwrap();
    let may = |began_with: Option<&str>, host: &str| site.may_answer(site.shown(began_with), host.as_bytes());
    assert!(may(Some(HOST), HOST) && may(None, HOST) && may(Some(SHOP), SHOP));
    assert!(may(Some(SHOP), HOST), "its certificate is for both");
    assert!(!may(Some(HOST), SHOP) && !may(None, SHOP));
    assert!(may(Some(HOST), "new.example.com"), "nothing better could have been shown");
    assert!(!may(Some(SHOP), "new.example.com"));
    let renewed = SiteTls::new(&main_pair(&authority), &SiteExtras::default(), true).unwrap();
    assert!(renewed.may_answer(site.shown(None), HOST.as_bytes()), "begun before a reload");
}

#[test]
fn a_response_is_stapled_while_it_is_fresh_and_for_this_certificate() {
    let authority = Authority::generate("test").unwrap();
    let main = main_pair(&authority);
    let time = |from_now: Duration| {
        let time = OffsetDateTime::now_utc() + from_now;
        let (date, (hour, minute, second)) = (time.date(), time.to_hms());
        format!("{}{hour:02}{minute:02}{second:02}Z", date.to_string().replace('-', ""))
    };
    let ours = serial(&leaf(&main)).unwrap();
    let stapled = |serial: &[u8], from: Duration, until: Duration| {
        let der = response(serial, GOOD, &time(from), Some(&time(until)));
        let extras = SiteExtras { ocsp: Some(der.clone()), ..SiteExtras::default() };
        let seen = seen(&SiteTls::new(&main, &extras, true).unwrap(), &authority, Some(HOST)).ocsp;
        assert!(seen.is_empty() || seen == der);
        !seen.is_empty()
    };
    assert!(stapled(&ours, -Duration::DAY, Duration::DAY));
    assert!(!stapled(&ours, -Duration::DAY, -Duration::HOUR), "stale");
    assert!(!stapled(&ours, Duration::HOUR, Duration::DAY), "not yet");
    assert!(!stapled(&[1], -Duration::DAY, Duration::DAY), "of another certificate");
    let nonsense = SiteExtras { ocsp: Some(b"-----BEGIN".to_vec()), ..SiteExtras::default() };
    assert!(seen(&SiteTls::new(&main, &nonsense, true).unwrap(), &authority, None).ocsp.is_empty());
}

/// A site that asks for certificates of `clients`.
fn asking(main: &KeyPair, clients: &Authority, required: bool, crl_pem: Option<String>) -> SiteTls {
    let clients = ClientAuthority { required, authority_pem: clients.certificate_pem().to_owned(), crl_pem };
    SiteTls::new(main, &SiteExtras { clients: Some(clients), ..SiteExtras::default() }, true).unwrap()
}

fn identity(clients: &Authority, name: &str) -> Identity {
    clients.identity(&ServerName::new(name).unwrap()).unwrap()
}

/// A user that remembers sessions, and shows `identity` to who asks.
fn user(
    authority: &Authority,
    identity: Option<&Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots_of(authority)).with_no_client_auth();
    if let Some(Identity { certificate_pem, key_pem, .. }) = identity {
        let pair = KeyPair { certificate_pem: certificate_pem.clone(), key_pem: key_pem.clone() };
        config.client_auth_cert_resolver = Arc::new(Shows(Arc::new(certified(&pair).unwrap())));
    }
    Arc::new(config)
}

#[derive(Debug)]
struct Shows(Arc<rustls::sign::CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// How `site` meets a user, and what it tells the application.
fn visit(user: &Arc<ClientConfig>, site: &SiteTls) -> Result<(HandshakeKind, Option<Arc<str>>), Error> {
    let mut client: Connection = ClientConnection::new(user.clone(), DnsName::try_from(HOST).unwrap()).unwrap().into();
    let mut server: Connection = ServerConnection::new(site.config().clone()).unwrap().into();
    shake_hands(&mut client, &mut server)?;
    let told = client_cert_field(server.peer_certificates().unwrap_or_default()).unwrap();
    Ok((server.handshake_kind().unwrap(), told))
}

#[test]
fn clients_are_asked_as_the_file_says() {
    let authority = Authority::generate("test").unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::generate(name).unwrap());
    let main = main_pair(&authority);
    let (known, strange) = (identity(&ours, "known"), identity(&theirs, "strange"));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let told = |identity, required| {
            let met = visit(&user(&authority, identity, version), &asking(&main, &ours, required, None));
            met.map(|(_, told)| told)
        };
        assert!(told(Some(&known), true).unwrap().is_some_and(|told| told.starts_with(":MII") && told.ends_with(':')));
        assert_eq!(told(None, false), Ok(None));
        assert!(told(Some(&known), false).unwrap().is_some());
        assert!(told(None, true).is_err());
        assert!(told(Some(&strange), true).is_err());
        assert!(told(Some(&strange), false).is_err(), "a wrong one is worse than none");
    }
}

#[test]
fn a_client_that_comes_back_is_who_it_was() {
    let authority = Authority::generate("test").unwrap();
    let clients = Authority::generate("clients").unwrap();
    let main = main_pair(&authority);
    let site = asking(&main, &clients, true, None);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let user = user(&authority, Some(&identity(&clients, "known")), version);
        let (first, told) = visit(&user, &site).unwrap();
        let (second, told_again) = visit(&user, &site).unwrap();
        assert_eq!((first, second), (HandshakeKind::Full, HandshakeKind::Resumed));
        assert!(told.is_some() && told == told_again);
    }
}

/// A session that is taken up is not verified again, so it must not outlive what it was verified with.
#[test]
fn no_ticket_gets_past_another_rule() {
    let authority = Authority::generate("test").unwrap();
    let clients = Authority::generate("clients").unwrap();
    let main = main_pair(&authority);
    let known = identity(&clients, "known");
    let plain = SiteTls::new(&main, &SiteExtras::default(), true).unwrap();
    let optional = asking(&main, &clients, false, None);
    let required = asking(&main, &clients, true, None);
    let others = asking(&main, &Authority::generate("others").unwrap(), true, None);
    let nobody = user(&authority, None, &rustls::version::TLS13);
    for open in [&plain, &optional] {
        assert_eq!(visit(&nobody, open).unwrap().0, HandshakeKind::Full);
        assert!(visit(&nobody, &required).is_err(), "it never showed one");
    }
    let somebody = user(&authority, Some(&known), &rustls::version::TLS13);
    assert!(visit(&somebody, &required).is_ok());
    assert!(visit(&somebody, &others).is_err(), "its authority is not believed any more");
    assert!(visit(&somebody, &required).is_ok());
    assert_eq!(visit(&somebody, &optional).unwrap().0, HandshakeKind::Full);
}

#[test]
fn who_is_on_the_list_is_refused_and_its_session_ends_with_the_lists_renewal() {
    let authority = Authority::generate("test").unwrap();
    let clients = Authority::generate("clients").unwrap();
    let main = main_pair(&authority);
    let known = identity(&clients, "known");
    let certificate =
        certified(&KeyPair { certificate_pem: known.certificate_pem.clone(), key_pem: known.key_pem.clone() });
    let on_the_list = serial(&certificate.unwrap().cert[0]).unwrap();
    let [empty, full] = [None, Some(on_the_list)].map(|serial| Some(crl(&clients, serial)));
    let user = user(&authority, Some(&known), &rustls::version::TLS13);
    let before = asking(&main, &clients, true, empty);
    assert!(visit(&user, &before).is_ok());
    assert_eq!(visit(&user, &before).unwrap().0, HandshakeKind::Resumed);
    assert!(visit(&user, &asking(&main, &clients, true, full)).is_err());
}

/// A list that `clients` signed, with one certificate on it or none.
fn crl(clients: &Authority, serial: Option<Vec<u8>>) -> String {
    let pair = clients.key_pair();
    let key = rcgen::KeyPair::from_pem(pair.key_pem.expose_secret()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&pair.certificate_pem, key).unwrap();
    let now = OffsetDateTime::now_utc();
    let revoked = |serial: Vec<u8>| rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(&serial),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    };
    let params = rcgen::CertificateRevocationListParams {
        this_update: now - Duration::HOUR,
        next_update: now + Duration::DAY,
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serial.map(revoked).into_iter().collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

/// Tickets follow from every key: with one of them nobody can pose as the whole site.
#[test]
fn another_key_of_another_name_makes_other_tickets() {
    let authority = Authority::generate("test").unwrap();
    let main = main_pair(&authority);
    let site = |named| SiteTls::new(&main, &SiteExtras { named, ..SiteExtras::default() }, true).unwrap();
    let (one, other) = (named(&authority, SHOP), named(&authority, SHOP));
    let user = user(&authority, None, &rustls::version::TLS13);
    assert_eq!(visit(&user, &site(vec![one.clone()])).unwrap().0, HandshakeKind::Full);
    assert_eq!(visit(&user, &site(vec![one])).unwrap().0, HandshakeKind::Resumed);
    assert_eq!(visit(&user, &site(vec![other])).unwrap().0, HandshakeKind::Full);
    assert_eq!(visit(&user, &site(Vec::new())).unwrap().0, HandshakeKind::Full);
}
