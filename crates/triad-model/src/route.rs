//! Pools beside the balancer's, and which requests go to them.
//!
//! What is here decides by looking at all routes, which is what a file needs that is checked once; the edge has a table
//! that says the same.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::pattern::most_specific;
use crate::{Balancing, RequestPattern, ServerName};

/// The most routes of one design.
pub const ROUTES_MAX: usize = 1000;
/// The most pools of one design, beside the balancer's.
pub const POOLS_MAX: usize = 64;
/// Names that reports give to other pools: the balancer's, and each server's own.
pub const POOL_NAMES_TAKEN: [&str; 2] = ["balancer", "local"];

/// Sends some requests to a pool of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which requests.
    #[serde(rename = "match")]
    pub pattern: RequestPattern,
    /// The pool's name.
    pub pool: String,
}

/// Backends that a route leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name, of the form of a server's.
    pub name: String,
    /// Where requests go, in the order of the file; at least one is not passive.
    pub backends: Vec<PoolBackend>,
    /// How they are shared.
    #[serde(flatten)]
    pub balancing: Balancing,
}

/// A backend of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolBackend {
    /// The server, or what the file calls that which is at `address`.
    pub name: ServerName,
    /// Where something listens that Triad does not run; `None`: a server of the design.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// As [`crate::Backend::weight`].
    pub weight: u16,
    /// Passive.
    pub backup: bool,
    /// As [`crate::Backend::max_connections`].
    pub max_connections: u32,
}

impl PoolBackend {
    /// The server of the design that it is.
    pub fn server(&self) -> Option<&ServerName> {
        self.address.is_none().then_some(&self.name)
    }
}

/// A path that leads to one pool as it was sent, and elsewhere as a backend could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path can be read in two ways, which routes send to different pools")]
pub struct Ambiguous;

/// The route that a request for `path`, without query, on `host` takes, by its number; `None`: it goes where requests
/// without a route go.
///
/// # Errors
/// It depends on how the path is read.
pub fn route_for(routes: &[Route], host: &str, path: &str) -> Result<Option<usize>, Ambiguous> {
    let find = |path: &str| most_specific(routes.iter().map(|route| &route.pattern), host, path);
    let pool = |route: Option<usize>| route.map(|index| &routes[index].pool);
    let route = find(path);
    let same = |reading: &[u8]| pool(find(&String::from_utf8_lossy(reading))) == pool(route);
    if all_readings(path.as_bytes(), &mut Vec::new(), same) { Ok(route) } else { Err(Ambiguous) }
}

/// Whether `holds` of every other way in which a server behind us could read `path`, beside byte for byte: with
/// percent-encoded bytes decoded and `\` for `/`, without parameters behind `;`, with slashes in a row as one, and
/// without dot segments (RFC 3986 sections 2.1, 3.3 and 5.2.4), one on top of the other. `scratch` is memory.
///
/// A path of which all that changes nothing, as nearly all are, is not even copied.
pub fn all_readings(path: &[u8], scratch: &mut Vec<u8>, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    if !is_odd(path) {
        return true;
    }
    scratch.clear();
    scratch.extend_from_slice(path);
    [decode, drop_parameters, merge_slashes, remove_dots].iter().all(|read| {
        read(scratch);
        holds(scratch)
    })
}

/// Whether there is more than one way to read it.
fn is_odd(path: &[u8]) -> bool {
    let pair = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    path.iter().any(|byte| matches!(byte, b'%' | b'\\' | b';')) || path.windows(2).any(pair)
}

fn decode(path: &mut Vec<u8>) {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let (mut from, mut to) = (0, 0);
    while from < path.len() {
        let mut byte = path[from];
        if let (b'%', Some(high), Some(low)) = (byte, hex(path.get(from + 1)), hex(path.get(from + 2))) {
            byte = high << 4 | low;
            from += 2;
        }
        path[to] = if byte == b'\\' { b'/' } else { byte };
        (from, to) = (from + 1, to + 1);
    }
    path.truncate(to);
}

