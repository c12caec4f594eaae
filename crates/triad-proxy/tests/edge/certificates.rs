//! Certificates: of the site by name, and of clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use http::Request;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio_rustls::TlsConnector;
use triad_model::Secret;
use triad_proxy::EdgePlan;
use triad_tls::{ALPN_HTTP2, Authority, ClientAuthority, Identity, KeyPair, NamedPair, SiteExtras};

use crate::bed::*;
use crate::http2::{ask, client, run};
use crate::proxying::{front_plan, hop_edge, server};

const SHOP: &str = "shop.foobar.com";

/// A site with two hosts, each with a certificate; the second one's is for `names`.
fn plan_of_two(authority: &Authority, origin: SocketAddr, names: &[&str]) -> EdgePlan {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let shop = NamedPair { hosts: vec![SHOP.to_owned()], pair: authority.site(&names).expect("a pair"), ocsp: None };
    EdgePlan {
        hosts: vec![HOST.to_owned(), SHOP.to_owned()],
        site_certificate: Some(authority.site(&[HOST.to_owned()]).expect("a pair")),
        site_extras: SiteExtras { named: vec![shop], ..SiteExtras::default() },
        local: pool(vec![backend("app-1", origin, 1)]),
        ..plan()
    }
}

fn config(authority: &Authority, identity: Option<&Identity>) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let Some(identity) = identity else { return builder.with_no_client_auth() };
    let chain = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose_secret().as_bytes()).expect("a key");
    builder.with_client_auth_cert(vec![chain], key).expect("a pair")
}

/// A connection whose client asks for `name` and verifies that it gets it.
fn dial(config: ClientConfig, address: SocketAddr, name: &'static str) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(name).expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    StreamOwned::new(session, connect(address))
}

fn ask_for(stream: &mut (impl Read + Write), host: &str) -> u16 {
    exchange(stream, &format!("GET / HTTP/1.1\nHost: {host}\n\n")).status
}

fn leaf(stream: &StreamOwned<ClientConnection, TcpStream>) -> Vec<u8> {
    stream.conn.peer_certificates().expect("a handshake")[0].to_vec()
}

#[test]
fn a_reload_changes_every_certificate_and_no_connection() {
    let authority = Authority::generate("test").expect("an authority");
    let origin = Origin::start("app-1");
    let (edge, address) = edge("https", plan_of_two(&authority, origin.address, &[SHOP]));
    let begin = || {
        [HOST, SHOP].map(|name| {
            let mut stream = dial(config(&authority, None), address, name);
            assert_eq!(ask_for(&mut stream, name), 200);
            stream
        })
    };
    let mut before = begin();
    let next = plan_of_two(&authority, origin.address, &[SHOP]);
    edge.reload(next.clone()).expect("a plan");
    let after = begin();
    assert!(before.iter().zip(&after).all(|(before, after)| leaf(before) != leaf(after)));
    for (stream, host) in before.iter_mut().zip([HOST, SHOP]) {
        assert_eq!(ask_for(stream, host), 200, "begun before");
    }
    let mut wrong = plan_of_two(&authority, origin.address, &[SHOP]);
    wrong.site_extras.named[0].pair.key_pem = next.site_certificate.expect("a pair").key_pem;
    edge.reload(wrong).expect_err("a key of another certificate");
    assert!(begin().iter().zip(&after).all(|(now, after)| leaf(now) == leaf(after)), "all or nothing");
}

#[test]
fn a_request_for_another_host_than_the_one_that_was_verified_is_misdirected() {
    let authority = Authority::generate("test").expect("an authority");
    let origin = Origin::start("app-1");
    let (_edge, address) = edge("https", plan_of_two(&authority, origin.address, &[SHOP]));
    let mut stream = dial(config(&authority, None), address, HOST);
    for (host, status) in
        [(HOST, 200), (SHOP, 421), ("WWW.FooBar.com", 200), ("www.foobar.com.", 200), ("www.foobar.com:443", 200)]
    {
        assert_eq!(ask_for(&mut stream, host), status, "{host}");
    }
    let mut stream = dial(config(&authority, None), address, "SHOP.foobar.com");
    assert_eq!([HOST, SHOP, "evil.example"].map(|host| ask_for(&mut stream, host)), [421, 200, 421]);
    let mut says_nothing = config(&authority, None);
    says_nothing.enable_sni = false;
    let mut stream = dial(says_nothing, address, HOST);
    assert_eq!([HOST, SHOP].map(|host| ask_for(&mut stream, host)), [200, 421], "it saw the main one");
    assert_eq!(origin.state.requests.load(std::sync::atomic::Ordering::SeqCst), 6, "no other came through");
}

#[test]
fn one_connection_is_for_all_hosts_of_its_certificate() {
    let authority = Authority::generate("test").expect("an authority");
    let origin = Origin::start("app-1");
    let (_edge, address) = edge("https", plan_of_two(&authority, origin.address, &["*.foobar.com"]));
    let mut stream = dial(config(&authority, None), address, SHOP);
    assert_eq!([HOST, SHOP].map(|host| ask_for(&mut stream, host)), [200, 200]);
    let statuses = |name: &'static str| {
        run(async {
            let mut config = config(&authority, None);
            config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
            let tcp = tokio::net::TcpStream::connect(address).await.expect("the edge accepts");
            let name = ServerName::try_from(name).expect("a name");
            let client =
                client(TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake")).await;
            let mut statuses = Vec::new();
            for host in [HOST, SHOP] {
                let request = Request::get(format!("https://{host}/")).body(()).expect("a request");
                statuses.push(ask(&client, request).await.expect("an answer").status());
            }
            statuses
        })
    };
    assert_eq!(statuses(SHOP), [200, 200], "RFC 9113 section 9.1.1");
    assert_eq!(statuses(HOST), [200, 421]);
}

