//! No text makes the reader panic, and what it reports can be printed.

use proptest::prelude::*;
use triad_config::{DesignKind, parse, render, template};

/// Reads `text` and prints what is wrong with it.
fn read(text: &str) {
    if let Err(mistakes) = parse(text) {
        assert!(!mistakes.is_empty());
        let printed = render(&mistakes, "triad.toml", text, false);
        for mistake in &mistakes {
            assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
            assert!(!mistake.what.is_empty() && !mistake.help.is_empty(), "{mistake:?}");
            let place = format!("triad.toml:{}:{}", mistake.line, mistake.column);
            assert!(printed.contains(&place), "{place} is not in\n{printed}");
        }
    }
}

#[test]
fn every_prefix_of_an_example() {
    for kind in DesignKind::ALL {
        let text = template(kind);
        for (end, _) in text.char_indices() {
            read(&text[..end]);
        }
    }
}

/// Pieces of files: what TOML is made of, and words the reader knows.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"[\[\]{}=,."'#\n \\]{1,3}"#,
        r#"[a-z]{1,3}|-?[0-9]{1,20}|é|\u{FEFF}|\r\n"#,
        prop::sample::select(
            &[
                "\n[servers.srv1]\n",
                "\n[balancer]\n",
                "\n[app]\n",
                "\n[[web]]\n",
                "\n[database]\n",
                "\n[tls]\n",
                "servers = [\"srv1\"]\n",
                "schema = 1\n",
                "site.domain = \"foobar.com\"\n",
                "backends.srv1 = ",
                "environment.API_KEY = ",
                "public = \"::1\"\n",
                "private = \"10.0.0.1\"\n",
                "\"\"\"",
                "'''",
                "true",
            ][..]
        )
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn anything_like_toml(pieces in prop::collection::vec(piece(), 0..40)) {
        read(&pieces.concat());
    }

    #[test]
    fn an_example_with_a_piece_replaced(
        kind in prop::sample::select(&DesignKind::ALL[..]),
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        piece in piece(),
    ) {
        let characters: Vec<char> = template(kind).chars().collect();
        let start = at.index(characters.len());
        let end = (start + length).min(characters.len());
        let (before, after) = (characters[..start].iter().copied(), characters[end..].iter().copied());
        let text: String = before.chain(piece.chars()).chain(after).collect();
        read(&text);
    }
}
