//! Request → response. A case is a request line and its headers, an empty line, and what comes of it.

use std::fmt::Write;

use http::Response;
use triad_http::Body;

use crate::site::{Site, bytes, request};

/// Longest body that a case shows.
const SHOWN_BYTES: usize = 40;

#[tokio::test]
async fn a_request_gets_its_response() {
    let site = Site::new();
    for case in triad_golden::cases("tests/golden", triad_golden::EMPTY_LINE) {
        case.compare(&run(&site, &case.input).await);
    }
}

async fn run(site: &Site, input: &str) -> String {
    let mut lines = input.lines();
    let (method, path) = lines.next().and_then(|line| line.split_once(' ')).expect("a method and a path");
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").expect("a header")).collect();
    let request = request(method, path, &headers).expect("a request that HTTP can express");
    match site.files.respond(&request).await {
        Some(response) => print(response).await,
        None => "not a file: for the application\n".to_owned(),
    }
}

async fn print(response: Response<Body>) -> String {
    let mut text = format!("{}\n", response.status());
    let mut headers: Vec<_> = response.headers().iter().collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in headers {
        writeln!(text, "{name}: {}", value.to_str().expect("text")).expect("a string takes text");
    }
    let body = bytes(response).await;
    let shown =
        if body.len() <= SHOWN_BYTES { format!(" {:?}", String::from_utf8_lossy(&body)) } else { String::new() };
    writeln!(text, "body: {} bytes{shown}", body.len()).expect("a string takes text");
    text
}
