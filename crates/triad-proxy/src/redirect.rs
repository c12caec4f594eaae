//! The design's redirects, made ready: a table, and the answer.
//!
//! Invariants: which redirect a request meets is what [`triad_model::redirect_for`] says; the host of a `Location` is
//! the design's own, never what a client sent; nothing outside visible ASCII stands in one.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use triad_http::{Body, Fault, Whose, body};
use triad_model::Redirect;

use crate::table::Table;

/// All redirects of a design.
#[derive(Debug)]
pub(crate) struct Redirects(Table<Rule>);

#[derive(Debug)]
struct Rule {
    origin: Option<Box<str>>,
    path: Box<str>,
    takes_rest: bool,
    status: StatusCode,
}

/// What the parts of a `Location` come from.
pub(crate) struct Asked<'a> {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The site's host, as the design writes it.
    pub host: &'a str,
    /// Path and query, as the client sent them.
    pub target: &'a [u8],
}

impl Redirects {
    /// `None` if there are none.
    pub fn of(redirects: &[Redirect]) -> Option<Self> {
        Table::of(redirects.iter().map(|redirect| (&redirect.from, Rule::of(redirect)))).map(Self)
    }

    /// The answer to a request that is redirected.
    pub fn answer(&self, asked: &Asked<'_>) -> Option<Result<Response<Body>, Fault>> {
        let split = asked.target.iter().position(|byte| *byte == b'?').unwrap_or(asked.target.len());
        let (path, query) = asked.target.split_at(split);
        let (rule, rest) = self.0.find(asked.host, path)?;
        Some(moved(rule.status, rule.location(asked, rest, query)))
    }
}

impl Rule {
    fn of(redirect: &Redirect) -> Self {
        Self {
            origin: redirect.to.origin.as_deref().map(Into::into),
            path: redirect.to.path.as_str().into(),
            takes_rest: redirect.to.takes_rest,
            status: StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::PERMANENT_REDIRECT),
        }
    }

    /// Always a whole URL: what a client sent could begin with two slashes, and a path that does is read as a host.
    fn location(&self, asked: &Asked<'_>, rest: &[u8], query: &[u8]) -> Vec<u8> {
        let own = [asked.scheme, "://", asked.host];
        let origin = self.origin.as_deref().map_or(own, |origin| [origin, "", ""]);
        let rest = if self.takes_rest { rest } else { b"" };
        // A query of the target's own is gone on with.
        let query = match (query, self.path.contains('?')) {
            ([b'?', more @ ..], true) => [b"&", more],
            _ => [b"", query],
        };
        let origin = origin.map(str::as_bytes);
        [&origin[..], &[self.path.as_bytes(), rest], &query[..]].concat().concat()
    }
}

