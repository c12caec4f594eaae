//! Clients that come back.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use triad_proxy::EdgePlan;
use triad_tls::Authority;

use crate::bed::*;

/// A client that remembers.
fn user(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).expect("a certificate");
    roots.add(authority).expect("a root");
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// How the edge at `address` meets the client.
fn visit(user: &Arc<ClientConfig>, address: SocketAddr) -> HandshakeKind {
    let name = ServerName::try_from(HOST).expect("a name");
    let session = ClientConnection::new(user.clone(), name).expect("a session");
    let mut stream = StreamOwned::new(session, connect(address));
    let reply = exchange(&mut stream, &format!("GET / HTTP/1.1\nHost: {HOST}\nConnection: close\n\n"));
    assert_eq!(reply.status, 200);
    stream.conn.handshake_kind().expect("a handshake")
}

#[test]
fn a_client_is_known_at_the_other_edge_after_a_reload_and_after_a_restart() {
    let origin = Origin::start("app-1");
    let authority = Authority::generate("test").expect("an authority");
    let site = || Some(authority.site(&plan().hosts).expect("a certificate"));
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let plan = EdgePlan { local, site_certificate: site(), ..plan() };
    let (first, address) = edge("https", plan.clone());
    let (_second, other_address) = edge("https", plan.clone());
    let user = user(&authority);
    assert_eq!(visit(&user, address), HandshakeKind::Full);
    assert_eq!(visit(&user, other_address), HandshakeKind::Resumed);
    first.reload(plan.clone()).expect("a plan");
    assert_eq!(visit(&user, address), HandshakeKind::Resumed);
    drop(first);
    let (again, address) = edge("https", plan.clone());
    assert_eq!(visit(&user, address), HandshakeKind::Resumed);
    again.reload(EdgePlan { site_certificate: site(), ..plan }).expect("a plan");
    assert_eq!(visit(&user, address), HandshakeKind::Full, "another key, other tickets");
}
