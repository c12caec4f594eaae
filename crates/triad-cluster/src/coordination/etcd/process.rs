//! etcd as a voter runs it: its folder, its configuration, its process.
//!
//! The configuration is a file, since the last of it is known only when the others were asked: whether the voters'
//! cluster is new, or there already. Once etcd has data of its own, it goes by that.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use triad_model::{ProcessSpec, ServerName, ServiceUser};

use super::Voter;
use crate::coordination::Member;

/// Debian's package `etcd-server` has it here.
pub const ETCD: &str = "/usr/bin/etcd";
/// Time between two heartbeats of etcd's leader, in milliseconds.
pub const ETCD_HEARTBEAT_MS: u64 = 50;
/// How long a voter hears none before it wants to lead, in milliseconds: at least; at most twice that.
pub const ETCD_ELECTION_MS: u64 = 300;
/// Bytes of etcd's data at most; beyond it refuses to write. Of each key some revisions are kept.
const DATA_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Revisions that stay readable. Nobody reads old ones, a watch may be a little behind.
const REVISIONS_KEPT: u64 = 1_000;
/// etcd flushes and ends at once; half a second more if it leads, to hand that over.
const STOP_TIMEOUT_MS: u64 = 5_000;

/// A voter's own place among the voters.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Which of the voters this is.
    pub own: Voter,
    /// All of them.
    pub voters: Vec<Voter>,
    /// What tells this cluster from any other that could be reached by mistake.
    pub token: String,
    /// Its folder; the account that etcd runs under owns it.
    pub folder: PathBuf,
}

/// Whom etcd starts with, if it has no data yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With all voters, who begin as well.
    Founding,
    /// With voters that run already, and list this one.
    Joining(Vec<Member>),
}

impl Seat {
    /// etcd's data.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Whether etcd has ever started here, and what it wrote is still there.
    pub fn has_data(&self) -> bool {
        self.data().join("member").join("wal").is_dir()
    }

    /// Removes what is left of etcd's data.
    pub fn clear(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The authority's certificate.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// The server's certificate.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// Its key.
    pub fn key_file(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// What [`Seat::config`] is written to.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("etcd.json")
    }

    /// etcd's configuration, in JSON, which is YAML.
    pub fn config(&self, beginning: &Beginning) -> String {
        let Voter { server, peer, .. } = &self.own;
        let (state, cluster) = match beginning {
            Beginning::Founding => ("new", founders(&self.voters)),
            Beginning::Joining(members) => ("existing", joined(members, server, &self.own.peer_url())),
        };
        let config = json!({
            "name": server.as_str(),
            "data-dir": self.data(),
            "listen-client-urls": self.own.client_url(),
            "advertise-client-urls": self.own.client_url(),
            "listen-peer-urls": format!("https://{peer}"),
            "initial-advertise-peer-urls": self.own.peer_url(),
            "initial-cluster": cluster,
            "initial-cluster-token": self.token,
            "initial-cluster-state": state,
            // With a file, 3.4 has it off unless asked.
            "enable-grpc-gateway": true,
            "pre-vote": true,
            "heartbeat-interval": ETCD_HEARTBEAT_MS,
            "election-timeout": ETCD_ELECTION_MS,
            "strict-reconfig-check": true,
            "auto-compaction-mode": "revision",
            "auto-compaction-retention": REVISIONS_KEPT.to_string(),
            "quota-backend-bytes": DATA_BYTES_MAX,
            "logger": "zap",
            "log-outputs": ["stderr"],
            "client-transport-security": self.security(),
            "peer-transport-security": self.security(),
        });
        serde_json::to_string_pretty(&config).expect("text and numbers")
    }

    fn security(&self) -> Value {
        json!({
            "cert-file": self.certificate_file(),
            "key-file": self.key_file(),
            "trusted-ca-file": self.authority_file(),
            "client-cert-auth": true,
        })
    }

    /// etcd as the agent's supervisor runs it. Its log is what it prints.
    pub fn process(&self) -> ProcessSpec {
        ProcessSpec {
            name: "etcd".to_owned(),
            program: Path::new(ETCD).to_owned(),
            args: vec!["--config-file".to_owned(), self.config_file().display().to_string()],
            environment: Vec::new(),
            directory: self.folder.clone(),
            user: ServiceUser::Etcd,
            stop_timeout_ms: STOP_TIMEOUT_MS,
        }
    }
}

fn founders(voters: &[Voter]) -> String {
    let founders: Vec<String> = voters.iter().map(|voter| format!("{}={}", voter.server, voter.peer_url())).collect();
    founders.join(",")
}

/// Those of `members` that have a name, and this one, which gets its name only now.
fn joined(members: &[Member], own: &ServerName, own_url: &str) -> String {
    let is_own = |member: &&Member| member.peer_urls.iter().any(|url| url == own_url);
    let others = members.iter().filter(|member| !is_own(member) && !member.name.is_empty());
    let others = others.flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", member.name)));
    others.chain([format!("{own}={own_url}")]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use triad_model::ServerName;

    use super::{Beginning, Member, Seat, Voter};

    fn voter(number: u8) -> Voter {
        let server = ServerName::new(format!("srv{number}")).expect("a name");
        let address = |port| SocketAddr::from(([10, 0, 0, number], port));
        Voter { server, client: address(2379), peer: address(2380) }
    }

    #[test]
    fn its_configuration_where_the_voters_are_new_and_where_they_are_not() {
        let voters = [1, 2, 3].map(voter).to_vec();
        let folder = PathBuf::from("/var/lib/triad/coordination");
        let seat = Seat { own: voter(3), voters, token: "foobar.com".to_owned(), folder };
        let member = |number: u8, name: &str| Member {
            id: number.into(),
            name: name.to_owned(),
            peer_urls: vec![voter(number).peer_url()],
            client_urls: Vec::new(),
        };
        let joining = Beginning::Joining(vec![member(2, "srv2"), member(3, ""), member(1, "srv1")]);
        let joining = seat.config(&joining);
        let of_cluster = |line: &&str| line.contains("\"initial-cluster");
        let joining: Vec<&str> = joining.lines().filter(of_cluster).collect();
        let text = format!("{}\n\nwhere srv3 joins:\n{}\n", seat.config(&Beginning::Founding), joining.join("\n"));
        triad_golden::compare("tests/golden/etcd.txt", &text);
    }
}