fn drop_parameters(path: &mut Vec<u8>) {
    let mut inside = false;
    path.retain(|byte| {
        inside = *byte == b';' || inside && *byte != b'/';
        !inside
    });
}

fn merge_slashes(path: &mut Vec<u8>) {
    path.dedup_by(|later, first| (*later, *first) == (b'/', b'/'));
}

fn remove_dots(path: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    // Each turn takes a slash and the segment behind it.
    while from < path.len() {
        let end = path[from + 1..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| from + 1 + at);
        let is_last = end == path.len();
        let segment = path[from..end].strip_prefix(b"/").unwrap_or(&path[from..end]);
        if segment == b"." || segment == b".." {
            if segment == b".." {
                to = path[..to].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            }
            if is_last {
                path[to] = b'/';
                to += 1;
            }
        } else {
            path.copy_within(from..end, to);
            to += end - from;
        }
        from = end;
    }
    path.truncate(to);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Ambiguous, Route, all_readings, remove_dots, route_for};

    fn routes(list: &[(&str, &str)]) -> Vec<Route> {
        let route = |(pattern, pool): &(&str, &str)| Route {
            pattern: pattern.parse().expect(pattern),
            pool: (*pool).to_owned(),
        };
        list.iter().map(route).collect()
    }

    #[test]
    fn what_can_be_read_as_another_pools_is_ambiguous() {
        let all = routes(&[("/admin/*", "admin"), ("/files/*", "files"), ("/files/old/*", "files"), ("/who", "admin")]);
        let met = |path| route_for(&all, "www.foobar.com", path);
        for (path, index) in [
            ("/", None),
            ("/admin", None),
            ("/Admin/x", None),
            ("/admin/x", Some(0)),
            ("/admin/../admin/x", Some(0)),
            ("/admin/a%20b", Some(0)),
            ("/files/a%2fb;v=1//c", Some(1)),
            ("/files/old%2Fx", Some(1)),
            ("//x", None),
            ("/.well-known/x", None),
        ] {
            assert_eq!(met(path), Ok(index), "{path}");
        }
        for path in [
            "//admin/x",
            "/%61dmin/x",
            "/%2561dmin/../admin/x",
            "/./admin/x",
            "/x/../admin/x",
            "/files/../admin/x",
            "/files/..%2fadmin/x",
            "/files/%2e%2E/admin/x",
            "/files\\..\\admin\\x",
            "/admin;v=1/x",
            "/files/..;/admin/x",
            "/admin/..",
            "/admin%2fx",
            "/admin/../x",
            "/%77ho",
            "/who;x",
        ] {
            assert_eq!(met(path), Err(Ambiguous), "{path}");
        }
    }

    #[test]
    fn dots_are_removed_as_the_specification_says() {
        for (path, expected) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/../", "/a/"),
            ("/", "/"),
            ("/...", "/..."),
            ("/..a/.b", "/..a/.b"),
        ] {
            let mut bytes = path.as_bytes().to_vec();
            remove_dots(&mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "{path}");
        }
    }

    proptest! {
        /// Whatever is sent, every reading ends, stays within the path's length and has no dot segment at the end.
        #[test]
        fn readings_of_anything(path in "(/|\\.|%2[eEfF]|%5c|\\\\|;|a|%|\\PC){0,12}") {
            for path in [path.clone(), format!("/{path}")] {
                let mut last = path.clone().into_bytes();
                all_readings(path.as_bytes(), &mut Vec::new(), |reading| {
                    assert!(reading.len() <= path.len());
                    last = reading.to_vec();
                    true
                });
                if path.starts_with('/') {
                    let mut segments = last.split(|byte| *byte == b'/');
                    prop_assert!(segments.all(|segment| segment != b"." && segment != b".."));
                }
            }
        }
    }
}
