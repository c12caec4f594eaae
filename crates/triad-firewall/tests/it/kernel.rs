//! The real `nft` and the real kernel, in a network namespace of the test's own.
//!
//! A test that needs one starts itself again through `unshare`, so that what runs inside is this crate's own code.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use triad_firewall::{FirewallError, Ruleset, apply, prepared, remove, report};
use triad_model::FirewallReport;

use crate::designs;

/// Set for a test that already runs in its namespace.
const INSIDE: &str = "TRIAD_TEST_INSIDE";

#[test]
fn the_kernel_takes_every_ruleset() {
    in_a_namespace("kernel::the_kernel_takes_every_ruleset", || async {
        for (design_name, design) in designs::all() {
            for server in &design.servers {
                let ruleset = Ruleset::of(&design, &server.name).unwrap();
                apply(&ruleset).await.unwrap_or_else(|error| panic!("{design_name} {}: {error}", server.name));
            }
        }
    });
}

#[test]
fn a_change_keeps_counters_and_sets_and_other_peoples_tables() {
    in_a_namespace("kernel::a_change_keeps_counters_and_sets_and_other_peoples_tables", || async {
        prepared().await.unwrap();
        sh("nft add table inet docker");
        apply(&ruleset("srv1")).await.unwrap();
        sh("nft add element inet triad ssh_rate4 '{ 198.51.100.7 limit rate over 10/minute }'");
        let first = sh("nft list table inet triad");
        apply(&ruleset("srv2")).await.unwrap();
        let second = sh("nft list table inet triad");
        assert!(first.contains("tcp dport 443") && !first.contains("tcp dport 3306"), "{first}");
        assert!(second.contains("tcp dport 3306") && !second.contains("tcp dport 443"), "{second}");
        assert!(second.contains("198.51.100.7"), "the limit has forgotten whom it saw: {second}");
        remove().await.unwrap();
        remove().await.expect("nothing left to remove is no error");
        assert_eq!(sh("nft list ruleset"), "table inet docker {\n}\n");
    });
}

#[test]
fn what_is_dropped_is_counted_and_what_the_design_needs_gets_in() {
    in_a_namespace("kernel::what_is_dropped_is_counted_and_what_the_design_needs_gets_in", || async {
        let mut stranger = Stranger::join();
        let https = TcpListener::bind("203.0.113.11:443").unwrap();
        let _metrics = TcpListener::bind("203.0.113.11:9100").unwrap();
        assert!(stranger.connects("203.0.113.11:9100"), "without a firewall all ports are open");
        apply(&ruleset("srv1")).await.unwrap();
        assert!(stranger.connects("203.0.113.11:443"));
        https.accept().unwrap();
        assert_eq!(drops(&report().await.unwrap(), "default"), 0);
        assert!(!stranger.connects("203.0.113.11:9100"), "nobody outside needs this port");
        assert!(drops(&report().await.unwrap(), "default") > 0);
    });
}

#[test]
fn a_source_that_opens_ssh_too_fast_is_dropped_and_counted() {
    in_a_namespace("kernel::a_source_that_opens_ssh_too_fast_is_dropped_and_counted", || async {
        let mut stranger = Stranger::join();
        sh("ip address add 198.51.100.1/24 dev world");
        assert_eq!(stranger.ask("PATH=$PATH:/usr/sbin; ip address add 198.51.100.7/24 dev eth0 && echo up"), "up");
        let _ssh = TcpListener::bind("0.0.0.0:22").unwrap();
        apply(&ruleset("srv1")).await.unwrap();
        assert!(!stranger.connects("203.0.113.11:22"), "203.0.113.99 is not in ssh_from");
        // The bucket holds 20 and gets one back every 6 s.
        let opened = (0..100).take_while(|_| stranger.connects("198.51.100.1:22")).count();
        assert!((20..100).contains(&opened), "{opened} connections in a row");
        assert!(drops(&report().await.unwrap(), "ssh_rate") > 0);
    });
}

#[test]
fn a_refusal_shows_the_line_it_is_about() {
    in_a_namespace("kernel::a_refusal_shows_the_line_it_is_about", || async {
        let mut ruleset = ruleset("srv1");
        ruleset.chains[0].name = "no such hook";
        let error = apply(&ruleset).await.unwrap_err();
        assert!(matches!(error, FirewallError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("chain no such hook {"), "{error}");
        let error = report().await.unwrap_err().to_string();
        assert!(error.contains("No such file or directory"), "the table must not exist: {error}");
    });
}

fn ruleset(server: &str) -> Ruleset {
    Ruleset::of(&designs::secured(), &designs::name(server)).unwrap()
}

fn drops(report: &FirewallReport, reason: &str) -> u64 {
    report.drops.iter().find(|drop| drop.0 == reason).expect("every reason has a counter").1
}

/// Runs `test` as root of a user and network namespace of its own, where it is the test called `name`.
fn in_a_namespace<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    }
    let nft = Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin command -v nft"]).output().unwrap();
    assert!(nft.status.success(), "this test needs nft: apt-get install nftables");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is part of util-linux");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "in the namespace:\n{said}");
}

/// Runs a shell command that must succeed; its output.
fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin; {command}")]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A shell in a network namespace beside ours, as 203.0.113.99; we are 203.0.113.11.
struct Stranger {
    shell: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Stranger {
    fn join() -> Self {
        let mut shell = Command::new("unshare")
            .args(["--net", "bash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is part of util-linux");
        let commands = shell.stdin.take().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        let mut stranger = Self { shell, commands, answers };
        assert_eq!(stranger.ask("echo ready"), "ready", "only then has it left our namespace");
        sh(&format!("ip link add world type veth peer name eth0 netns {}", stranger.shell.id()));
        sh("ip address add 203.0.113.11/24 dev world && ip link set world up");
        let up = "ip address add 203.0.113.99/24 dev eth0 && ip link set eth0 up && echo up";
        assert_eq!(stranger.ask(&format!("PATH=$PATH:/usr/sbin; {up}")), "up");
        stranger
    }

    /// Whether a TCP connection to `address` opens; a dropped packet has a second to be answered.
    fn connects(&mut self, address: &str) -> bool {
        let path = address.replace(':', "/");
        self.ask(&format!("timeout 1 bash -c '</dev/tcp/{path}' 2>/dev/null && echo open || echo closed")) == "open"
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