#[test]
fn the_application_is_told_of_a_clients_certificate_across_a_hop_and_by_nobody_else() {
    let authority = Authority::generate("test").expect("an authority");
    let clients = Authority::generate("clients").expect("an authority");
    let origin = Origin::start("app-1");
    let (_back, hop) = hop_edge(&authority, origin.address);
    let asked = ClientAuthority { required: false, authority_pem: clients.certificate_pem().to_owned(), crl_pem: None };
    let site_extras = SiteExtras { clients: Some(asked), ..SiteExtras::default() };
    let (_front, address) = edge("https", EdgePlan { site_extras, ..front_plan(&authority, hop) });
    let told = |identity: Option<&Identity>| {
        let mut stream = dial(config(&authority, identity), address, HOST);
        let claims = "Client-Cert: :bWU=:\nClient_Cert: :bWU=:\nClient-Cert-Chain: :bWU=:";
        let reply = exchange(&mut stream, &format!("GET / HTTP/1.1\nHost: {HOST}\n{claims}\n\n"));
        let text = reply.text();
        text.lines().filter(|line| line.starts_with("client")).map(str::to_owned).collect::<Vec<_>>()
    };
    let known = clients.identity(&server("known")).expect("an identity");
    assert_eq!(told(None), [""; 0]);
    // PEM is base64 too.
    let base64: String = known.certificate_pem.lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(told(Some(&known)), [format!("client-cert: \":{base64}:\"")]);
}

#[test]
fn who_shows_no_certificate_where_one_is_required_is_refused_and_counted() {
    let authority = Authority::generate("test").expect("an authority");
    let asked =
        ClientAuthority { required: true, authority_pem: authority.certificate_pem().to_owned(), crl_pem: None };
    let site_extras = SiteExtras { clients: Some(asked), ..SiteExtras::default() };
    let site_certificate = Some(authority.site(&plan().hosts).expect("a pair"));
    let (edge, address) = edge("https", EdgePlan { site_certificate, site_extras, ..plan() });
    let mut stream = dial(config(&authority, None), address, HOST);
    // In TLS 1.3 the client is done before the server has looked; what it sent now would destroy the alert.
    let refused = stream.read(&mut [0; 16]).expect_err("an alert").to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    until("it is counted", || edge.report().handshake_failures == 1);
}

/// A client that sends small pieces only when what it sent before is acknowledged (Nagle) waits for a delayed
/// acknowledgement after its handshake, unless the server has something to say at once.
#[test]
fn tickets_come_without_being_waited_for() {
    let authority = Authority::generate("test").expect("an authority");
    let site_certificate = Some(authority.site(&plan().hosts).expect("a pair"));
    let (_edge, address) = edge("https", EdgePlan { site_certificate, ..plan() });
    let mut stream = dial(config(&authority, None), address, HOST);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    }
    while stream.conn.tls13_tickets_received() == 0 {
        assert_ne!(stream.conn.read_tls(&mut stream.sock).expect("tickets in time"), 0);
        stream.conn.process_new_packets().expect("tickets");
    }
}

/// Handshakes are answered in turn; who stops in the middle of one holds up nobody.
#[test]
fn handshakes_that_never_end_hold_up_nobody() {
    let authority = Authority::generate("test").expect("an authority");
    let origin = Origin::start("app-1");
    let site_certificate = Some(authority.site(&plan().hosts).expect("a pair"));
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (edge, address) = edge("https", EdgePlan { site_certificate, local, ..plan() });
    let begun: Vec<_> = (0..64)
        .map(|number| {
            let mut stream = dial(config(&authority, None), address, HOST);
            if number % 2 == 0 {
                stream.conn.write_tls(&mut stream.sock).expect("a ClientHello");
            }
            stream
        })
        .collect();
    for _ in 0..8 {
        assert_eq!(ask_for(&mut dial(config(&authority, None), address, HOST), HOST), 200);
    }
    assert_eq!(edge.report().handshake_failures, 0, "none of them has ended yet");
    drop(begun);
}

#[test]
fn a_plan_whose_certificates_cannot_be_used_is_refused() {
    let authority = Authority::generate("test").expect("an authority");
    let origin = Origin::start("app-1");
    let good = plan_of_two(&authority, origin.address, &[SHOP]);
    let (edge, _) = edge("https", good.clone());
    let broken = |change: &dyn Fn(&mut SiteExtras)| {
        let mut plan = good.clone();
        change(&mut plan.site_extras);
        edge.reload(plan).expect_err("a broken one").to_string()
    };
    let pair = KeyPair { certificate_pem: "x".to_owned(), key_pem: Secret::new("y") };
    let pem = broken(&|extras| extras.named[0].pair = pair.clone());
    assert!(pem.contains("must be PEM"), "{pem}");
    let clients = ClientAuthority { required: true, authority_pem: "x".to_owned(), crl_pem: None };
    let nobody = broken(&|extras| extras.clients = Some(clients.clone()));
    assert!(nobody.contains("holds no certificate"), "{nobody}");
}
