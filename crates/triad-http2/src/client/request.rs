//! A request's head in HTTP/1.1, as HTTP/2 says it. Pure.

use http::header::{CONTENT_LENGTH, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use triad_http1::{Framing, Name, RequestHead};

use super::fields::append;
use crate::text::Unfit;

/// Takes the head from the start of `bytes`, where it must be whole; returns how many bytes it has, and how the body
/// behind it is told.
///
/// What concerns one connection of HTTP/1.1 stays behind (RFC 9113 §8.2.2), but for the word that trailers are read. So
/// does a wish to switch protocols: such a request is for a connection of HTTP/1.1.
pub(crate) fn head(bytes: &[u8], scheme: &Scheme) -> Result<(usize, Request<()>, Framing), Unfit> {
    let mut head = RequestHead::default();
    let length = head.parse(bytes)?.ok_or(Unfit("a part of a head"))?;
    let bytes = &bytes[..length];
    if head.upgrade.is_some() {
        return Err(Unfit("a wish to switch protocols"));
    }
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() =
        http::Method::from_bytes(head.method_text.of_bytes(bytes)).map_err(|_| Unfit("the method"))?;
    *request.headers_mut() = fields(&head, bytes)?;
    *request.uri_mut() = target(&head, bytes, scheme)?;
    Ok((length, request, head.framing))
}

/// `Host` becomes `:authority` (RFC 9113 §8.3.1).
fn target(head: &RequestHead, bytes: &[u8], scheme: &Scheme) -> Result<Uri, Unfit> {
    let host = head.fields.iter(bytes).find(|(kind, _, _)| *kind == Name::Host).map(|(_, _, value)| value);
    let (slash, path) = head.path(bytes);
    let path = if slash.is_empty() { path.to_vec() } else { [slash, path].concat() };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(Authority::try_from(host.unwrap_or_default()).map_err(|_| Unfit("the host"))?);
    let target = PathAndQuery::try_from(path.as_slice()).map_err(|_| Unfit("the target"))?;
    // What it would read otherwise it must not read at all.
    if target.as_str().as_bytes() != path {
        return Err(Unfit("the target"));
    }
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|_| Unfit("the target"))
}

fn fields(head: &RequestHead, bytes: &[u8]) -> Result<HeaderMap, Unfit> {
    let mut headers = HeaderMap::with_capacity(head.fields.len());
    for (kind, name, value) in head.fields.iter(bytes) {
        match kind {
            Name::Other | Name::Date => append(&mut headers, name, value)?,
            Name::Te if value.eq_ignore_ascii_case(b"trailers") => {
                headers.insert(TE, HeaderValue::from_static("trailers"));
            }
            _ => {}
        }
    }
    if let Some(length) = head.content_length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(headers)
}
