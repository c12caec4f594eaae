//! An answer's head in HTTP/1.1, as HTTP/2 says it. Pure.

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT};
use http::{Response, StatusCode};
use triad_http1::{Framing, Method, Name, ResponseHead};

use crate::text::{Unfit, append};

/// Reads the head of one answer, and of interim ones before it.
#[derive(Debug)]
pub(crate) struct Answer {
    head: ResponseHead,
    /// Only HEAD matters.
    method: Method,
}

/// A head.
#[derive(Debug)]
pub(crate) enum Head {
    /// Another answer follows.
    Interim(Response<()>),
    /// A body in this framing follows.
    Last(Response<()>, Framing),
    /// Another protocol's bytes follow.
    Switch(Response<()>),
}

impl Answer {
    /// The answer to a request with `method`.
    pub fn new(method: &http::Method) -> Self {
        let method = if method == http::Method::HEAD { Method::Head } else { Method::Other };
        Self { head: ResponseHead::default(), method }
    }

    /// Takes the next head from the start of `bytes`, where it must be whole; returns how many bytes it has.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, Head), Unfit> {
        let length = self.head.parse(bytes)?.ok_or(Unfit("a part of a head"))?;
        let response = self.response(&bytes[..length])?;
        let head = match self.head.status {
            _ if self.head.is_interim() => Head::Interim(response),
            101 => Head::Switch(response),
            _ => Head::Last(response, self.head.framing(self.method)),
        };
        Ok((length, head))
    }

    /// Without what concerns one connection of HTTP/1.1 (RFC 9113 §8.2.2). A switch of protocols is a success here
    /// (RFC 8441 §5).
    fn response(&self, bytes: &[u8]) -> Result<Response<()>, Unfit> {
        let switches = self.head.status == 101;
        let mut response = Response::new(());
        let status = if switches { 200 } else { self.head.status };
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Unfit("the status"))?;
        let headers = response.headers_mut();
        headers.reserve(self.head.fields.len());
        for (kind, name, value) in self.head.fields.iter(bytes) {
            if matches!(kind, Name::Other | Name::Host | Name::Date) {
                append(headers, name, value)?;
            }
        }
        if switches {
            headers.remove(SEC_WEBSOCKET_ACCEPT);
        }
        if let Some(length) = self.head.content_length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Ok(response)
    }
}
