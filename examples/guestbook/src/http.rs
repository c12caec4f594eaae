//! Requests in, responses out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use crate::store::{Store, StoreError};
use crate::{Identity, pages};

/// Entries on the page.
const PAGE_ENTRIES: u32 = 20;
/// Entries in a JSON answer, at most and when no limit is given.
const LIST_LIMIT_MAX: u32 = 1000;
const LIST_LIMIT_DEFAULT: u32 = 100;
/// Longest fields, in characters; the table's columns are as wide.
const NAME_CHARS_MAX: usize = 80;
const TEXT_CHARS_MAX: usize = 1000;
/// The longest form: a thousand characters of four bytes, each percent-encoded, fit.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// Time a client has to send its form.
const FORM_DEADLINE: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

/// What answering takes.
pub struct App {
    /// Where entries are kept.
    pub store: Store,
    /// Who we are.
    pub identity: Identity,
}

/// Answers one request.
pub async fn answer(app: Arc<App>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_string();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    Ok(match path.as_str() {
        "/" if reads => front_page(&app).await,
        "/entries.json" if reads => list(&app, request.uri().query().unwrap_or_default()).await,
        "/whoami" if reads => json(StatusCode::OK, &app.identity),
        // The health of this instance, and of nothing behind it: were the database asked too, its death would take
        // every instance out, and visitors would get a load balancer's error in place of our page.
        "/up" if reads => plain(StatusCode::OK, "ok\n"),
        "/entries" if request.method() == Method::POST => post(&app, request.into_body()).await,
        "/" | "/entries.json" | "/whoami" | "/up" => wrong_method("GET, HEAD"),
        "/entries" => wrong_method("POST"),
        _ => problem(&app, StatusCode::NOT_FOUND, "Not found", &["There is no such page here.".to_string()]),
    })
}

async fn front_page(app: &App) -> Answer {
    match app.store.newest(PAGE_ENTRIES).await {
        Ok(entries) => html(StatusCode::OK, pages::guestbook(&entries, &app.identity)),
        Err(error) => unavailable(app, "entries not read", &error, "The guestbook cannot be read at the moment."),
    }
}

async fn post(app: &App, body: Incoming) -> Answer {
    let form = match read_form(body).await {
        Ok(form) => form,
        Err(wrong) => return problem(app, StatusCode::BAD_REQUEST, "Not accepted", &wrong),
    };
    match app.store.add(&form.name, &form.text).await {
        Ok(()) => see_other("/"),
        Err(error) => unavailable(app, "entry not saved", &error, "It is not certain that your entry was saved."),
    }
}

async fn list(app: &App, query: &str) -> Answer {
    let (after, limit) = match parse_range(query) {
        Ok(range) => range,
        Err(wrong) => return json(StatusCode::BAD_REQUEST, &HashMap::from([("error", wrong)])),
    };
    match app.store.after(after, limit).await {
        Ok(entries) => json(StatusCode::OK, &entries),
        Err(error) => {
            eprintln!("entries not listed: {error}");
            let error = HashMap::from([("error", "the database cannot be used")]);
            retry_later(json(StatusCode::SERVICE_UNAVAILABLE, &error))
        }
    }
}

#[derive(Debug, PartialEq)]
struct Form {
    name: String,
    text: String,
}

async fn read_form(body: Incoming) -> Result<Form, Vec<String>> {
    let body = tokio::time::timeout(FORM_DEADLINE, Limited::new(body, FORM_BYTES_MAX).collect()).await;
    match body {
        Ok(Ok(body)) => parse_form(&body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(vec![format!("The form is longer than {FORM_BYTES_MAX} bytes.")])
        }
        Ok(Err(_)) => Err(vec!["The form broke off.".to_string()]),
        Err(_) => Err(vec![format!("The form did not arrive within {} s.", FORM_DEADLINE.as_secs())]),
    }
}

