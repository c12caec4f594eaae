//! Design → zone: which records the domain has. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use triad_model::{DNS, Design, Role, ServerName};

/// Shortest time to live of the name servers' own records, in seconds. They change only when a design moves to other
/// servers, so they need not be asked for as often as the site's addresses.
pub const NAME_SERVER_TTL_S: u32 = 3600;

// Only secondaries read these three, and there are none; RIPE-203's values keep zone checkers quiet.
const REFRESH_S: i32 = 86_400;
const RETRY_S: i32 = 7_200;
const EXPIRE_S: i32 = 3_600_000;

/// What a name server needs to know to answer for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The apex, without a final dot.
    pub domain: String,
    /// Time to live of the site's addresses and of negative answers, in seconds.
    pub ttl_s: u32,
    /// The name servers, `ns1` first.
    pub name_servers: Vec<NameServerHost>,
    /// The servers whose addresses the apex has.
    pub fronts: Vec<Front>,
    /// Names of the site below the apex, which are aliases of it.
    pub hosts: Vec<String>,
}

/// A name server by the name the world knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServerHost {
    /// `ns1.foobar.com`.
    pub name: String,
    /// Its public addresses.
    pub addresses: Vec<IpAddr>,
}

/// A server that users' requests arrive at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Front {
    /// Its name in the file.
    pub server: ServerName,
    /// Its public addresses.
    pub addresses: Vec<IpAddr>,
}

/// A resource record of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Owner, without a final dot.
    pub name: String,
    /// Time to live, in seconds.
    pub ttl_s: u32,
    /// Type and data.
    pub data: Data,
}

/// Type and data of a record; names are without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Start of authority (RFC 1035 §3.3.13).
    Soa {
        /// The first name server.
        mname: String,
        /// The mailbox of who is responsible.
        rname: String,
        /// Version of the zone.
        serial: u32,
        /// Refresh, retry and expire, in seconds.
        timers_s: [i32; 3],
        /// Time to live of negative answers, in seconds (RFC 2308 §4).
        minimum_s: u32,
    },
    /// A name server.
    Ns(String),
    /// `A` or `AAAA`, as the address is.
    Address(IpAddr),
    /// An alias of another name.
    Cname(String),
}

impl Zone {
    /// The zone of `design`; `None` if it has no name servers of its own.
    pub fn of(design: &Design) -> Option<Zone> {
        let dns = design.dns.as_ref()?;
        let name_servers: Vec<_> = dns
            .servers
            .iter()
            .enumerate()
            .map(|(index, server)| NameServerHost {
                name: design.name_server_name(index),
                addresses: public_addresses(design, server),
            })
            .collect();
        let fronts = design
            .fronts()
            .into_iter()
            .map(|server| Front { server: server.clone(), addresses: public_addresses(design, server) })
            .collect();
        // A name server's name cannot also be an alias (RFC 2181 §10.1); its addresses win.
        let taken = |host: &String| *host == design.site.domain || name_servers.iter().any(|ns| ns.name == *host);
        let hosts = design.site.hosts.iter().filter(|host| !taken(host)).cloned().collect();
        Some(Zone { domain: design.site.domain.clone(), ttl_s: dns.ttl_s, name_servers, fronts, hosts })
    }

    /// Every record, SOA first, without the addresses of the servers `left_out`, unless those are all there are.
    pub fn records(&self, left_out: &[ServerName]) -> Vec<Record> {
        let mut records = vec![self.soa()];
        records.extend(self.content(left_out));
        records
    }

    /// The servers of `left_out` that are really left out of the answers.
    pub fn absent(&self, left_out: &[ServerName]) -> Vec<ServerName> {
        let present = self.fronts_without(left_out);
        self.fronts.iter().filter(|front| !present.contains(front)).map(|front| front.server.clone()).collect()
    }

    /// The fronts that are answered. A record of a server that looks dead is better than no record, so if no address
    /// would be left, all are answered.
    fn fronts_without(&self, left_out: &[ServerName]) -> Vec<&Front> {
        let rest: Vec<_> = self.fronts.iter().filter(|front| !left_out.contains(&front.server)).collect();
        if rest.iter().all(|front| front.addresses.is_empty()) { self.fronts.iter().collect() } else { rest }
    }

    fn soa(&self) -> Record {
        let mname = self.name_servers.first().map_or(&self.domain, |name_server| &name_server.name).clone();
        let data = Data::Soa {
            mname,
            rname: format!("hostmaster.{}", self.domain),
            serial: self.serial(),
            timers_s: [REFRESH_S, RETRY_S, EXPIRE_S],
            minimum_s: self.ttl_s,
        };
        record(&self.domain, self.ttl_s, data)
    }

    /// The same for the same content on every server, so that `dig SOA` shows whether two of them agree. It does not
    /// grow with time: nobody transfers the zone.
    fn serial(&self) -> u32 {
        let content: String = self.content(&[]).iter().map(|record| format!("{record}\n")).collect();
        fnv1a(content.as_bytes())
    }

    /// Every record but the SOA.
    fn content(&self, left_out: &[ServerName]) -> Vec<Record> {
        let slow_s = self.ttl_s.max(NAME_SERVER_TTL_S);
        let names = self.name_servers.iter().map(|ns| record(&self.domain, slow_s, Data::Ns(ns.name.clone())));
        let glue = self.name_servers.iter().flat_map(|ns| addresses(&ns.name, slow_s, &ns.addresses));
        let fronts = self.fronts_without(left_out);
        let apex = fronts.iter().flat_map(|front| addresses(&self.domain, self.ttl_s, &front.addresses));
        let hosts = self.hosts.iter().map(|host| record(host, self.ttl_s, Data::Cname(self.domain.clone())));
        names.chain(glue).chain(apex).chain(hosts).collect()
    }
}

fn record(name: &str, ttl_s: u32, data: Data) -> Record {
    Record { name: name.to_owned(), ttl_s, data }
}

fn addresses(name: &str, ttl_s: u32, addresses: &[IpAddr]) -> impl Iterator<Item = Record> {
    addresses.iter().map(move |address| record(name, ttl_s, Data::Address(*address)))
}

/// Prints the zone as a master file (RFC 1035 §5).
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records(&[]).iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {} IN {}", self.name, self.ttl_s, self.data)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Soa { mname, rname, serial, timers_s: [refresh, retry, expire], minimum_s } => {
                write!(f, "SOA {mname}. {rname}. {serial} {refresh} {retry} {expire} {minimum_s}")
            }
            Data::Ns(name) => write!(f, "NS {name}."),
            Data::Address(IpAddr::V4(address)) => write!(f, "A {address}"),
            Data::Address(IpAddr::V6(address)) => write!(f, "AAAA {address}"),
            Data::Cname(name) => write!(f, "CNAME {name}."),
        }
    }
}

/// Where `server` must listen, over UDP and TCP: port 53 of its public addresses if it is a name server.
pub fn listeners(design: &Design, server: &ServerName) -> Vec<SocketAddr> {
    if !design.carries(server, Role::Dns) {
        return Vec::new();
    }
    public_addresses(design, server).into_iter().map(|address| SocketAddr::new(address, DNS)).collect()
}

fn public_addresses(design: &Design, server: &ServerName) -> Vec<IpAddr> {
    design.server(server).map(|server| server.public.clone()).unwrap_or_default()
}

/// FNV-1a, 32 bits: a hash that is the same in every build.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::fnv1a;

    #[test]
    fn fnv1a_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}
