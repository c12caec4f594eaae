//! Every finding on a small design that has it, and on one that has not.

use std::path::PathBuf;

use triad_check::{Reported, Surroundings, findings};
use triad_model::{Code, Severity};

/// A design that has no finding: two of everything, in two networks, and no data.
const SOUND: &str = r#"
schema = 1

[site]
domain = "foobar.com"

[servers.one]
public = "203.0.113.11"
private = "10.77.0.11"

[servers.two]
public = "198.51.100.12"
private = "10.77.0.12"

[dns]
servers = ["one", "two"]

[balancer]
servers = ["one", "two"]

[app]
servers = ["one", "two"]
command = "./foobar-app"

[tls]
certificate = "files"
certificate_file = "tls/foobar.com.pem"
key_file = "tls/foobar.com.key"

[firewall]
ssh_from = ["192.0.2.0/24"]

[monitor]
metrics_from = ["192.0.2.0/24"]
"#;

const TLS: &str =
    "[tls]\ncertificate = \"files\"\ncertificate_file = \"tls/foobar.com.pem\"\nkey_file = \"tls/foobar.com.key\"";
const FIREWALL: &str = "[firewall]\nssh_from = [\"192.0.2.0/24\"]";
const MONITOR: &str = "[monitor]\nmetrics_from = [\"192.0.2.0/24\"]";
const DATABASE: (&str, &str) = ("[tls]", "[database]\nprimary = \"two\"\n\n[tls]");
const REPLICATED: (&str, &str) = ("[tls]", "[database]\nprimary = \"two\"\nreplicas = [\"one\"]\n\n[tls]");
const ONE_APP_SERVER: (&str, &str) = ("[app]\nservers = [\"one\", \"two\"]", "[app]\nservers = [\"one\"]");

/// What is changed in [`SOUND`], as what is replaced by what, so that it has the finding.
const CASES: &[(Code, &[(&str, &str)])] = &[
    (Code::SshOpen, &[("\"192.0.2.0/24\"]\n\n[monitor]", "\"192.0.2.0/24\", \"::/0\"]\n\n[monitor]")]),
    (Code::DatabaseExposed, &[(FIREWALL, ""), ("10.77.0.12", "192.0.2.12"), DATABASE]),
    (Code::NoHttps, &[(TLS, "")]),
    (
        Code::SingleServer,
        &[("\"one\", \"two\"", "\"one\""), ("[servers.two]\npublic = \"198.51.100.12\"\nprivate = \"10.77.0.12\"", "")],
    ),
    (Code::SingleNameServer, &[("[dns]\nservers = [\"one\", \"two\"]", "[dns]\nservers = [\"one\"]")]),
    (Code::NameServersTogether, &[("198.51.100.12", "203.0.113.12")]),
    (Code::SingleBalancer, &[("[balancer]\nservers = [\"one\", \"two\"]", "[balancer]\nservers = [\"one\"]")]),
    (
        Code::SingleWebServer,
        &[(TLS, "[web]\nservers = [\"two\"]\nroot = \"public\""), ("[\"one\", \"two\"]\ncom", "[\"one\"]\ncom")],
    ),
    (Code::SingleAppServer, &[ONE_APP_SERVER]),
    (Code::SingleDatabase, &[DATABASE]),
    (Code::NoFailover, &[REPLICATED]),
    (Code::DeployDowntime, &[ONE_APP_SERVER]),
    (Code::WeakReserve, &[("[app]", "backends = { one = { weight = 5 }, two = { backup = true } }\n\n[app]")]),
    (
        Code::UnseenDatabaseLoss,
        &[
            DATABASE,
            ("[balancer]\nservers = [\"one\", \"two\"]", "[balancer]\nservers = [\"one\", \"two\"]\nmax_fails = 0"),
        ],
    ),
    (Code::PlainBehindTls, &[DATABASE]),
    (Code::NoFirewall, &[(FIREWALL, "")]),
    (Code::NoMonitoring, &[(MONITOR, "")]),
    (Code::MonitoringInside, &[("metrics_from = [\"192.0.2.0/24\"]", "")]),
    (Code::NoBackup, &[DATABASE]),
    (Code::InternalCertificate, &[(TLS, "[tls]\ncertificate = \"internal\"")]),
    (Code::SingleWriter, &[REPLICATED]),
    (Code::SameComponents, &[REPLICATED]),
    (Code::CannotScale, &[("[balancer]\nservers = [\"one\", \"two\"]", ""), ONE_APP_SERVER]),
    (Code::OnePrivateNetwork, &[DATABASE]),
    (
        Code::OutsidePool,
        &[(
            "[tls]",
            "[pools.blog]\nbackends = { blog1 = { address = \"10.77.0.20:80\" }, one = {} }\n\n[[routes]]\n\
             match = \"/blog/*\"\npool = \"blog\"\n\n[tls]",
        )],
    ),
    (Code::UnusedAllow, &[("[tls]", "[check]\nallow = [{ code = \"no-backup\", reason = \"none\" }]\n\n[tls]")]),
];

