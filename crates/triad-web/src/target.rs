//! Path of a URL → relative path of a file. Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a folder's URL stands for.
const INDEX: &str = "index.html";
/// The one name with a dot that is served, at the root only (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// What a URL may stand for below the root: a relative path of plain names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    path: PathBuf,
    folder: bool,
}

impl Target {
    /// The target of a URL's `path`; `None` if it cannot stand for a file that we serve: it has an empty or a hidden
    /// segment, or after one percent-decoding a `/`, `\` or NUL in a segment.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (names, folder) = match path.strip_suffix('/') {
            Some(names) => (names, true),
            None => (path, path.is_empty()),
        };
        let mut target = PathBuf::new();
        if !path.is_empty() {
            for (depth, segment) in names.split('/').enumerate() {
                target.push(OsStr::from_bytes(&decode(segment).filter(|name| is_served(name, depth))?));
            }
        }
        Some(Self { path: target, folder })
    }

    /// The file: for a folder its index.
    pub(crate) fn file(&self) -> PathBuf {
        if self.folder { self.path.join(INDEX) } else { self.path.clone() }
    }

    /// The index of the folder that this may be although its URL does not end in `/`.
    pub(crate) fn index(&self) -> Option<PathBuf> {
        (!self.folder).then(|| self.path.join(INDEX))
    }

    /// The file's `Content-Type`, by its extension.
    pub(crate) fn content_type(&self) -> String {
        content_type(&self.file())
    }
}

fn content_type(file: &Path) -> String {
    let media_type = mime_guess::from_path(file).first_or_octet_stream();
    if media_type.type_() == mime_guess::mime::TEXT {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_string()
    }
}

fn is_served(name: &[u8], depth: usize) -> bool {
    let hidden = name.starts_with(b".") && !(depth == 0 && name == WELL_KNOWN);
    !name.is_empty() && !hidden && !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0))
}

/// Decodes percent-encoded bytes once (RFC 3986 §2.1); `None` if a `%` is not followed by two hexadecimal digits.
fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(if byte == b'%' { digit(rest.next()?)? << 4 | digit(rest.next()?)? } else { byte });
    }
    Some(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::Target;

    fn file(path: &str) -> String {
        Target::parse(path).map_or_else(|| "none".to_owned(), |target| target.file().display().to_string())
    }

    #[test]
    fn a_path_names_a_file_or_nothing() {
        let cases = [
            ("/", "index.html"),
            ("/a", "a"),
            ("/a/", "a/index.html"),
            ("/a/b.txt", "a/b.txt"),
            ("/a%20b", "a b"),
            ("/%C3%BC", "ü"),
            ("/100%25", "100%"),
            ("/%2541", "%41"),
            ("/.well-known/acme", ".well-known/acme"),
            ("/%2ewell-known/acme", ".well-known/acme"),
            ("/a/.well-known/acme", "none"),
            ("/.well-known2", "none"),
            ("", "none"),
            ("a", "none"),
            ("*", "none"),
            ("//", "none"),
            ("//etc/passwd", "none"),
            ("/a//b", "none"),
            ("/a//", "none"),
            ("/.", "none"),
            ("/../a", "none"),
            ("/%2e%2e/a", "none"),
            ("/..%2fa", "none"),
            ("/a%2fb", "none"),
            ("/a\\b", "none"),
            ("/a%5cb", "none"),
            ("/a%00", "none"),
            ("/%", "none"),
            ("/%4", "none"),
            ("/%4g", "none"),
            ("/%+1", "none"),
            ("/.env", "none"),
            ("/%2eenv", "none"),
            ("/.git/config", "none"),
            ("/a/.hidden/b", "none"),
        ];
        for (path, expected) in cases {
            assert_eq!(file(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_target_has_plain_names_only(path in "(/|%2[eEfF]|\\.|%5c|\\\\|%00|a|%|\\PC){0,12}") {
            for path in [path.clone(), format!("/{path}")] {
                let Some(target) = Target::parse(&path) else { continue };
                for component in target.file().components() {
                    prop_assert!(matches!(component, Component::Normal(_)), "{path} has {component:?}");
                }
            }
        }
    }
}
