//! Session tickets that every front server of a design understands, and understands again after a restart.
//!
//! The servers agree without a word: the keys follow from the site's private keys, which each front has and nobody else,
//! and from the number of the current twelve hours. That is sound for TLS 1.3 only: a session that is taken up there
//! still exchanges fresh keys, so whoever steals the private key later reads nothing that was recorded. A ticket of
//! TLS 1.2 *is* the session's key, so those stay with random keys of this process (docs/decisions/0016).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use crate::TlsError;

/// Seconds that a key seals for. Tickets live as long, so one is good for this long at least and twice that at most.
const PERIOD_S: u64 = 12 * 60 * 60;
/// Bytes of a session that are sealed, at most. Ours have some 120, the names of host and protocol, and the chain of a
/// client that showed one; who has a longer one does a full handshake each time.
const SESSION_BYTES_MAX: usize = 8 * 1024;

/// A ticket begins with whose it is, of which period, and with what its own key was derived from.
const NAME_BYTES: usize = 8;
const PERIOD_BYTES: usize = size_of::<u32>();
const SEED_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = NAME_BYTES + PERIOD_BYTES + SEED_BYTES;
const TICKET_BYTES_MAX: usize = HEADER_BYTES + SESSION_BYTES_MAX + TAG_BYTES;

/// What keeps these keys apart from any other use of the same secret.
const LABEL: &[u8] = b"triad session tickets 1";
const NAME_LABEL: &[u8] = b"name";
const KEY_LABEL: &[u8] = b"key";

/// Makes and opens tickets.
pub(crate) struct Tickets {
    root: Prk,
    name: [u8; NAME_BYTES],
    time: Arc<dyn TimeProvider>,
    /// For TLS 1.2.
    own: Arc<dyn ProducesTickets>,
}

impl Tickets {
    /// Of all who have `secret`, at `time`.
    pub fn new(secret: &[u8], time: Arc<dyn TimeProvider>) -> Result<Self, TlsError> {
        let root = Salt::new(HKDF_SHA256, LABEL).extract(secret);
        let mut name = [0; NAME_BYTES];
        let derived = root.expand(&[NAME_LABEL], Name).and_then(|okm| okm.fill(&mut name));
        derived.map_err(|_| rustls::Error::General("no keys for session tickets".to_owned()))?;
        Ok(Self { root, name, time, own: rustls::crypto::aws_lc_rs::Ticketer::new()? })
    }

    fn period(&self) -> Option<u32> {
        u32::try_from(self.time.current_time()?.as_secs() / PERIOD_S).ok()
    }