fn found(text: &str, surroundings: &Surroundings) -> Vec<Reported> {
    let design = triad_config::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes:?} in\n{text}"));
    findings(&design, surroundings)
}

fn codes(text: &str) -> Vec<Code> {
    found(text, &Surroundings::default()).into_iter().map(|it| it.finding.code).collect()
}

fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(SOUND.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replace(from, to)
    })
}

#[test]
fn a_sound_design_has_none() {
    assert_eq!(codes(SOUND), []);
}

#[test]
fn every_finding_is_found_where_it_is() {
    for (code, edits) in CASES {
        let text = edited(edits);
        assert!(codes(&text).contains(code), "{code} is not among {:?} of\n{text}", codes(&text));
    }
    let tested = |code: &&Code| CASES.iter().any(|(tested, _)| tested == *code) || **code == Code::SecretReadable;
    assert_eq!(Code::ALL.iter().filter(tested).count(), Code::ALL.len());
}

/// Two databases fail over with a third server, whatever that carries.
#[test]
fn a_third_server_with_a_private_address_makes_failover() {
    let third = ("[dns]", "[servers.three]\nprivate = \"10.77.0.13\"\n\n[dns]");
    assert!(!codes(&edited(&[REPLICATED, third])).contains(&Code::NoFailover));
}

#[test]
fn a_key_that_others_can_read_is_found() {
    let surroundings = Surroundings { readable_by_others: vec![PathBuf::from("tls/foobar.com.key")] };
    let found = found(SOUND, &surroundings);
    let [Reported { finding, allowed: None }] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.code, finding.severity), (Code::SecretReadable, Severity::Error));
    assert_eq!(finding.place, "tls.key_file");
    assert_eq!(finding.mend, "chmod 600 tls/foobar.com.key");
}

#[test]
fn what_the_file_allows_has_its_reason() {
    let text = edited(&[(TLS, "[check]\nallow = [{ code = \"no-https\", reason = \"a lab\" }]")]);
    let found = found(&text, &Surroundings::default());
    let [Reported { finding, allowed: Some(reason) }] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.code, reason.as_str()), (Code::NoHttps, "a lab"));
}

/// A second replica, unequal weights of active backends, name servers in two networks: close to findings, but none.
#[test]
fn what_is_close_to_a_finding_is_none() {
    let weights = edited(&[("[app]", "backends = { one = { weight = 2 }, two = { weight = 2 } }\n\n[app]")]);
    assert_eq!(codes(&weights), []);
    let reserve =
        edited(&[("[app]", "backends = { one = { weight = 3 }, two = { weight = 3, backup = true } }\n\n[app]")]);
    assert_eq!(codes(&reserve), []);
    let closed = edited(&[("ssh_from = [\"192.0.2.0/24\"]", "ssh_from = []")]);
    assert_eq!(codes(&closed), []);
}
