//! What every file starts with, and what none contains.

use super::Finding;
use super::sources::Source;

/// Paths of machines that this was built on. They are written in two pieces, so that this file does not hold them.
const MACHINE_PATHS: &[&str] =
    &[concat!("/work", "/main"), concat!("/work", "/shared"), concat!("/ho", "me/"), concat!("/ro", "ot/")];

/// Macros for the time of writing.
const SCRATCH: &[&str] = &[concat!("dbg", "!("), concat!("todo", "!(")];

/// Broken rules about single files.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(|source| start(source).into_iter().chain(lines(source))).collect()
}

/// `//!` at the top of every crate, and no unsafe code in any.
fn start(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_library = source.path.ends_with("src/lib.rs");
    if (is_library || source.path.ends_with("src/main.rs")) && !source.text.starts_with("//! ") {
        findings.push(Finding::new(&source.path, 1, "starts with `//!`: say what is here and what always holds"));
    }
    if is_library && !source.text.contains("\n#![forbid(unsafe_code)]\n") {
        findings.push(Finding::new(&source.path, 1, "lacks `#![forbid(unsafe_code)]`"));
    }
    findings
}

fn lines(source: &Source) -> Vec<Finding> {
    // Golden files hold wrong input on purpose.
    let is_prose =
        ["md", "rs", "toml"].iter().any(|extension| source.is(extension)) && !source.path.contains("/golden/");
    let mut findings = Vec::new();
    for (number, line) in source.lines() {
        let mut add = |message: String| findings.push(Finding::new(&source.path, number, message));
        for path in MACHINE_PATHS.iter().filter(|path| contains_path(line, path)) {
            add(format!("names {path}, a path of somebody's machine"));
        }
        for word in SCRATCH.iter().filter(|word| source.is("rs") && line.contains(**word)) {
            add(format!("{word}…) was for the time of writing"));
        }
        if is_prose && line.contains('\t') {
            add("has a tab: use spaces".to_string());
        }
        if is_prose && line.ends_with([' ', '\t']) {
            add("ends in blanks".to_string());
        }
    }
    findings
}

/// Whether `line` has the absolute path `path`; `a/ro` + `ot/` in the middle of another path is none.
fn contains_path(line: &str, path: &str) -> bool {
    let inside = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "._-/}*".contains(c));
    line.match_indices(path).any(|(at, _)| !inside(&line[..at]))
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::source;
    use super::check;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&[source(path, text)]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn crates_start_with_docs_and_forbid_unsafe_code() {
        let good = "//! Docs.\n\n#![forbid(unsafe_code)]\n";
        assert_eq!(messages("crates/a/src/lib.rs", good), [""; 0]);
        assert_eq!(
            messages("crates/a/src/lib.rs", "mod a;\n"),
            [
                "crates/a/src/lib.rs:1: starts with `//!`: say what is here and what always holds",
                "crates/a/src/lib.rs:1: lacks `#![forbid(unsafe_code)]`",
            ]
        );
        assert_eq!(messages("xtask/src/main.rs", "//! Docs.\n"), [""; 0]);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let home = concat!("/ho", "me/");
        assert_eq!(
            messages("x", &format!("see {home}ann")),
            [format!("x:1: names {home}, a path of somebody's machine")]
        );
        assert_eq!(messages("x", &format!("www{home}page")), [""; 0]);
    }

    #[test]
    fn scratch_and_blanks_are_found() {
        let scratch = concat!("dbg", "!(");
        assert_eq!(
            messages("a.rs", &format!("{scratch}1)")),
            [format!("a.rs:1: {scratch}…) was for the time of writing")]
        );
        assert_eq!(messages("a.md", "a\tb\nc \n"), ["a.md:1: has a tab: use spaces", "a.md:2: ends in blanks"]);
        assert_eq!(messages("tests/golden/a.toml", "a\tb\nc \n"), [""; 0]);
        assert_eq!(messages("Makefile", "a\tb\n"), [""; 0]);
    }
}
