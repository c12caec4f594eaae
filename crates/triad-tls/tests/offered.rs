//! What HTTPS agrees to, found out from outside: a client that offers one thing at a time, written by hand, because no
//! library of today offers what must be refused.

use rustls::{CipherSuite, NamedGroup, ProtocolVersion, ServerConnection, SignatureScheme};
use triad_model::Secret;
use triad_tls::{KeyPair, SiteExtras, SiteTls};

const HOST: &str = "www.example.org";
const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;
const X25519: u16 = 0x1d;

/// What a client offers.
#[derive(Clone)]
struct Offer {
    version: u16,
    suites: Vec<u16>,
    groups: Vec<u16>,
    schemes: Vec<u16>,
    /// Half of a key exchange over X25519, in TLS 1.3; without it, the server asks for one it likes.
    share: bool,
}

/// Everything that has a number in the registries of IANA, and some more.
fn everything(version: u16) -> Offer {
    let suites = [0..=0xff, 0x1301..=0x1307, 0xc001..=0xc0ff, 0xcca8..=0xccae].into_iter().flatten();
    let groups = [1..=41, 0x100..=0x104, 0x11eb..=0x11ee, 0x6399..=0x6399].into_iter().flatten();
    let schemes = (1..=8).flat_map(|hash| (1..=0x1f).map(move |kind| hash << 8 | kind)).chain(0x900..=0x910);
    // TLS_EMPTY_RENEGOTIATION_INFO_SCSV is no suite.
    let suites = suites.filter(|suite| *suite != 0xff).collect();
    Offer { version, suites, groups: groups.collect(), schemes: schemes.collect(), share: false }
}

impl Offer {
    /// A ClientHello (RFC 8446 section 4.1.2) in a record.
    fn record(&self) -> Vec<u8> {
        let list =
            |numbers: &[u16]| prefixed(&numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>());
        let extension = |kind: u16, value: Vec<u8>| [&kind.to_be_bytes()[..], &prefixed(&value)].concat();
        let name = prefixed(&[&[0], &*prefixed(HOST.as_bytes())].concat());
        let mut extensions = [
            extension(0, name),
            extension(10, list(&self.groups)),
            extension(13, list(&self.schemes)),
            extension(23, vec![]),
        ]
        .concat();
        if self.version == TLS_1_3 {
            extensions.extend(extension(43, vec![2, 3, 4]));
            extensions.extend(extension(45, vec![1, 1]));
            let share = [&[0, 0x1d, 0, 32][..], &[9; 32]].concat();
            extensions.extend(extension(51, prefixed(if self.share { &share } else { &[] })));
        }
        let mut hello = self.version.min(TLS_1_2).to_be_bytes().to_vec();
        hello.extend([7; 32]);
        hello.push(0);
        hello.extend(list(&self.suites));
        hello.extend([1, 0]);
        hello.extend(prefixed(&extensions));
        let handshake = [&[1, 0], &*prefixed(&hello)].concat();
        [&[22, 3, 1], &*prefixed(&handshake)].concat()
    }

    /// The server's answer: its version and suite, or why there is none.
    fn put_to(&self, site: &SiteTls) -> Result<(ProtocolVersion, CipherSuite), rustls::Error> {
        let mut server = ServerConnection::new(site.config().clone()).expect("a session");
        server.read_tls(&mut &*self.record()).expect("read");
        server.process_new_packets()?;
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).expect("written");
        }
        // The record's head, the message's, its version, its random number, and a session's id.
        let suite = answer.get(44 + usize::from(answer[43])..).expect("a ServerHello");
        let version = if self.version == TLS_1_3 { TLS_1_3 } else { u16::from_be_bytes([answer[9], answer[10]]) };
        Ok((version.into(), u16::from_be_bytes([suite[0], suite[1]]).into()))
    }
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}

fn site(key: rcgen::KeyPair) -> SiteTls {
    let params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
    let certificate_pem = params.self_signed(&key).expect("a certificate").pem();
    let pair = KeyPair { certificate_pem, key_pem: Secret::new(key.serialize_pem()) };
    SiteTls::new(&pair, &SiteExtras::default(), true).expect("usable")
}

/// Which of `numbers` the server agrees to where `with` makes the offer of one.
fn agreed(sites: &[SiteTls], numbers: &[u16], with: impl Fn(u16) -> Offer) -> Vec<u16> {
    let agrees = |number: &&u16| sites.iter().any(|site| with(**number).put_to(site).is_ok());
    numbers.iter().filter(agrees).copied().collect()
}

fn lines<T: std::fmt::Debug>(title: &str, numbers: Vec<u16>, name: impl Fn(u16) -> T) -> String {
    let names = numbers.into_iter().map(|number| format!("    {:?}\n", name(number)));
    format!("  {title}\n{}", names.collect::<String>())
}

#[test]
fn good_suites_only() {
    let ecdsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let sites = [site(ecdsa), site(rsa)];
    let mut printed = String::new();
    for (name, version) in [("TLS 1.3", TLS_1_3), ("TLS 1.2", TLS_1_2)] {
        let all = everything(version);
        printed += &format!("{name}\n");
        let suites = agreed(&sites, &all.suites, |suite| Offer { suites: vec![suite], ..all.clone() });
        printed += &lines("suites", suites, CipherSuite::from);
        let groups = agreed(&sites, &all.groups, |group| Offer { groups: vec![group], ..all.clone() });
        printed += &lines("groups", groups, NamedGroup::from);
        let one = |scheme| Offer { schemes: vec![scheme], groups: vec![X25519], share: true, ..all.clone() };
        let schemes = agreed(&sites, &all.schemes, one);
        printed += &lines("signatures", schemes, SignatureScheme::from);
        let chosen = all.put_to(&sites[0]).expect("all is offered").1;
        printed += &format!("  of all\n    {chosen:?}\n");
    }
    for (name, version) in [("TLS 1.1", 0x0302), ("TLS 1.0", 0x0301), ("SSL 3.0", 0x0300)] {
        printed += &format!("{name}\n  {}\n", everything(version).put_to(&sites[0]).expect_err("it is old"));
    }
    triad_golden::compare("tests/golden/offered.txt", &printed);
}
