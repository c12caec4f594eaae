//! What went wrong with a request, and the one place that turns it into an answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::page::page;
use crate::{Body, RequestId, body};

/// Seconds after which a client should ask again when nobody can serve it: one health check brings a backend back.
const RETRY_AFTER_S: u32 = 2;
/// The same during maintenance, which takes people.
const MAINTENANCE_RETRY_AFTER_S: u32 = 120;

/// Who is to blame; it decides where an operator looks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The request itself.
    Client,
    /// What we passed the request to.
    Upstream,
    /// This server.
    Ourselves,
}

impl Whose {
    /// As logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Whose::Client => "client",
            Whose::Upstream => "upstream",
            Whose::Ourselves => "ourselves",
        }
    }
}

/// Why a request gets no answer from the site.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {part}")]
pub struct Fault {
    /// Status of the answer.
    pub status: StatusCode,
    /// Which part failed, as strangers may read it: `backend srv2`. Never an address, and no text of a request.
    pub part: Cow<'static, str>,
    /// Who is to blame.
    pub whose: Whose,
    /// When a client may ask again, in seconds.
    pub retry_after_s: Option<u32>,
    /// The page that is shown in place of ours.
    page: Option<Bytes>,
}

impl Fault {
    /// A fault with a status that `http` knows to be one, from 400 to 599.
    pub fn new(status: u16, whose: Whose, part: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S);
        Self { status, part: part.into(), whose, retry_after_s, page: None }
    }

    /// A client that has asked for too much, and may ask again after so many seconds (RFC 6585 section 4).
    pub fn too_many(retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(429, Whose::Client, "too many requests") }
    }

    /// The site has as much to do as it may, and takes more after so many seconds.
    pub fn overload(part: &'static str, retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(503, Whose::Ourselves, part) }
    }

    /// The site is closed for a while, as `page` says.
    pub fn maintenance(page: Bytes) -> Self {
        let retry_after_s = Some(MAINTENANCE_RETRY_AFTER_S);
        Self { retry_after_s, page: Some(page), ..Self::new(503, Whose::Ourselves, "maintenance") }
    }

    /// The answer: a small page that names the part and the request's id.
    pub fn response(&self, id: &RequestId) -> Response<Body> {
        let page = self.page.clone().unwrap_or_else(|| self.page(id).into());
        let mut response = Response::new(body::full(page));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    fn page(&self, id: &RequestId) -> String {
        let code = self.status.as_u16();
        let reason = self.status.canonical_reason().unwrap_or("Error");
        let (advice, part, id) = (self.advice(), &self.part, id.as_str());
        let what = format!("What failed: {part}.<br>Request {id}");
        page(&format!("{code} {reason}"), &[advice, &what])
    }

    fn advice(&self) -> &'static str {
        match (self.whose, self.status.as_u16()) {
            (Whose::Client, 404) => "There is nothing at this address.",
            (Whose::Client, 408) => "The request did not arrive in time.",
            (Whose::Client, 429) => "You have asked for a lot in a short time. Please try again in a moment.",
            (Whose::Client, 421) => "This server does not serve the site you asked for.",
            (Whose::Client, _) => "The request cannot be answered as it was sent.",
            (_, 503) => "The site cannot answer just now. Please try again in a moment.",
            (_, 504) => "The site took too long to answer. Please try again in a moment.",
            _ => "The site could not answer this request. Please try again in a moment.",
        }
    }
}
