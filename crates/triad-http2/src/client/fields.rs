//! Fields of the `http` crate as lines of HTTP/1.1, and back. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};
use triad_http1::trailer_lines;

use crate::text::Unfit;

/// The lines of a trailer section, each with its end.
pub(crate) fn lines(trailers: &HeaderMap) -> Vec<Vec<u8>> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
    };
    trailers.iter().map(line).collect()
}

/// The fields of a trailer section of HTTP/1.1; `None` if there are none.
pub(crate) fn fields(section: &[u8]) -> Result<Option<HeaderMap>, Unfit> {
    let mut trailers = HeaderMap::new();
    for (name, line) in trailer_lines(section) {
        let value = line.get(name.len() + 1..).unwrap_or_default().trim_ascii();
        append(&mut trailers, name, value)?;
    }
    Ok((!trailers.is_empty()).then_some(trailers))
}

/// Adds a field.
pub(crate) fn append(headers: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Unfit> {
    let name = HeaderName::from_bytes(name).map_err(|_| Unfit("the name of a header field"))?;
    let value = HeaderValue::from_bytes(value).map_err(|_| Unfit("the value of a header field"))?;
    headers.append(name, value);
    Ok(())
}

/// RFC 9113 §8.2.1: a message with such a value is malformed. HTTP/1.1 would not see the blanks.
pub(crate) fn has_blank_edges(value: &HeaderValue) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    blank(value.as_bytes().first()) || blank(value.as_bytes().last())
}
