//! Where a key stands in a file that has no mistakes, and how a finding is shown there.

use std::collections::HashMap;
use std::ops::Range;

use annotate_snippets::{Level, Renderer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use triad_model::{Finding, Severity};

use crate::load::{LoadError, Loaded};
use crate::mistake::{Mistakes, position, snippet};

impl Loaded {
    /// Line and column, both from 1, of the value at `key`, dotted: `balancer.servers`. Of a section, its name. Where
    /// the key does not stand in the file, its nearest parent that does; `None` where no part of it does.
    pub fn place(&self, key: &str) -> Option<(usize, usize)> {
        Some(position(&self.text, self.span(key)?.start))
    }

    /// This file with mistakes after all: what is wrong with what it names, each of `faults` a dotted key, what is wrong
    /// and what to do. Tables of a list are counted from 0: `tls.certificates.0.key_file`.
    pub fn refused(&self, faults: impl IntoIterator<Item = (String, String, String)>) -> LoadError {
        let mut mistakes = Mistakes::new(&self.text);
        for (key, what, help) in faults {
            mistakes.add(self.span(&key).unwrap_or(0..0), key, what, help);
        }
        LoadError::Wrong { file: self.file.clone(), text: self.text.clone(), mistakes: mistakes.into_sorted() }
    }

    /// Prints `finding` with the file's name, line and column, the line itself with the place underlined, what users
    /// would see and what to write. `color` adds ANSI escapes.
    pub fn show(&self, finding: &Finding, color: bool) -> String {
        let file = self.file.display().to_string();
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let title = level.primary_title(finding.title.as_str()).id(finding.code.as_str());
        let span = self.span(&finding.place).unwrap_or(0..0);
        let group = title
            .element(snippet(&file, &self.text, span))
            .element(Level::NOTE.with_name("users").message(finding.users.as_str()))
            .element(Level::HELP.with_name("mend").message(finding.mend.as_str()));
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group]) + "\n"
    }

    fn span(&self, key: &str) -> Option<Range<usize>> {
        let mut parents = std::iter::successors(Some(key), |key| key.rsplit_once('.').map(|(parent, _)| parent));
        parents.find_map(|key| self.places.0.get(key).cloned())
    }
}

/// Where each key stands, dotted; tables of a list are counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Places(HashMap<String, Range<usize>>);

impl Places {
    /// Of every key in `root`.
    pub fn of(root: &DeTable<'_>) -> Self {
        let mut places = Self::default();
        places.add(root, "");
        places
    }

    fn add(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            if let Some(inner) = value.get_ref().as_table() {
                self.add(inner, &format!("{key}."));
            }
            for (number, item) in value.get_ref().as_array().into_iter().flatten().enumerate() {
                if let Some(inner) = item.get_ref().as_table() {
                    self.add(inner, &format!("{key}.{number}."));
                }
            }
            self.0.insert(key, place_of(name.span(), value));
        }
    }
}

/// A table's name, which is where it begins; the value of anything else.
fn place_of(name: Range<usize>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    if value.get_ref().is_table() { name } else { value.span() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use triad_model::{Code, Finding};

    use crate::load::read;
    use crate::{DesignKind, Loaded, template};

    fn loaded() -> Loaded {
        let text = template(DesignKind::Secured).to_owned();
        let (design, places) = read(&text, |_, _| {}).expect("an example is right");
        Loaded { design, file: PathBuf::from("triad.toml"), folder: PathBuf::new(), text, places }
    }

    #[test]
    fn a_key_that_is_not_there_stands_where_its_parent_does() {
        let loaded = loaded();
        let line = |key: &str| {
            let (line, column) = loaded.place(key)?;
            Some(loaded.text.lines().nth(line - 1)?.chars().skip(column - 1).collect::<String>())
        };
        assert_eq!(line("database.primary").as_deref(), Some("\"srv3\""));
        assert_eq!(line("database").as_deref(), Some("database]"));
        assert_eq!(line("database.name").as_deref(), Some("database]"));
        assert_eq!(line("servers.srv2.private.x").as_deref(), Some("\"10.77.0.12\""));
        assert_eq!(line("servers").as_deref(), Some("servers.srv1]"));
        assert_eq!(line("nothing.at.all"), None);
    }

    #[test]
    fn a_finding_is_shown_at_its_place() {
        let finding = |place: &str| Finding {
            code: Code::SingleBalancer,
            severity: Code::SingleBalancer.severity(),
            place: place.to_owned(),
            title: "srv1 alone balances".to_owned(),
            users: "they wait".to_owned(),
            mend: "write another".to_owned(),
        };
        let shown = loaded().show(&finding("balancer.servers"), false);
        let expected = "warning[single-balancer]: srv1 alone balances\n  \
                        --> triad.toml:33:11\n   \
                         |\n\
                        33 | servers = [\"srv1\"]\n   \
                         |           ^^^^^^^^\n   \
                         |\n   \
                         = users: they wait\n   \
                         = mend: write another\n";
        assert_eq!(shown, expected);
        assert!(loaded().show(&finding("nothing"), true).contains("\u{1b}["));
    }
}