/// The answer that sends a client to `location`.
pub(crate) fn moved(status: StatusCode, location: Vec<u8>) -> Result<Response<Body>, Fault> {
    let unfit = || Fault::new(400, Whose::Client, "the request's target");
    if !location.iter().all(u8::is_ascii_graphic) {
        return Err(unfit());
    }
    let location = HeaderValue::try_from(location).map_err(|_| unfit())?;
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use triad_model::{Redirect, redirect_for};

    use super::{Asked, Redirects};

    const HOSTS: [&str; 2] = ["www.foobar.com", "foobar.com"];

    fn redirect((from, to): (&str, &str)) -> Redirect {
        Redirect { from: from.parse().expect(from), to: to.parse().expect(to), status: 308 }
    }

    /// Where a request is sent; `None` if it is not.
    fn location(redirects: &Redirects, host: &str, target: &[u8]) -> Option<Vec<u8>> {
        let response = redirects.answer(&Asked { scheme: "https", host, target })?.ok()?;
        Some(response.headers()[http::header::LOCATION].as_bytes().to_owned())
    }

    #[test]
    fn the_rest_and_the_query_are_kept() {
        let pairs = [
            ("foobar.com/*", "https://www.foobar.com/*"),
            ("/old", "/new"),
            ("/docs/*", "/manual/*"),
            ("/all/*", "/one?from=all"),
            ("/up/*", "/*"),
        ];
        let redirects = Redirects::of(&pairs.map(redirect)).expect("some");
        let to = |host: &str, target: &str| {
            location(&redirects, host, target.as_bytes()).map(|to| String::from_utf8(to).expect("text"))
        };
        let at = |target: &str| to("www.foobar.com", target).unwrap_or_default();
        assert_eq!(to("foobar.com", "/a//b?c=%20").as_deref(), Some("https://www.foobar.com/a//b?c=%20"));
        assert_eq!(at("/old?x=1"), "https://www.foobar.com/new?x=1");
        assert_eq!(at("/docs/"), "https://www.foobar.com/manual/");
        assert_eq!(at("/docs/a/b?c"), "https://www.foobar.com/manual/a/b?c");
        assert_eq!(at("/all/x?a=1"), "https://www.foobar.com/one?from=all&a=1");
        assert_eq!(at("/up//evil.example/"), "https://www.foobar.com//evil.example/");
        for other in ["/", "/docs", "/older", "/OLD", "*"] {
            assert_eq!(to("www.foobar.com", other), None, "{other}");
        }
    }

    fn side() -> impl Strategy<Value = (String, bool)> {
        (prop::collection::vec("[ab]", 0..3), any::<bool>()).prop_map(|(labels, star)| {
            let path = labels.iter().map(|label| format!("/{label}")).collect::<String>();
            (
                if star {
                    format!("{path}/*")
                } else if path.is_empty() {
                    "/".to_owned()
                } else {
                    path
                },
                star,
            )
        })
    }

    fn any_redirect() -> impl Strategy<Value = Redirect> {
        let host = prop::sample::select(&["", "foobar.com", "www.foobar.com"][..]);
        let origin = prop::sample::select(&["", "https://www.foobar.com", "http://other.example"][..]);
        (host, side(), origin, side()).prop_filter_map("a rest from nowhere", |(host, from, origin, to)| {
            let fits = from.1 || !to.1;
            fits.then(|| redirect((&format!("{host}{}", from.0), &format!("{origin}{}", to.0))))
        })
    }

    proptest! {
        /// The tables say what the model says: the longest wins, and the rest is carried over byte for byte.
        #[test]
        fn the_tables_are_what_the_model_says(
            mut redirects in prop::collection::vec(any_redirect(), 1..8),
            host in prop::sample::select(&HOSTS[..]),
            path in "(/[ab]){0,4}/?",
            query in prop::option::of("[!-~&&[^#]]{0,5}"),
        ) {
            let mut seen = std::collections::HashSet::new();
            redirects.retain(|redirect| seen.insert(redirect.from.clone()));
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            let expected = redirect_for(&redirects, host, &path).map(|index| {
                let Redirect { from, to, .. } = &redirects[index];
                let origin = to.origin.clone().unwrap_or_else(|| format!("https://{host}"));
                let rest = if to.takes_rest { &path[from.path.len()..] } else { "" };
                format!("{origin}{}{rest}{query}", to.path).into_bytes()
            });
            let target = format!("{path}{query}");
            let tables = Redirects::of(&redirects).expect("some");
            prop_assert_eq!(location(&tables, host, target.as_bytes()), expected);
        }

        /// Whatever a client sends, the host is one of the design's and every byte is visible.
        #[test]
        fn no_bytes_of_a_client_leave_the_path(rest in prop::collection::vec(any::<u8>(), 0..30)) {
            let pairs = [("/*", "/*"), ("/a/*", "https://www.foobar.com/*")].map(redirect);
            let tables = Redirects::of(&pairs).expect("some");
            for start in ["/", "/a/"] {
                let target = [start.as_bytes(), &rest].concat();
                let Some(location) = location(&tables, "www.foobar.com", &target) else { continue };
                prop_assert!(location.starts_with(b"https://www.foobar.com/"));
                prop_assert!(location.iter().all(u8::is_ascii_graphic));
                prop_assert!(location.ends_with(&rest));
            }
        }
    }
}
