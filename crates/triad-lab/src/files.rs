//! Files under `/etc` as a member of the lab sees them, and the authorities it trusts.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use triad_model::{Design, Role, ServerName};

use crate::directory::{Directory, make_directory, members};

/// The host's trusted authorities: where Debian's ca-certificates puts them.
pub(crate) const HOST_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Name servers a resolver asks, `MAXNS` of resolv.conf(5).
const NAME_SERVERS_MAX: usize = 3;

/// Files of a member's `etc` folder that are shown in place of the host's.
pub(crate) const SHOWN: [&str; 4] = ["resolv.conf", "hosts", "hostname", "nsswitch.conf"];

/// Writes what every member sees of the lab.
pub(crate) fn write(directory: &Directory, design: &Design, authority: &str) -> anyhow::Result<()> {
    let host_switch = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    for member in members(design) {
        let etc = directory.etc(&member);
        make_directory(&etc)?;
        let texts = [resolv_conf(design), hosts(design), hostname(&member), nsswitch_conf(&host_switch)];
        for (name, text) in SHOWN.iter().zip(texts) {
            write_file(&etc.join(name), &text)?;
        }
    }
    let host_bundle = fs::read_to_string(HOST_BUNDLE).unwrap_or_default();
    write_file(&directory.authority(), authority)?;
    write_file(&directory.bundle(), &bundle(&host_bundle, authority))
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The design's own name servers and nobody else's.
fn resolv_conf(design: &Design) -> String {
    let servers = public_addresses(design, &design.carriers(Role::Dns));
    let mut text = String::from("options timeout:1 attempts:2\n");
    for address in servers.into_iter().take(NAME_SERVERS_MAX) {
        writeln!(text, "nameserver {address}").expect("writing to a string cannot fail");
    }
    text
}

/// `localhost`; in a design without name servers, the site's hosts too, as the users' own DNS would have them.
fn hosts(design: &Design) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    if design.dns.is_none() {
        for address in public_addresses(design, &design.fronts()) {
            writeln!(text, "{address} {}", design.site.hosts.join(" ")).expect("writing to a string cannot fail");
        }
    }
    text
}

fn hostname(member: &ServerName) -> String {
    format!("{member}\n")
}

/// The host's, but names are looked up in files and DNS alone: systemd-resolved and its like listen on Unix sockets,
/// which a network namespace does not hide, and would answer for the host.
fn nsswitch_conf(host: &str) -> String {
    let others = host.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).map(|line| format!("{line}\n")).collect()
}

fn bundle(host: &str, authority: &str) -> String {
    let end = if host.is_empty() || host.ends_with('\n') { "" } else { "\n" };
    format!("{host}{end}{authority}")
}

/// Addresses users find `servers` at.
pub(crate) fn public_addresses(design: &Design, servers: &[&ServerName]) -> Vec<std::net::IpAddr> {
    servers.iter().filter_map(|name| design.server(name)).flat_map(|server| server.public.clone()).collect()
}

#[cfg(test)]
mod tests {
    use triad_model::Design;

    use super::{bundle, hosts, nsswitch_conf, resolv_conf};

    fn design(dns: &str) -> Design {
        let text = format!(
            r#"{{"site": {{"domain": "foobar.com", "hosts": ["www.foobar.com", "foobar.com"]}},
                 "servers": [{{"name": "a", "public": ["203.0.113.11", "2001:db8::1"], "private": null}},
                             {{"name": "b", "public": ["203.0.113.12"], "private": null}},
                             {{"name": "c", "public": ["203.0.113.13"], "private": null}}],
                 "dns": {dns}, "web": {{"servers": ["a"], "root": null}}}}"#
        );
        serde_json::from_str(&text).expect("a design")
    }

    #[test]
    fn names_come_from_the_designs_own_servers() {
        let with = design(r#"{"servers": ["b", "a", "c"], "ttl_s": 30}"#);
        assert_eq!(
            resolv_conf(&with),
            "options timeout:1 attempts:2\nnameserver 203.0.113.12\nnameserver 203.0.113.11\nnameserver 2001:db8::1\n"
        );
        assert_eq!(hosts(&with), "127.0.0.1 localhost\n::1 localhost\n");
    }

    #[test]
    fn without_name_servers_the_sites_hosts_stand_in_a_file() {
        let without = design("null");
        assert_eq!(resolv_conf(&without), "options timeout:1 attempts:2\n");
        assert!(
            hosts(&without)
                .ends_with("203.0.113.11 www.foobar.com foobar.com\n2001:db8::1 www.foobar.com foobar.com\n")
        );
    }

    #[test]
    fn the_hosts_resolver_is_not_asked() {
        let host = "passwd: files systemd\nhosts: files mdns4_minimal resolve [!UNAVAIL=return] dns\ngroup: files";
        assert_eq!(nsswitch_conf(host), "passwd: files systemd\ngroup: files\nhosts: files dns\n");
        assert_eq!(nsswitch_conf(""), "hosts: files dns\n");
    }

    #[test]
    fn certificates_do_not_run_into_each_other() {
        assert_eq!(bundle("A", "B"), "A\nB");
        assert_eq!(bundle("A\n", "B"), "A\nB");
        assert_eq!(bundle("", "B"), "B");
    }
}