/// The form's fields, or everything that is wrong with them.
fn parse_form(body: &[u8]) -> Result<Form, Vec<String>> {
    let fields: HashMap<_, _> = form_urlencoded::parse(body).collect();
    let mut wrong = Vec::new();
    let mut field = |name: &str, chars_max: usize| {
        let value = fields.get(name).map(|value| value.trim()).unwrap_or_default();
        match value.chars().count() {
            0 => wrong.push(format!("The field {name} is missing or empty.")),
            chars if chars > chars_max => {
                wrong.push(format!("The field {name} has {chars} characters; at most {chars_max} fit."));
            }
            _ => {}
        }
        value.to_string()
    };
    let form = Form { name: field("name", NAME_CHARS_MAX), text: field("text", TEXT_CHARS_MAX) };
    if wrong.is_empty() { Ok(form) } else { Err(wrong) }
}

/// `after` and `limit` of a query string.
fn parse_range(query: &str) -> Result<(u64, u32), String> {
    let (mut after, mut limit) = (0, LIST_LIMIT_DEFAULT);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "after" => after = value.parse().map_err(|_| format!("after is an entry's id, not {value:?}"))?,
            "limit" => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=LIST_LIMIT_MAX).contains(limit))
                    .ok_or_else(|| format!("limit is a number from 1 to {LIST_LIMIT_MAX}, not {value:?}"))?;
            }
            _ => {}
        }
    }
    Ok((after, limit))
}

fn unavailable(app: &App, what: &str, error: &StoreError, sentence: &str) -> Answer {
    eprintln!("{what}: {error}");
    let paragraphs = [sentence.to_string(), "The database cannot be used. Please try again in a moment.".to_string()];
    retry_later(problem(app, StatusCode::SERVICE_UNAVAILABLE, "Temporarily unavailable", &paragraphs))
}

fn problem(app: &App, status: StatusCode, title: &str, paragraphs: &[String]) -> Answer {
    html(status, pages::problem(title, paragraphs, &app.identity))
}

fn retry_later(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn see_other(location: &'static str) -> Answer {
    let mut answer = plain(StatusCode::SEE_OTHER, "");
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
    answer
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "this page has other methods\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn html(status: StatusCode, page: String) -> Answer {
    respond(status, "text/html; charset=utf-8", page.into())
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    respond(status, "text/plain; charset=utf-8", text.into())
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    respond(status, "application/json", serde_json::to_vec(value).expect("only strings and numbers").into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::{Form, parse_form, parse_range};

    fn form(name: &str, text: &str) -> Form {
        Form { name: name.to_string(), text: text.to_string() }
    }

    #[test]
    fn a_form_is_decoded_and_trimmed() {
        assert_eq!(parse_form(b"name=Ann+Lee&text=%C3%A9t%C3%A9+%26+more"), Ok(form("Ann Lee", "été & more")));
        assert_eq!(parse_form(b"text=b&extra=1&name=+a+"), Ok(form("a", "b")));
    }

    #[test]
    fn a_form_is_refused_with_everything_that_is_wrong() {
        let empty = |field| format!("The field {field} is missing or empty.");
        assert_eq!(parse_form(b""), Err(vec![empty("name"), empty("text")]));
        assert_eq!(parse_form(b"name=+&text=b"), Err(vec![empty("name")]));
        let long = format!("name={}&text={}", "é".repeat(81), "x".repeat(1001));
        let wrong = [("name", 81, 80), ("text", 1001, 1000)]
            .map(|(field, chars, max)| format!("The field {field} has {chars} characters; at most {max} fit."));
        assert_eq!(parse_form(long.as_bytes()), Err(wrong.to_vec()));
    }

    #[test]
    fn the_longest_fields_fit() {
        let (name, text) = ("é".repeat(80), "x".repeat(1000));
        assert_eq!(parse_form(format!("name={name}&text={text}").as_bytes()), Ok(form(&name, &text)));
    }

    #[test]
    fn a_range_has_defaults_and_bounds() {
        assert_eq!(parse_range(""), Ok((0, 100)));
        assert_eq!(parse_range("after=7&limit=1000"), Ok((7, 1000)));
        for bad in ["limit=0", "limit=1001", "limit=x", "after=-1", "after="] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}
