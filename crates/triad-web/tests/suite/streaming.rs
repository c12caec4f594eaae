//! Large files are sent in chunks, whole or in part.

use std::fs::File;
use std::io;

use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use triad_web::StaticFiles;

use crate::site::{BIG_BYTES, Site, big, bytes, request};

/// As documented: at most this much of a file is in memory for a request.
const CHUNK_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn a_large_file_comes_in_chunks_of_known_total_length() {
    let site = Site::new();
    let mut body = site.get("/big.bin").await.expect("a file").into_body();
    let mut received = Vec::new();
    while let Some(frame) = body.frame().await {
        let chunk = frame.expect("no error").into_data().expect("data");
        assert!(chunk.len() <= CHUNK_BYTES);
        received.extend(chunk);
        assert_eq!(body.size_hint().exact(), Some((BIG_BYTES - received.len()) as u64));
    }
    assert!(body.is_end_stream());
    assert!(received == big(), "the content differs");
}

#[tokio::test]
async fn a_range_of_a_large_file_is_that_part_of_it() {
    let site = Site::new();
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=65535-65536", 65_535..65_537),
        ("bytes=1-140000", 1..140_001),
        ("bytes=-70000", BIG_BYTES - 70_000..BIG_BYTES),
    ] {
        let request = request("GET", "/big.bin", &[("range", range)]).expect("a request");
        let response = site.files.respond(&request).await.expect("a file");
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert!(bytes(response).await == big()[part], "{range}");
    }
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_ends_in_an_error() {
    let site = Site::new();
    let mut body = site.get("/big.bin").await.expect("a file").into_body();
    body.frame().await.expect("a frame").expect("the first chunk");
    let file = File::options().write(true).open(site.folder.path().join("root/big.bin")).expect("the file");
    file.set_len(100).expect("to shorten it");
    let error = body.frame().await.expect("a frame").expect_err("the rest is gone");
    let error = error.downcast::<io::Error>().expect("an error of the file");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_root_that_is_none_is_an_error_that_names_it() {
    let site = Site::new();
    for root in ["root/nowhere", "root/hello.txt"] {
        let error = StaticFiles::open(&site.folder.path().join(root)).expect_err("no folder");
        assert!(error.to_string().contains(root), "{error}");
    }
}
