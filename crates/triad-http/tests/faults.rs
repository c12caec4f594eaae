//! The pages of faults, each compared whole with a file. `TRIAD_GOLDEN=write` rewrites the files.

use http_body_util::BodyExt;
use triad_http::{Fault, RequestId, Whose};

const CASES: [(&str, u16, Whose, &str); 7] = [
    ("400-no-host", 400, Whose::Client, "the request's Host"),
    ("404-no-path", 404, Whose::Client, "the request's path"),
    ("421-other-host", 421, Whose::Client, "the request's Host"),
    ("500-ourselves", 500, Whose::Ourselves, "the web root"),
    ("502-backend", 502, Whose::Upstream, "backend srv2"),
    ("503-no-backend", 503, Whose::Upstream, "no backend is up"),
    ("504-backend", 504, Whose::Upstream, "backend srv3"),
];

fn answer(fault: &Fault) -> String {
    let id = RequestId::parse(b"0123456789abcdef0123456789abcdef").expect("an id");
    let (head, body) = fault.response(&id).into_parts();
    let mut text = format!("{}\n", head.status);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\n", value.to_str().expect("text"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let body = runtime.block_on(body.collect()).expect("a body in memory").to_bytes();
    text + "\n" + std::str::from_utf8(&body).expect("text")
}

#[test]
fn every_fault_is_a_clear_page() {
    for (name, status, whose, part) in CASES {
        triad_golden::compare(format!("tests/golden/fault/{name}.txt"), &answer(&Fault::new(status, whose, part)));
    }
}
