//! Who listens on a port, read from `/proc` (proc_pid_net(5), proc_pid_fd(5)).

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// State `TCP_LISTEN` as the kernel prints it.
const LISTEN: &str = "0A";

/// A listener found in the kernel's tables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its process and that process's name; `None` if it is not ours to see.
    pub(crate) process: Option<(u32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "{name} (pid {pid})"),
            None => f.write_str("a process that is not visible from here"),
        }
    }
}

/// Who keeps `address` from being bound, in this network namespace.
pub(crate) fn holder(address: SocketAddr) -> Option<Holder> {
    let inode = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| listener_inode(&table, address))?;
    Some(Holder { process: process_with(&inode) })
}

/// The socket's inode in a table of `/proc/net`: the line that listens on this address or on all.
fn listener_inode(table: &str, address: SocketAddr) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let bound = decode(fields.get(1)?)?;
        let clashes = bound.port() == address.port() && (bound.ip() == address.ip() || bound.ip().is_unspecified());
        (clashes && *fields.get(3)? == LISTEN).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

/// `0100007F:1F90`: the address as native-endian 32-bit words in hexadecimal, then the port.
fn decode(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len())
        .step_by(8)
        .map(|at| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes()))
        .collect();
    let ip = match words?.as_flattened() {
        four if four.len() == 4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(four).ok()?)),
        sixteen => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(sixteen).ok()?)).to_canonical(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn process_with(inode: &str) -> Option<(u32, String)> {
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(&Path::new("/proc").join(pid.to_string()).join("fd"), &link))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim_end().to_owned()))
}

fn holds(descriptors: &Path, link: &str) -> bool {
    let Ok(entries) = fs::read_dir(descriptors) else { return false };
    entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::{holder, listener_inode};

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200007F:5B0A 00000000:0000 0A 00000000:00000000 00:00000000 00000000   102        0 4711 1 0 100 0 0 10 0
   1: 0200007F:5B0B 0100007F:C350 01 00000000:00000000 00:00000000 00000000   102        0 4712 1 0 100 0 0 10 0
   2: 00000000:5B0C 00000000:0000 0A 00000000:00000000 00:00000000 00000000   102        0 4713 1 0 100 0 0 10 0
   3: 00000000000000000000000000000000:5B0D 00000000000000000000000000000000:0000 0A 0:0 00:0 0 102 0 4714 1 0
   4: 0000000000000000FFFF00000200007F:5B0E 00000000000000000000000000000000:0000 0A 0:0 00:0 0 102 0 4715 1 0
";

    #[test]
    fn a_listener_on_the_address_or_on_all_is_found() {
        let cases = [
            ("127.0.0.2:23306", Some("4711"), "the address itself"),
            ("127.0.0.3:23306", None, "another address"),
            ("127.0.0.2:23307", None, "a connection, not a listener"),
            ("127.0.0.2:23308", Some("4713"), "all IPv4 addresses"),
            ("127.0.0.2:23309", Some("4714"), "all IPv6 addresses, and with them IPv4"),
            ("127.0.0.2:23310", Some("4715"), "an IPv4 address in an IPv6 socket"),
        ];
        for (address, inode, why) in cases {
            let address: SocketAddr = address.parse().expect(why);
            assert_eq!(listener_inode(TABLE, address).as_deref(), inode, "{why}");
        }
    }

    #[test]
    fn a_real_listener_is_named_until_it_closes() {
        let listener = TcpListener::bind("127.0.0.2:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (pid, _) = holder(address).expect("listening").process.expect("our own");
        assert_eq!(pid, std::process::id());
        drop(listener);
        assert_eq!(holder(address), None);
    }
}
