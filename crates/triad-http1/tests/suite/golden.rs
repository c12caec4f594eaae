//! One file a case: bytes, a line of dashes, what is made of them. In the bytes `\r`, `\n`, `\t`, `\0`, `\xNN` and `\\`
//! are what they are in Rust, `\{N:text}` is `text` N times, and the file's own line ends are none.
//! `TRIAD_GOLDEN=write` rewrites what stands below the dashes.

use std::path::Path;

use triad_http1::Method;

use super::transcript::{Reading, requests, responses};

const DASHES: &str = "----------\n";

fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\n' => {}
            '\\' => rest = escape(rest, &mut bytes),
            _ => bytes.extend(character.to_string().bytes()),
        }
    }
    bytes
}

/// Takes what follows a backslash; returns what follows that.
fn escape<'a>(rest: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    if let Some(repeated) = rest.strip_prefix('{') {
        let (content, after) = repeated.split_once('}').expect("a closing brace");
        let (times, text) = content.split_once(':').expect("a colon");
        bytes.extend(bytes_of(text).repeat(times.parse().expect("a number")));
        return after;
    }
    if let Some(digits) = rest.strip_prefix('x') {
        bytes.push(u8::from_str_radix(&digits[..2], 16).expect("two digits"));
        return &digits[2..];
    }
    bytes.push(match rest.as_bytes()[0] {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        other => panic!("no escape: {:?}", char::from(other)),
    });
    &rest[1..]
}

fn check(folder: &str, read: impl Fn(&[u8], usize) -> Reading) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        let (input, expected) = text.split_once(DASHES).unwrap_or((&text, ""));
        let bytes = bytes_of(input);
        let found = read(&bytes, bytes.len().max(1)).text;
        assert_eq!(read(&bytes, 1).text, found, "{}: byte by byte", path.display());
        if std::env::var_os("TRIAD_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(&path, format!("{input}{DASHES}{found}")).expect("a file");
        } else if found != expected {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn requests_are_taken_or_refused_as_written() {
    check("request", |bytes, size| requests(bytes.chunks(size)));
}

#[test]
fn answers_are_taken_or_refused_as_written() {
    check("response", |bytes, size| responses(Method::Get, bytes.chunks(size)));
}

#[test]
fn answers_to_head_have_no_body() {
    check("response-to-head", |bytes, size| responses(Method::Head, bytes.chunks(size)));
}
