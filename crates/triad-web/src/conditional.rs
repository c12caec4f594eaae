//! Whether a client's conditions let it have the file (RFC 9110 §13). Pure.

use std::time::SystemTime;

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue};

/// What tells one version of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    /// A strong entity tag, quotes included, without a comma.
    pub(crate) etag: String,
    /// When the file was changed, in whole seconds as HTTP's dates are.
    pub(crate) modified: SystemTime,
}

/// What a client's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send the file, or the part asked for.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not the version the client wants.
    Failed,
}

/// Weighs the conditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
pub(crate) fn verdict(headers: &HeaderMap, validators: &Validators) -> Verdict {
    let as_wanted = match_strongly(headers, validators)
        .or_else(|| Some(validators.modified <= date(headers, IF_UNMODIFIED_SINCE)?))
        .unwrap_or(true);
    if !as_wanted {
        return Verdict::Failed;
    }
    let known = match_weakly(headers, validators)
        .or_else(|| Some(validators.modified <= date(headers, IF_MODIFIED_SINCE)?))
        .unwrap_or(false);
    if known { Verdict::NotModified } else { Verdict::Send }
}

/// Whether a range may be answered: there is no `If-Range`, or it names this version (RFC 9110 §13.1.5). A date must
/// be the very one we sent, and a weak tag never is.
pub(crate) fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(wanted) = headers.get(IF_RANGE) else { return true };
    wanted == validators.etag.as_str() || date(headers, IF_RANGE) == Some(validators.modified)
}

/// `If-Match`, which compares strongly; `None` without the header.
fn match_strongly(headers: &HeaderMap, validators: &Validators) -> Option<bool> {
    any_tag(headers, IF_MATCH, |tag| tag == validators.etag)
}

/// `If-None-Match`, which compares weakly; `None` without the header.
fn match_weakly(headers: &HeaderMap, validators: &Validators) -> Option<bool> {
    any_tag(headers, IF_NONE_MATCH, |tag| tag.strip_prefix("W/").unwrap_or(tag) == validators.etag)
}

/// Whether the list of tags in `name` is `*` or has one that `matches`. Splitting at commas inside a tag is harmless,
/// because ours have none.
fn any_tag(headers: &HeaderMap, name: HeaderName, matches: impl Fn(&str) -> bool) -> Option<bool> {
    headers.contains_key(&name).then(|| {
        let lines = headers.get_all(&name).into_iter().filter_map(text);
        lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| tag == "*" || matches(tag))
    })
}

/// The date in `name`; `None` if there is none or it is not one, which RFC 9110 has us ignore.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    headers.get(name).and_then(text).and_then(|text| httpdate::parse_http_date(text).ok())
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
