//! Request → response.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use tokio::task::spawn_blocking;
use tracing::warn;
use triad_http::{Body, Fault, RequestId, Whose, body};

use crate::conditional::{Validators, Verdict, range_applies, verdict};
use crate::file::{Found, OpenFile, find};
use crate::range::{Selection, select};
use crate::target::Target;

/// The files of one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StaticFiles {
    root: Arc<Dir>,
}

impl StaticFiles {
    /// Opens the folder `root`. It stays open: when `root` is a link that later leads elsewhere, open it again.
    ///
    /// # Errors
    /// `root` is no folder that this process may open. It blocks for the time of one system call.
    pub fn open(root: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot open the web root {}: {error}", root.display()))
        })?;
        Ok(Self { root: Arc::new(dir) })
    }

    /// The answer to `request`, if it is a GET or HEAD for a file here; `None` if the application is to answer it.
    ///
    /// None of our business are also paths that can name no file or must not be known to name one: hidden files,
    /// paths with `..`, links that lead out of the root. They look the same as what is not there.
    ///
    /// A file that cannot be read, which is our fault, is answered with 500; its page names the [`RequestId`] among
    /// the request's extensions.
    pub async fn respond(&self, request: &Parts) -> Option<Response<Body>> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return None;
        }
        let target = Target::parse(request.uri.path())?;
        let content_type = target.content_type();
        let root = Arc::clone(&self.root);
        let found = spawn_blocking(move || find(&root, &target)).await.map_err(io::Error::other).flatten();
        match found {
            Ok(Found::File(file)) => Some(answer(request, file, &content_type)),
            Ok(Found::Folder) => redirect(&request.uri),
            Ok(Found::Nothing) => None,
            Err(error) => Some(failure(request, &error)),
        }
    }
}

fn answer(request: &Parts, file: OpenFile, content_type: &str) -> Response<Body> {
    match verdict(&request.headers, &file.validators) {
        Verdict::Failed => status(StatusCode::PRECONDITION_FAILED),
        Verdict::NotModified => {
            let mut response = status(StatusCode::NOT_MODIFIED);
            insert_validators(&mut response, &file.validators);
            response
        }
        Verdict::Send => send(request, file, content_type),
    }
}

fn send(request: &Parts, file: OpenFile, content_type: &str) -> Response<Body> {
    let size_bytes = file.size_bytes;
    match selection(request, &file) {
        Selection::Whole => content(request, file, content_type, 0..size_bytes),
        Selection::Part(range) => {
            let content_range = format!("bytes {}-{}/{size_bytes}", range.start, range.end - 1);
            let mut response = content(request, file, content_type, range);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(&mut response, CONTENT_RANGE, &content_range);
            response
        }
        Selection::Unsatisfiable => {
            let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE);
            insert(&mut response, CONTENT_RANGE, &format!("bytes */{size_bytes}"));
            response
        }
    }
}

/// What to send; ranges are defined for GET alone (RFC 9110 §14.2).
fn selection(request: &Parts, file: &OpenFile) -> Selection {
    let range = request.headers.get(RANGE).and_then(|range| range.to_str().ok());
    match range {
        Some(range) if request.method == Method::GET && range_applies(&request.headers, &file.validators) => {
            select(range, file.size_bytes)
        }
        _ => Selection::Whole,
    }
}

/// 200 with the bytes `range` of `file`, or as if with them for HEAD.
fn content(request: &Parts, file: OpenFile, content_type: &str, range: Range<u64>) -> Response<Body> {
    let mut response = status(StatusCode::OK);
    insert(&mut response, CONTENT_TYPE, content_type);
    insert(&mut response, CONTENT_LENGTH, &(range.end - range.start).to_string());
    insert(&mut response, ACCEPT_RANGES, "bytes");
    insert(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert_validators(&mut response, &file.validators);
    if request.method == Method::GET {
        *response.body_mut() = file.body(range);
    }
    response
}

/// 308 to the same URL with a slash at the end of its path; `None` if that cannot stand in a header.
fn redirect(uri: &Uri) -> Option<Response<Body>> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::try_from(format!("{}/{query}", uri.path())).ok()?;
    let mut response = status(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

fn failure(request: &Parts, error: &io::Error) -> Response<Body> {
    warn!(path = request.uri.path(), %error, "cannot read a static file");
    let id = request.extensions.get::<RequestId>().cloned().unwrap_or_else(RequestId::new);
    Fault::new(500, Whose::Ourselves, "static files").response(&id)
}

fn insert_validators(response: &mut Response<Body>, validators: &Validators) {
    insert(response, ETAG, &validators.etag);
    insert(response, LAST_MODIFIED, &httpdate::fmt_http_date(validators.modified));
}

fn insert(response: &mut Response<Body>, name: http::HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("media types, numbers, tags and dates are visible ASCII");
    response.headers_mut().insert(name, value);
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = code;
    response
}
