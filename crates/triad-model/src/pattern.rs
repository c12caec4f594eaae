//! Patterns of requests, as redirects and routes name them: a path or the start of one, on one host or on all.
//!
//! Paths are compared byte for byte. Of several patterns that fit a request one is the most specific, by one rule for
//! all who ask.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest text of a pattern, and of where a redirect leads.
const TEXT_BYTES_MAX: usize = 1024;

/// Which requests are meant: `/old`, `/old/*`, `foobar.com/*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestPattern {
    /// The host they are for; `None`: all of the site's.
    pub host: Option<String>,
    /// Their path; of a prefix its start, which ends in a slash.
    pub path: String,
    /// Whether the path goes on.
    pub is_prefix: bool,
}

/// What is wrong with a pattern, or with where a redirect leads, as a clause behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(pub &'static str);

impl FromStr for RequestPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        check_text(text)?;
        if text.contains("://") {
            return Err(InvalidPattern("has a scheme: requests over HTTP and HTTPS are meant"));
        }
        if text.contains('?') {
            return Err(InvalidPattern("has a query, which is not looked at"));
        }
        let slash = text.find('/').ok_or(InvalidPattern("has no path"))?;
        let (host, path) = text.split_at(slash);
        let (path, is_prefix) = split_star(path)?;
        let host = (!host.is_empty()).then(|| host.to_owned());
        Ok(Self { host, path: path.to_owned(), is_prefix })
    }
}

impl RequestPattern {
    /// Whether a request for `path`, without query, on `host` is one of them.
    pub fn catches(&self, host: &str, path: &str) -> bool {
        let of_host = self.host.as_deref().is_none_or(|own| own == host);
        of_host && if self.is_prefix { path.starts_with(&self.path) } else { path == self.path }
    }

    /// Of several that catch a request the greatest decides: a whole path before a prefix, a longer one before a
    /// shorter, one of this host before one of all.
    fn precedence(&self) -> (bool, usize, bool) {
        (!self.is_prefix, self.path.len(), self.host.is_some())
    }
}

impl fmt::Display for RequestPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.host.as_deref().unwrap_or_default(), self.path, if self.is_prefix { "*" } else { "" })
    }
}

impl TryFrom<String> for RequestPattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<RequestPattern> for String {
    fn from(source: RequestPattern) -> Self {
        source.to_string()
    }
}

/// Which of `patterns` decides about a request for `path`, without query, on `host`, by its number.
pub(crate) fn most_specific<'p>(
    patterns: impl Iterator<Item = &'p RequestPattern>,
    host: &str,
    path: &str,
) -> Option<usize> {
    let caught = patterns.enumerate().filter(|(_, pattern)| pattern.catches(host, path));
    caught.max_by_key(|(_, pattern)| pattern.precedence()).map(|(index, _)| index)
}

/// What stands in a URL, all of it visible; a fragment would stand before the query that is kept.
pub(crate) fn check_text(text: &str) -> Result<(), InvalidPattern> {
    let stands_in_url = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    if text.len() > TEXT_BYTES_MAX {
        return Err(InvalidPattern("is longer than 1024 characters"));
    }
    if text.contains('#') {
        return Err(InvalidPattern("has a fragment"));
    }
    if !text.bytes().all(stands_in_url) {
        return Err(InvalidPattern("has characters that must be percent-encoded"));
    }
    Ok(())
}

/// The path without its `*`, and whether it had one.
pub(crate) fn split_star(path: &str) -> Result<(&str, bool), InvalidPattern> {
    let start = path.strip_suffix('*').filter(|start| start.ends_with('/'));
    let (path, has_star) = start.map_or((path, false), |start| (start, true));
    if path.contains('*') {
        return Err(InvalidPattern("has a * that is not the end of a path, behind a slash"));
    }
    if has_star && path.contains('?') {
        return Err(InvalidPattern("has a * in its query"));
    }
    Ok((path, has_star))
}