    /// The key of one ticket. It seals nothing else, so its nonce need not differ.
    fn key(&self, header: &[u8]) -> Option<LessSafeKey> {
        let info = [KEY_LABEL, header];
        let key = self.root.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }

    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > SESSION_BYTES_MAX {
            return None;
        }
        let mut ticket = Vec::with_capacity(HEADER_BYTES + session.len() + TAG_BYTES);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&self.period()?.to_be_bytes());
        let mut seed = [0; SEED_BYTES];
        rand::fill(&mut seed).ok()?;
        ticket.extend_from_slice(&seed);
        let key = self.key(&ticket)?;
        let header = Aad::from(<[u8; HEADER_BYTES]>::try_from(ticket.as_slice()).ok()?);
        ticket.extend_from_slice(session);
        let tag = key.seal_in_place_separate_tag(nonce(), header, &mut ticket[HEADER_BYTES..]).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = ticket.split_at_checked(HEADER_BYTES).filter(|_| ticket.len() <= TICKET_BYTES_MAX)?;
        let (period, _) = header[NAME_BYTES..].split_first_chunk::<PERIOD_BYTES>()?;
        if !accepts(self.period()?, u32::from_be_bytes(*period)) {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let length = self.key(header)?.open_in_place(nonce(), Aad::from(header), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD_S as u32
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if is_tls13(session) { self.seal(session) } else { self.own.encrypt(session) }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.starts_with(&self.name) {
            return self.open(ticket);
        }
        self.own.decrypt(ticket)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// The name's length, as the derivation wants it said.
struct Name;

impl aws_lc_rs::hkdf::KeyType for Name {
    fn len(&self) -> usize {
        NAME_BYTES
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Whether a ticket `of` that period is good `now`: of this one, of the one before, and of the next, as the servers'
/// clocks differ.
fn accepts(now: u32, of: u32) -> bool {
    now.abs_diff(of) <= 1
}

/// Whether `session`, as rustls writes it, is one of TLS 1.3. What is not recognised is not.
fn is_tls13(session: &[u8]) -> bool {
    let behind_name = match session {
        [0, rest @ ..] => Some(rest),
        [1, length, rest @ ..] => rest.get(usize::from(*length)..),
        _ => None,
    };
    behind_name.is_some_and(|rest| rest.starts_with(&u16::from(rustls::ProtocolVersion::TLSv1_3).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    use proptest::prelude::*;
    use rustls::pki_types::{PrivateKeyDer, ServerName as DnsName, UnixTime, pem::PemObject};
    use rustls::server::ProducesTickets;
    use rustls::time_provider::TimeProvider;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
    use rustls::{SupportedProtocolVersion, version};

    use super::{PERIOD_S, SESSION_BYTES_MAX, TICKET_BYTES_MAX, Tickets, accepts, is_tls13};
    use crate::settings::tests::{roots_of, shake_hands};
    use crate::{Authority, KeyPair, SiteExtras, SiteTls};

    const HOST: &str = "www.example.org";

    /// A clock that a test sets.
    #[derive(Debug, Default)]
    struct Hands(AtomicU64);

    impl TimeProvider for Hands {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Relaxed))))
        }
    }

    fn tickets(pair: &KeyPair, period: u64) -> (Tickets, Arc<Hands>) {
        let hands = Arc::new(Hands(AtomicU64::new(period * PERIOD_S)));
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.expose_secret().as_bytes()).unwrap();
        (Tickets::new(key.secret_der(), hands.clone()).unwrap(), hands)
    }

    fn site(authority: &Authority) -> KeyPair {
        authority.site(&[HOST.to_owned()]).unwrap()
    }

    /// A front server that has `pair`, in some period.
    fn front(pair: &KeyPair, period: u64) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(SiteTls::new(pair, &SiteExtras::default(), true).unwrap().config());
        config.ticketer = Arc::new(tickets(pair, period).0);
        Arc::new(config)
    }

    fn user(authority: &Authority, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(crate::settings::provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        Arc::new(builder.with_root_certificates(roots_of(authority)).with_no_client_auth())
    }

    fn visit(user: &Arc<ClientConfig>, front: &Arc<ServerConfig>) -> HandshakeKind {
        let name = DnsName::try_from(HOST).unwrap();
        let mut client = ClientConnection::new(user.clone(), name).unwrap().into();
        let mut server = ServerConnection::new(front.clone()).unwrap().into();
        shake_hands(&mut client, &mut server).unwrap();
        client.handshake_kind().unwrap()
    }

    /// How a client that has been at the first front is met by the second.
    fn return_to(first: &Arc<ServerConfig>, second: &Arc<ServerConfig>, authority: &Authority) -> HandshakeKind {
        let user = user(authority, &version::TLS13);
        assert_eq!(visit(&user, first), HandshakeKind::Full);
        visit(&user, second)
    }

    #[test]
    fn a_client_is_known_at_every_front_for_one_period_more_and_despite_their_clocks() {
        let authority = Authority::generate("test").unwrap();
        let pair = site(&authority);
        let met_in = |period| return_to(&front(&pair, 40_000), &front(&pair, period), &authority);
        assert_eq!(met_in(40_000), HandshakeKind::Resumed);
        assert_eq!(met_in(40_001), HandshakeKind::Resumed, "the period after");
        assert_eq!(met_in(39_999), HandshakeKind::Resumed, "a clock that is behind");
        assert_eq!(met_in(40_002), HandshakeKind::Full);
        assert_eq!(met_in(39_998), HandshakeKind::Full);
    }

    #[test]
    fn a_client_is_a_stranger_where_the_private_key_is_another() {
        let authority = Authority::generate("test").unwrap();
        let [one, two] = [0, 1].map(|_| front(&site(&authority), 40_000));
        assert_eq!(return_to(&one, &two, &authority), HandshakeKind::Full);
    }

    #[test]
    fn sessions_of_tls_1_2_stay_with_the_process_that_began_them() {
        let authority = Authority::generate("test").unwrap();
        let pair = site(&authority);
        let [one, two] = [0, 1].map(|_| front(&pair, 40_000));
        let user = user(&authority, &version::TLS12);
        assert_eq!(visit(&user, &one), HandshakeKind::Full);
        assert_eq!(visit(&user, &one), HandshakeKind::Resumed);
        assert_eq!(visit(&user, &two), HandshakeKind::Full, "the key to them follows from nothing that lasts");
    }

    #[test]
    fn what_is_sealed_is_never_the_same_twice_and_has_a_bound() {
        let (tickets, _) = tickets(&site(&Authority::generate("test").unwrap()), 1);
        let largest = vec![7; SESSION_BYTES_MAX];
        let [one, two] = [0, 1].map(|_| tickets.seal(&largest).unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), TICKET_BYTES_MAX);
        assert_eq!(tickets.open(&one), Some(largest));
        assert_eq!(tickets.seal(&[7; SESSION_BYTES_MAX + 1]), None);
        assert_eq!(tickets.open(&[one, vec![0]].concat()), None);
    }

    #[test]
    fn a_key_lasts_from_its_period_to_the_end_of_the_next() {
        let (tickets, hands) = tickets(&site(&Authority::generate("test").unwrap()), 7);
        let ticket = tickets.seal(b"session").unwrap();
        hands.0.store(9 * PERIOD_S - 1, Relaxed);
        assert!(tickets.open(&ticket).is_some());
        hands.0.store(9 * PERIOD_S, Relaxed);
        assert!(tickets.open(&ticket).is_none());
        assert!(accepts(0, 0) && !accepts(u32::MAX, 0), "no wrapping around");
    }

    #[test]
    fn the_version_of_a_session_is_found_behind_its_name_or_not_at_all() {
        assert!(is_tls13(&[0, 3, 4, 9]));
        assert!(is_tls13(&[1, 2, b'a', b'b', 3, 4]));
        for other in [&[0, 3, 3][..], &[1, 0, 3, 3], &[2, 3, 4], &[1, 9, 3, 4], &[0, 3], &[1], &[]] {
            assert!(!is_tls13(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_changed_or_made_up_opens_nothing(
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            made_up in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let (tickets, _) = tickets(&site(&Authority::generate("test").unwrap()), 7);
            let mut ticket = tickets.seal(b"a session of some length").unwrap();
            let at = at.index(ticket.len());
            ticket[at] ^= flip;
            prop_assert_eq!(tickets.decrypt(&ticket), None);
            ticket.truncate(at);
            prop_assert_eq!(tickets.decrypt(&ticket), None);
            prop_assert_eq!(tickets.decrypt(&made_up), None);
            let named = [&tickets.name[..], &made_up].concat();
            prop_assert_eq!(tickets.decrypt(&named), None);
        }
    }
}
