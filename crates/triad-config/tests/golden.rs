//! Goldens, compared whole. `TRIAD_GOLDEN=write cargo test -p triad-config` rewrites what is printed.

use std::fs;
use std::path::{Path, PathBuf};

use triad_config::{DesignKind, LoadError, load, parse, reference, render, schema, template};
use triad_golden::compare;

fn golden(name: &str) -> PathBuf {
    Path::new("tests/golden").join(name)
}

/// Pages that are printed from the same table the reader uses.
fn docs(name: &str) -> PathBuf {
    Path::new("../../docs").join(name)
}

/// A folder with what the files of `wrong/` say is in it.
fn site_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["public", "app", "tls"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    for name in ["tls/foobar.com.pem", "tls/foobar.com.key", "public/foobar.com.key"] {
        fs::write(folder.path().join(name), "PEM").expect("a file");
    }
    fs::write(folder.path().join("public/long.html"), "a".repeat(256 * 1024 + 1)).expect("a file");
    fs::write(folder.path().join("public/latin1.html"), b"caf\xe9").expect("a file");
    folder
}

/// What `triad check` prints for a wrong file.
fn printed(folder: &Path, input: &str) -> String {
    let file = folder.join("triad.toml");
    fs::write(&file, input).expect("the file can be written");
    match load(&file) {
        Err(LoadError::Wrong { text, mistakes, .. }) => render(&mistakes, "triad.toml", &text, false),
        other => panic!("expected mistakes, got {other:?} for\n{input}"),
    }
}

#[test]
fn wrong_files() {
    let folder = site_folder();
    let cases = triad_golden::cases("tests/golden/wrong", triad_golden::LINE);
    assert!(cases.len() >= 35, "{} cases", cases.len());
    for case in cases {
        case.compare(&printed(folder.path(), &case.input));
    }
}

#[test]
fn the_examples_resolve() {
    for kind in DesignKind::ALL {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(kind.as_str());
        let loaded = load(&example.join("triad.toml")).expect("an example is right");
        assert_eq!(loaded.text, template(kind));
        assert_eq!(parse(template(kind)).as_ref(), Ok(&loaded.design));
        let printed = serde_json::to_string_pretty(&loaded.design).expect("a design is JSON") + "\n";
        compare(golden(&format!("{kind}.json")), &printed);
    }
}

#[test]
fn the_schema() {
    let printed = serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n";
    compare(docs("triad.schema.json"), &printed);
}

#[test]
fn the_reference() {
    compare(docs("reference.md"), &reference());
}

#[test]
fn mistakes_are_json() {
    let mistakes = parse("schema = 2\n").expect_err("a schema of the future");
    let printed = serde_json::to_string_pretty(&mistakes).expect("mistakes are JSON") + "\n";
    compare(golden("mistakes.json"), &printed);
}
