//! Redirects: which requests one is for and where it leads.
//!
//! What is here decides by looking at all of them, which is what a file needs that is checked once; the edge has tables
//! that say the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::pattern::{InvalidPattern, RequestPattern, check_text, most_specific, split_star};

/// Statuses a redirect can have.
pub const REDIRECT_STATUSES: &[i64] = &[301, 302, 303, 307, 308];
/// [`Redirect::status`] where the file does not say it: for ever, and with the method kept.
pub const REDIRECT_STATUS: i64 = 308;
/// The most redirects of one design.
pub const REDIRECTS_MAX: usize = 1000;
/// Redirects in a row after which browsers give up.
const HOPS_MAX: usize = 20;

/// Sends requests elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Which requests.
    pub from: RequestPattern,
    /// Where to.
    pub to: RedirectTarget,
    /// One of [`REDIRECT_STATUSES`].
    pub status: u16,
}

/// Where a redirect leads: `/new`, `https://www.foobar.com/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectTarget {
    /// Scheme and authority: `https://www.foobar.com`; `None`: those of the request.
    pub origin: Option<String>,
    /// The path, with its query if it has one.
    pub path: String,
    /// Whether what `*` stands for in the source follows.
    pub takes_rest: bool,
}

/// Redirects that never come to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endless {
    /// The one that begins, by its number.
    pub index: usize,
    /// What a browser is sent to, one after the other, the request first.
    pub way: Vec<String>,
}

impl FromStr for RedirectTarget {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        check_text(text)?;
        let (origin, path) = split_origin(text)?;
        let (path, takes_rest) = split_star(path)?;
        Ok(Self { origin: origin.map(str::to_owned), path: path.to_owned(), takes_rest })
    }
}

/// Scheme and authority, if there are any, and the rest. The rest starts with a slash, so that nothing that is put
/// behind it can become a part of the host.
fn split_origin(text: &str) -> Result<(Option<&str>, &str), InvalidPattern> {
    if text.starts_with("//") {
        return Err(InvalidPattern("starts with two slashes, behind which browsers read a host"));
    }
    if text.starts_with('/') {
        return Ok((None, text));
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme));
    let scheme = scheme.ok_or(InvalidPattern("is neither a path nor a URL of http or https"))?;
    let authority = &text[scheme.len()..];
    let slash = authority.find('/').ok_or(InvalidPattern("has no path"))?;
    if !is_authority(&authority[..slash]) {
        return Err(InvalidPattern("has no host of lower-case letters, digits, hyphens and dots"));
    }
    let (origin, path) = text.split_at(scheme.len() + slash);
    Ok((Some(origin), path))
}

/// A host's name with or without a port.
fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "80"));
    let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !host.is_empty() && host.bytes().all(in_name) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl RedirectTarget {
    /// The host without a scheme's own port; `None` if it is the request's.
    pub fn host(&self) -> Option<&str> {
        let (scheme, authority) = self.origin.as_deref()?.split_once("://")?;
        let port = if scheme == "https" { ":443" } else { ":80" };
        let host = authority.strip_suffix(port).unwrap_or(authority);
        Some(host.strip_suffix('.').unwrap_or(host))
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.takes_rest { "*" } else { "" };
        write!(f, "{}{}{star}", self.origin.as_deref().unwrap_or_default(), self.path)
    }
}

