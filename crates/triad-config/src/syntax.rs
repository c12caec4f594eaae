//! The text as TOML, past its errors, so that what is well-formed is still checked.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use crate::mistake::Mistakes;
use crate::reader::looks_secret;

/// What the TOML reader says of a key or a table that stands twice.
const DUPLICATE: &str = "duplicate key";

/// What to write, by how the TOML reader's message starts.
const HELP: [(&str, &str); 13] = [
    (DUPLICATE, "remove one of them: a key or a table stands once"),
    ("string values must be quoted", "write a value; strings stand in quotes: key = \"value\""),
    ("key with no value", "write key = value"),
    ("invalid unquoted key", "write key = value; a key is letters, digits, - and _"),
    ("unquoted keys cannot be empty", "write a key before the ="),
    ("invalid basic string", "end the string with \" on the same line"),
    ("invalid literal string", "end the string with ' on the same line"),
    ("invalid multi-line", "end the string with the three quotes it starts with"),
    ("missing escaped value", "write \\\\ for a backslash, or put the string in single quotes"),
    ("invalid boolean", "write true or false, in lower case"),
    ("unclosed", "close the bracket"),
    ("missing comma", "write a comma between two elements, and close the bracket after the last"),
    ("unexpected key or value", "write one key = value a line"),
];
/// What to write where [`HELP`] knows no better.
const HELP_ELSE: &str = "write TOML, as on https://toml.io";

/// What cannot stand in the name of a key.
const NAME_ENDS: fn(char) -> bool = |c| !(c.is_alphanumeric() || c == '_' || c == '-');

/// What could be read of `text`, and whether that is all of it but for keys that stand twice. Errors are reported, the
/// first of each line: the others follow from it.
pub(crate) fn read<'t>(text: &'t str, mistakes: &mut Mistakes<'_>) -> (Spanned<DeTable<'t>>, bool) {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| start(text, error));
    let mut reported_line = None;
    for error in &errors {
        let line = text.as_bytes()[..start(text, error)].iter().filter(|byte| **byte == b'\n').count();
        if reported_line.replace(line) != Some(line) {
            report(text, error, mistakes);
        }
    }
    (table, errors.iter().all(|error| error.message() == DUPLICATE))
}

fn start(text: &str, error: &Error) -> usize {
    error.span().map_or(text.len(), |span| span.start.min(text.len()))
}

fn report(text: &str, error: &Error, mistakes: &mut Mistakes<'_>) {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = error.message().trim_end_matches(", expected nothing");
    let what = match text.get(span.clone()) {
        Some(name) if message == DUPLICATE => format!("`{name}` stands twice"),
        _ => format!("not TOML: {message}"),
    };
    let help = HELP.iter().find(|(start, _)| message.starts_with(start)).map_or(HELP_ELSE, |(_, help)| help);
    match secret_on_line(text, span.start) {
        Some(secret) => mistakes.add_hiding(secret, span, "", what, help),
        None => mistakes.add(span, "", what, help),
    }
}

/// What follows, on the line of the byte at `offset`, a name that looks like a secret's: a line that is not TOML may
/// hold one all the same.
fn secret_on_line(text: &str, offset: usize) -> Option<Range<usize>> {
    let start = text.as_bytes()[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?;
    let name_before = |at: usize| line[..at].trim_end_matches([' ', '\t', '"', '\'']).rsplit(NAME_ENDS).next();
    let (sign, _) = line.match_indices(['=', ':']).find(|(at, _)| name_before(*at).is_some_and(looks_secret))?;
    let value = line[sign + 1..].trim_start();
    Some(start + line.len() - value.len()..start + line.len())
}

#[cfg(test)]
mod tests {
    use super::secret_on_line;

    #[test]
    fn a_secret_is_found_by_its_name() {
        let secret = |line: &str| secret_on_line(line, line.len()).map(|range| line[range].to_owned());
        assert_eq!(secret("DB_PASSWORD = \"hunter2").as_deref(), Some("\"hunter2"));
        assert_eq!(secret("# a\nenvironment = { \"API_KEY\": 1 }").as_deref(), Some("1 }"));
        assert_eq!(secret("primary = srv2"), None);
    }
}
