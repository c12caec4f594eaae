//! What strangers can reach or read.

use std::net::IpAddr;

use triad_model::{Certificate, Code, DATABASE, Design, Finding, IpNet, Role, Server, ServerName};

use super::{Surroundings, finding};
use crate::words::and_list;

/// Networks this large are the world: nobody administers from a sixteenth of the Internet.
const WORLD_PREFIX_MAX: u8 = 4;

/// Every finding about what strangers can reach or read.
pub(super) fn all(design: &Design, surroundings: &Surroundings) -> Vec<Finding> {
    let found = [
        ssh_open(design),
        database_exposed(design),
        secret_readable(design, surroundings),
        plain_behind_tls(design),
        no_firewall(design),
    ];
    found.into_iter().flatten().collect()
}

fn ssh_open(design: &Design) -> Option<Finding> {
    let firewall = design.firewall.as_ref()?;
    let open: Vec<&IpNet> = firewall.ssh_from.iter().filter(|it| it.prefix_len() <= WORLD_PREFIX_MAX).collect();
    if open.is_empty() {
        return None;
    }
    Some(finding(
        Code::SshOpen,
        "firewall.ssh_from",
        format!("SSH, port {}, is open to {}: the world", firewall.ssh_port, and_list(open)),
        "every server is tried with stolen passwords around the clock; one hit, and all data is somebody else's",
        "write the networks you administer from: ssh_from = [\"198.51.100.0/24\"]",
    ))
}

/// Whether routers of the Internet may carry packets to `address`: neither private, shared (RFC 6598), link-local nor
/// unique local (RFC 4193).
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            let shared = it.octets()[0] == 100 && it.octets()[1] & 0b1100_0000 == 64;
            !(it.is_private() || it.is_link_local() || it.is_loopback() || shared)
        }
        IpAddr::V6(it) => !(it.is_unique_local() || it.is_unicast_link_local() || it.is_loopback()),
    }
}

fn database_exposed(design: &Design) -> Option<Finding> {
    if design.firewall.is_some() {
        return None;
    }
    let exposed: Vec<&Server> = design
        .carriers(Role::Database)
        .into_iter()
        .filter_map(|name| design.server(name))
        .filter(|server| design.servers.len() > 1 && server.private.is_some_and(is_global))
        .collect();
    let first = exposed.first()?;
    Some(finding(
        Code::DatabaseExposed,
        &format!("servers.{}.private", first.name),
        format!(
            "strangers reach the database's port, {DATABASE}, on {}: its address is not a private one, and there is \
             no firewall",
            and_list(exposed.iter().map(|server| &server.name))
        ),
        "passwords are tried and holes in MariaDB are used from anywhere; users' data can be read and changed",
        "add [firewall]: it admits only the design's own servers to that port. Or use addresses of a private network",
    ))
}

fn secret_readable(design: &Design, surroundings: &Surroundings) -> Option<Finding> {
    let files = &surroundings.readable_by_others;
    if files.is_empty() {
        return None;
    }
    let main = design
        .tls
        .as_ref()
        .is_some_and(|tls| matches!(&tls.certificate, Certificate::Files { key, .. } if files.contains(key)));
    let names = and_list(files.iter().map(|file| file.display()));
    Some(finding(
        Code::SecretReadable,
        if main { "tls.key_file" } else { "tls.certificates" },
        format!("other accounts of this machine can read {names}"),
        "whoever has the key can pretend to be the site, and users cannot tell",
        format!("chmod 600 {}", files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")),
    ))
}

/// Connections to the database that leave a server, as pairs of who connects and to whom.
fn database_hops(design: &Design) -> Vec<(ServerName, ServerName)> {
    let Some(database) = &design.database else { return Vec::new() };
    let clients = design.carriers(Role::App).into_iter().chain(&database.replicas);
    let mut hops: Vec<(ServerName, ServerName)> = clients
        .filter(|from| **from != database.primary)
        .map(|from| (from.clone(), database.primary.clone()))
        .collect();
    hops.sort();
    hops.dedup();
    hops
}

fn plain_behind_tls(design: &Design) -> Option<Finding> {
    design.tls.as_ref()?;
    let hops = database_hops(design);
    let (_, primary) = hops.first()?;
    let from = and_list(hops.iter().map(|(from, _)| from));
    Some(finding(
        Code::PlainBehindTls,
        "tls",
        format!("HTTPS ends before the database: from {from} to {primary}, port {DATABASE}, traffic is plain"),
        "whoever listens on the private network reads users' data on its way to the database and to its replicas",
        "keep the private network to your own servers (a VLAN, WireGuard): this version does not encrypt that hop. \
         Between edges it is mutual TLS already",
    ))
}

fn no_firewall(design: &Design) -> Option<Finding> {
    if design.firewall.is_some() {
        return None;
    }
    Some(finding(
        Code::NoFirewall,
        "servers",
        "no server has a firewall",
        "every port that anything on a server listens on is open to whoever reaches its addresses: SSH to the world, \
         the database to the whole private network",
        "add [firewall] with ssh_from = [\"198.51.100.0/24\"], the networks you administer from",
    ))
}