impl TryFrom<String> for RedirectTarget {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<RedirectTarget> for String {
    fn from(target: RedirectTarget) -> Self {
        target.to_string()
    }
}

/// The redirect that a request for `path`, without query, on `host` meets, by its number.
pub fn redirect_for(redirects: &[Redirect], host: &str, path: &str) -> Option<usize> {
    most_specific(redirects.iter().map(|redirect| &redirect.from), host, path)
}

/// Which of `redirects` of a site with these `hosts` begin a way that never ends, each such way once. Whether HTTP or
/// HTTPS makes no difference: where a target's scheme is not the one that the site is on, the site redirects as well.
pub fn endless_redirects(redirects: &[Redirect], hosts: &[String]) -> Vec<Endless> {
    let mut found: Vec<Endless> = Vec::new();
    let mut known = vec![false; redirects.len()];
    for (index, redirect) in redirects.iter().enumerate() {
        let own = |host: &&String| redirect.from.host.as_deref().is_none_or(|only| only == host.as_str());
        for host in hosts.iter().filter(own) {
            if known[index] {
                break;
            }
            let Some((rules, way)) = endless(redirects, hosts, index, host) else { continue };
            if !rules.iter().any(|rule| known[*rule]) {
                found.push(Endless { index, way });
            }
            rules.into_iter().for_each(|rule| known[rule] = true);
        }
    }
    found
}

/// What is met from a request that redirect `index` is for, if that never ends: which redirects, and the way.
///
/// One request stands for all that a prefix is for: it goes on with what no redirect knows. A circle that needs to know
/// more of it passes the redirect that does, and is found from there.
fn endless(redirects: &[Redirect], hosts: &[String], index: usize, host: &str) -> Option<(Vec<usize>, Vec<String>)> {
    let from = &redirects[index].from;
    let unknown = unknown_to(redirects);
    let mut place = (host.to_owned(), format!("{}{}", from.path, if from.is_prefix { &unknown } else { "" }));
    let (mut rules, mut way) = (Vec::new(), Vec::new());
    for _ in 0..=HOPS_MAX {
        way.push(format!("{}{}", place.0, place.1.replace(&unknown, "…")));
        let met = redirect_for(redirects, &place.0, &place.1)?;
        rules.push(met);
        place = next(&redirects[met], &place, hosts)?;
    }
    if let Some(again) = (1..rules.len()).find(|later| rules[*later] == index) {
        rules.truncate(again);
        way.truncate(again + 1);
        return Some((rules, way));
    }
    // Another's circle that this one leads into is told of there.
    let in_circle = (1..rules.len()).any(|later| rules[..later].contains(&rules[later]));
    (!in_circle).then_some((rules, way))
}

/// Where `redirect` sends who asks for `place`; `None` if that is not the site.
fn next(redirect: &Redirect, place: &(String, String), hosts: &[String]) -> Option<(String, String)> {
    let host = redirect.to.host().unwrap_or(&place.0);
    let path = redirect.to.path.split('?').next().unwrap_or_default();
    let rest = if redirect.to.takes_rest { &place.1[redirect.from.path.len()..] } else { "" };
    hosts.iter().any(|own| own == host).then(|| (host.to_owned(), format!("{path}{rest}")))
}

/// A text that stands in no path of `redirects`.
fn unknown_to(redirects: &[Redirect]) -> String {
    let longest = redirects.iter().map(|it| it.from.path.len().max(it.to.path.len())).max().unwrap_or(0);
    "~".repeat(longest + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Endless, HOPS_MAX, Redirect, RedirectTarget, RequestPattern, endless_redirects, next, redirect_for};

    fn redirects(pairs: &[(&str, &str)]) -> Vec<Redirect> {
        let redirect = |(from, to): &(&str, &str)| Redirect {
            from: from.parse().expect(from),
            to: to.parse().expect(to),
            status: 308,
        };
        pairs.iter().map(redirect).collect()
    }

    fn hosts() -> Vec<String> {
        vec!["www.foobar.com".to_owned(), "foobar.com".to_owned()]
    }

    /// The ways that never end, one a line.
    fn endless(pairs: &[(&str, &str)]) -> String {
        let found = endless_redirects(&redirects(pairs), &hosts());
        found.iter().map(|it| format!("{}: {}\n", it.index, it.way.join(" > "))).collect()
    }

    #[test]
    fn the_two_sides_are_read_and_written_alike() {
        for text in ["/old", "/old/*", "/*", "foobar.com/*", "foobar.com/a/b", "/"] {
            assert_eq!(text.parse::<RequestPattern>().expect(text).to_string(), text);
        }
        for text in ["/new", "/new/*", "/*", "https://www.foobar.com/*", "http://other.example:8080/a?b=c"] {
            assert_eq!(text.parse::<RedirectTarget>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        for text in
            ["", "old", "foobar.com", "/a*", "/*/a", "/a/**", "/a?b", "/a#b", "/a b", "/\u{e4}", "http://a.com/"]
        {
            assert!(text.parse::<RequestPattern>().is_err(), "{text:?}");
        }
        let others = ["//evil.example/", "https://foobar.com*", "https://foobar.com", "https:///a", "ftp://a.com/"];
        let more = ["https://user@a.com/", "/\\evil.example", "/a?b=/*", "/a\r\nb", "javascript:alert(1)", "/a#b"];
        for text in others.into_iter().chain(more) {
            assert!(text.parse::<RedirectTarget>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_whole_path_goes_before_a_prefix_and_a_longer_one_before_a_shorter() {
        let all =
            redirects(&[("/*", "/0"), ("/a/*", "/1"), ("foobar.com/a/*", "/2"), ("/a/b", "/3"), ("/a/b/*", "/4")]);
        let met = |host, path| redirect_for(&all, host, path);
        assert_eq!(met("www.foobar.com", "/a"), Some(0));
        assert_eq!(met("www.foobar.com", "/a/"), Some(1));
        assert_eq!(met("foobar.com", "/a/c"), Some(2));
        assert_eq!(met("foobar.com", "/a/b"), Some(3));
        assert_eq!(met("foobar.com", "/a/b/c"), Some(4));
    }

    #[test]
    fn circles_are_found_each_once() {
        assert_eq!(endless(&[("/a", "/a")]), "0: www.foobar.com/a > www.foobar.com/a\n");
        assert_eq!(
            endless(&[("/a", "/b"), ("/b", "/a"), ("/c", "/a")]),
            "0: www.foobar.com/a > www.foobar.com/b > www.foobar.com/a\n"
        );
        assert_eq!(
            endless(&[("foobar.com/*", "https://www.foobar.com/*"), ("www.foobar.com/*", "http://foobar.com:80/*")]),
            "0: foobar.com/… > www.foobar.com/… > foobar.com/…\n"
        );
        // It grows and is never the same.
        assert_eq!(endless(&[("/a/*", "/a/b/*")]), "0: www.foobar.com/a/… > www.foobar.com/a/b/…\n");
        // On one of the hosts only.
        assert_eq!(
            endless(&[("/a", "/a"), ("www.foobar.com/a", "https://other.example/a")]),
            "0: foobar.com/a > foobar.com/a\n"
        );
        // Only what the second is for goes in a circle.
        assert_eq!(
            endless(&[("/p/*", "/q/*"), ("/q/s/*", "/p/s/*")]),
            "1: www.foobar.com/q/s/… > www.foobar.com/p/s/… > www.foobar.com/q/s/…\n"
        );
        assert_eq!(
            endless(&[("/x/*", "/y/*"), ("/y/z", "/x/z")]),
            "1: www.foobar.com/y/z > www.foobar.com/x/z > www.foobar.com/y/z\n"
        );
    }

    #[test]
    fn what_ends_is_none() {
        assert_eq!(endless(&[("foobar.com/*", "https://www.foobar.com/*"), ("/old", "/new")]), "");
        assert_eq!(endless(&[("/x/*", "/*"), ("/a", "/x/x/x/b")]), "");
        assert_eq!(endless(&[("/a", "https://other.example/a"), ("/b", "https://foobar.com:8443/b")]), "");
        // Met twice, and then left.
        assert_eq!(endless(&[("/a/*", "/a/u/*"), ("/a/u/u/*", "https://other.example/*")]), "");
    }

    #[test]
    fn more_in_a_row_than_browsers_follow_is_one_too_many() {
        let row = |count: usize| -> Vec<(String, String)> {
            (0..count).map(|number| (format!("/{number}"), format!("/{}", number + 1))).collect()
        };
        let told = |count| {
            let row = row(count);
            let pairs: Vec<(&str, &str)> = row.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
            endless(&pairs)
        };
        assert_eq!(told(20), "");
        assert!(told(21).starts_with("0: www.foobar.com/0 > www.foobar.com/1 > "));
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]", 0..3).prop_map(|labels| format!("/{}", labels.join("/")))
    }

    fn side(origins: &'static [&'static str]) -> impl Strategy<Value = String> {
        (prop::sample::select(origins), path()).prop_map(|(origin, path)| format!("{origin}{path}"))
    }

    /// Both sides with a star, or only the first, or none.
    fn any_redirect() -> impl Strategy<Value = Redirect> {
        let from = side(&["", "foobar.com", "www.foobar.com"]);
        let to = side(&["", "https://foobar.com", "http://www.foobar.com", "https://other.example"]);
        let starred = |side: String| if side.ends_with('/') { side + "*" } else { side + "/*" };
        (from, to, 0..3).prop_map(move |(from, to, stars)| {
            let from = if stars > 0 { starred(from) } else { from };
            let to = if stars > 1 { starred(to) } else { to };
            Redirect { from: from.parse().expect("a source"), to: to.parse().expect("a target"), status: 308 }
        })
    }

    /// Whether a browser that asks for `path` on `host` is still not there after so many redirects.
    fn goes_on(redirects: &[Redirect], host: &str, path: String, hops: usize) -> bool {
        let mut place = (host.to_owned(), path);
        (0..=hops).all(|_| {
            let met = redirect_for(redirects, &place.0, &place.1);
            match met.and_then(|met| next(&redirects[met], &place, &hosts())) {
                Some(there) => {
                    place = there;
                    true
                }
                None => false,
            }
        })
    }

    proptest! {
        /// Where nothing was found, every request arrives; what was found does not.
        #[test]
        fn nothing_endless_is_missed_and_nothing_else_is_found(
            redirects in prop::collection::vec(any_redirect(), 1..5),
            host in prop::sample::select(&["www.foobar.com", "foobar.com"][..]),
            start in prop::collection::vec("[abc]", 0..5),
        ) {
            let found = endless_redirects(&redirects, &hosts());
            if found.is_empty() {
                let path = format!("/{}", start.join("/"));
                prop_assert!(!goes_on(&redirects, host, path, 60));
            }
            for Endless { index, .. } in found {
                let from = &redirects[index].from;
                let path = if from.is_prefix { format!("{}~~~~~~~~~~", from.path) } else { from.path.clone() };
                prop_assert!(hosts().iter().any(|host| goes_on(&redirects, host, path.clone(), HOPS_MAX)), "{index}");
            }
        }
    }
}
