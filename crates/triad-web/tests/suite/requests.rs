//! Request → response. A case is a request line and its headers, an empty line, and what comes of it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use http::Response;
use triad_http::Body;

use crate::site::{Site, bytes, request};

/// Longest body that a case shows.
const SHOWN_BYTES: usize = 40;

#[tokio::test]
async fn a_request_gets_its_response() {
    let site = Site::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the folder of cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no case", folder.display());
    let write = std::env::var("TRIAD_GOLDEN").is_ok_and(|value| value == "write");
    let mut differing = Vec::new();
    for path in paths {
        let expected = fs::read_to_string(&path).expect("a readable case");
        let input = expected.split("\n\n").next().expect("a request").trim_end();
        let actual = format!("{input}\n\n{}", run(&site, input).await);
        if write {
            fs::write(&path, actual).expect("a writable case");
        } else if actual != expected {
            differing.push(format!("--- {}\nexpected:\n{expected}\nactual:\n{actual}", path.display()));
        }
    }
    assert!(differing.is_empty(), "TRIAD_GOLDEN=write accepts these:\n{}", differing.join("\n"));
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
