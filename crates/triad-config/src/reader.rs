//! Walks the TOML beside the table of keys and reports whatever does not fit it.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::format::{Fault, Format};
use crate::keys::{Key, Kind, Presence, ROOT};
use crate::mistake::Mistakes;
use crate::suggest::{and_list, suggest};

/// The key that says which format the file is in.
const SCHEMA_KEY: &str = "schema";
/// Words in names that are given to secrets.
const SECRET_WORDS: [&str; 4] = ["PASSWORD", "SECRET", "TOKEN", "KEY"];
/// Variables that Triad itself sets for the application.
const TRIAD_VARIABLES: [&str; 5] = ["DATABASE_READ_URL", "DATABASE_URL", "PORT", "TRIAD_INSTANCE", "TRIAD_SERVER"];

/// Reports what does not fit the table of keys.
pub(crate) struct Reader<'m, 't> {
    mistakes: &'m mut Mistakes<'t>,
    /// Whether all of the text was read: only then is a key that is not there missing.
    complete: bool,
}

impl<'m, 't> Reader<'m, 't> {
    pub(crate) fn new(mistakes: &'m mut Mistakes<'t>, complete: bool) -> Self {
        Self { mistakes, complete }
    }

    /// Whether the file is in the format this version reads; if not, that is the one mistake worth reporting.
    pub(crate) fn is_of_this_schema(&mut self, root: &DeTable<'_>) -> bool {
        let key = key_called(ROOT, SCHEMA_KEY);
        let foreign =
            |value: &&Spanned<DeValue<'_>>| value.get_ref().is_integer() && check(key, value.get_ref()).is_err();
        match root.get(key.name).filter(foreign) {
            Some(value) => {
                self.value(key, value, value.span(), key.name);
                false
            }
            None => true,
        }
    }

    /// The whole file.
    pub(crate) fn root(&mut self, table: &DeTable<'_>) {
        self.table(ROOT, table, 0..0, "");
    }

    /// A table with `keys`; `at` is where its name stands.
    fn table(&mut self, keys: &'static [Key], table: &DeTable<'_>, at: Range<usize>, path: &str) {
        for (name, value) in table {
            match keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => self.value(key, value, name.span(), &join(path, key.name)),
                None => self.unknown(keys, name, value, path),
            }
        }
        if self.complete {
            let required = keys.iter().filter(|key| matches!(key.presence, Presence::Required));
            required.filter(|key| !table.contains_key(key.name)).for_each(|key| self.missing(key, at.clone(), path));
        }
    }

    /// The value of `key`, whose name stands at `at`.
    pub(crate) fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>, at: Range<usize>, path: &str) {
        if let Err(fault) = check(key, value.get_ref()) {
            return self.mistakes.add(value.span(), path, fault.what, fault.help);
        }
        match (&key.kind, value.get_ref()) {
            (Kind::Table(keys), DeValue::Table(table)) => self.table(keys, table, at, path),
            (Kind::Named { names, keys }, DeValue::Table(table)) => self.named(key, *names, keys, table, path),
            (Kind::Variables, DeValue::Table(table)) => self.variables(table, path),
            (Kind::Fields, DeValue::Table(table)) => self.fields(table, path),
            (Kind::Tables(keys), DeValue::Array(items)) => self.tables(key, keys, items.iter(), path),
            (Kind::SomeOf(numbers), DeValue::Array(items)) => self.numbers(key, numbers, items.iter(), path),
            (Kind::List { of, .. } | Kind::OneOrMore(of), DeValue::Array(items)) => {
                self.items(key, *of, items.iter(), path);
            }
            _ => {}
        }
    }

    fn named(&mut self, key: &Key, names: Format, keys: &'static [Key], table: &DeTable<'_>, path: &str) {
        for (name, value) in table {
            let path = join(path, name.get_ref());
            if let Err(fault) = names.check(name.get_ref()) {
                self.mistakes.add(name.span(), path.as_str(), fault.what, fault.help);
            }
            match value.get_ref() {
                DeValue::Table(entry) => self.table(keys, entry, name.span(), &path),
                other => {
                    self.mistakes.add(value.span(), path, expected("a table", other), advice(key));
                }
            }
        }
    }

    fn tables<'v>(
        &mut self,
        key: &Key,
        keys: &'static [Key],
        items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
        path: &str,
    ) {
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => self.table(keys, table, item.span(), path),
                other => self.mistakes.add(item.span(), path, expected("a table", other), advice(key)),
            }
        }
    }

    fn items<'v>(&mut self, key: &Key, of: Format, items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>, path: &str) {
        let mut seen = BTreeSet::new();
        for item in items {
            if let Err(fault) = check_text(key, of, item.get_ref()) {
                self.mistakes.add(item.span(), path, fault.what, fault.help);
            } else if let Some(text) = item.get_ref().as_str().filter(|text| !seen.insert(*text)) {
                self.mistakes.add(
                    item.span(),
                    path,
                    format!("{text:?} stands twice in the list"),
                    "remove one of them",
                );
            }
        }
    }

    fn numbers<'v>(
        &mut self,
        key: &Key,
        of: &[i64],
        items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
        path: &str,
    ) {
        let mut seen = BTreeSet::new();
        for item in items {
            match check_number(key, of, item.get_ref()) {
                Err(fault) => self.mistakes.add(item.span(), path, fault.what, fault.help),
                Ok(number) if !seen.insert(number) => {
                    self.mistakes.add(
                        item.span(),
                        path,
                        format!("{number} stands twice in the list"),
                        "remove one of them",
                    );
                }
                Ok(_) => {}
            }
        }
    }

    fn variables(&mut self, table: &DeTable<'_>, path: &str) {
        for (name, value) in table {
            let path = join(path, name.get_ref());
            if looks_secret(name.get_ref()) {
                let help = "remove it; for now, let the application read it from a file that only its account can read";
                self.secret(name, value, path, help);
            } else if let Err(fault) = check_variable(name.get_ref(), value.get_ref()) {
                self.mistakes.add(name.span(), path, fault.what, fault.help);
            }
        }
    }

    fn fields(&mut self, table: &DeTable<'_>, path: &str) {
        let mut seen = BTreeSet::new();
        for (name, value) in table {
            let path = join(path, name.get_ref());
            if looks_secret(name.get_ref()) {
                self.secret(name, value, path, "remove it; let the application send it");
            } else if let Err(fault) = Format::FieldName.check(name.get_ref()) {
                self.mistakes.add(name.span(), path, fault.what, fault.help);
            } else if let Err(fault) = check_field(name.get_ref(), value.get_ref()) {
                self.mistakes.add(value.span(), path, fault.what, fault.help);
            } else if !seen.insert(name.get_ref().to_ascii_lowercase()) {
                let what = format!("{} stands twice in the table; case makes no difference", name.get_ref());
                self.mistakes.add(name.span(), path, what, "remove one of them");
            }
        }
    }

    fn secret(
        &mut self,
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        path: String,
        help: &'static str,
    ) {
        let what = format!("{} looks like a secret, and secrets never stand in the file", name.get_ref().as_ref());
        self.mistakes.add_hiding(value.span(), name.span(), path, what, help);
    }

    fn unknown(
        &mut self,
        keys: &'static [Key],
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        path: &str,
    ) {
        let word = name.get_ref().as_ref();
        let what = match path {
            "" => format!("there is no section or key `{word}`"),
            _ => format!("[{path}] has no key `{word}`"),
        };
        let help = unknown_help(keys, word);
        if looks_secret(word) {
            self.mistakes.add_hiding(value.span(), name.span(), join(path, word), what, help);
        } else {
            self.mistakes.add(name.span(), join(path, word), what, help);
        }
    }

    fn missing(&mut self, key: &Key, at: Range<usize>, path: &str) {
        let what = if is_section(key) {
            format!("section [{}] is missing", key.name)
        } else {
            format!("`{}` is missing", key.name)
        };
        self.mistakes.add(at, join(path, key.name), what, advice(key));
    }
}

/// Whether `key` is a section of the file.
fn is_section(key: &Key) -> bool {
    matches!(key.kind, Kind::Table(_) | Kind::Named { .. }) && ROOT.iter().any(|section| std::ptr::eq(section, key))
}

/// A way to write `key` that is right.
fn advice(key: &Key) -> String {
    if !is_section(key) {
        return format!("write {} = {}", key.name, key.example);
    }
    match (&key.kind, key.example.trim_matches(['{', '}', ' '])) {
        (Kind::Named { .. }, _) => format!("write a section [{}.srv1] with private = \"10.77.0.11\"", key.name),
        (_, "") => format!("write the section [{}]", key.name),
        (_, inside) => format!("write the section [{}] with {inside}", key.name),
    }
}

/// What to write instead of `word`, which is none of `keys`.
fn unknown_help(keys: &'static [Key], word: &str) -> String {
    if let Some(near) = suggest(word, keys.iter().map(|key| key.name)) {
        return format!("did you mean `{near}`?");
    }
    if let Some(section) = section_with(word) {
        return format!("`{word}` belongs in [{section}]");
    }
    if looks_secret(word) {
        return "remove it: secrets never stand in the file".to_owned();
    }
    format!("write one of {}", and_list(keys.iter().map(|key| key.name)))
}

/// The first section with a key called `word`.
fn section_with(word: &str) -> Option<&'static str> {
    let has = |keys: &[Key]| keys.iter().any(|key| key.name == word);
    ROOT.iter().find(|section| matches!(section.kind, Kind::Table(keys) if has(keys))).map(|section| section.name)
}

/// Whether a value under `name` is likely a secret.
pub(crate) fn looks_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Checks the value of `key` itself, not what is inside a table or a list.
pub(crate) fn check(key: &Key, value: &DeValue<'_>) -> Result<(), Fault> {
    let typed = |fits: bool, what: &str| if fits { Ok(()) } else { Err(wrong_type(key, what, value)) };
    match key.kind {
        Kind::Exactly(only) => check_exactly(key, only, value),
        Kind::OneOf(numbers) => check_one_of(key, numbers, value),
        Kind::SomeOf(_) => typed(value.is_array(), "a list of integers"),
        Kind::Integer { min, max } => check_integer(key, min, max, value),
        Kind::Flag => typed(value.is_bool(), "true or false"),
        Kind::Text(format) => check_text(key, format, value),
        Kind::Choice { now, later } => check_choice(key, now, later, value),
        Kind::List { min, .. } => check_list(key, min, value),
        Kind::Tables(_) => typed(value.is_array(), "a list of tables"),
        Kind::OneOrMore(format) if value.is_str() => check_text(key, format, value),
        Kind::OneOrMore(_) => check_list(key, 1, value),
        Kind::Table(_) | Kind::Named { .. } | Kind::Variables | Kind::Fields => typed(value.is_table(), "a table"),
    }
}

fn check_exactly(key: &Key, only: i64, value: &DeValue<'_>) -> Result<(), Fault> {
    match value.as_integer().map(to_i64) {
        Some(Some(number)) if number == only => Ok(()),
        Some(_) => Err(Fault::new(
            format!("this version of Triad reads {} {only}, not {}", key.name, shown(value)),
            format!("write {} = {only}, or use the version of Triad that this file is for", key.name),
        )),
        None => Err(wrong_type(key, "an integer", value)),
    }
}

fn check_one_of(key: &Key, numbers: &[i64], value: &DeValue<'_>) -> Result<(), Fault> {
    let Some(integer) = value.as_integer() else { return Err(wrong_type(key, "an integer", value)) };
    if to_i64(integer).is_some_and(|number| numbers.contains(&number)) {
        return Ok(());
    }
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let help = format!("write {} = {}", key.name, numbers.join(" or "));
    Err(Fault::new(format!("{} is no {} that can be given", shown(value), key.name), help))
}

/// Checks an item of a list of numbers.
pub(crate) fn check_number(key: &Key, numbers: &[i64], value: &DeValue<'_>) -> Result<i64, Fault> {
    let Some(integer) = value.as_integer() else { return Err(wrong_type(key, "an integer", value)) };
    to_i64(integer).filter(|number| numbers.contains(number)).ok_or_else(|| {
        let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let help =
            format!("write some of {}: {} = {}", and_list(texts.iter().map(String::as_str)), key.name, key.example);
        Fault::new(format!("{} cannot stand in {}", shown(value), key.name), help)
    })
}

fn check_integer(key: &Key, min: i64, max: i64, value: &DeValue<'_>) -> Result<(), Fault> {
    let Some(integer) = value.as_integer() else { return Err(wrong_type(key, "an integer", value)) };
    match to_i64(integer) {
        Some(number) if (min..=max).contains(&number) => Ok(()),
        _ => Err(Fault::new(
            format!("{} is outside {min} to {max}", shown(value)),
            format!("write a number from {min} to {max}: {} = {}", key.name, key.example),
        )),
    }
}

fn check_text(key: &Key, format: Format, value: &DeValue<'_>) -> Result<(), Fault> {
    match value.as_str() {
        Some(text) => format.check(text),
        None => Err(wrong_type(key, "a string", value)),
    }
}

fn check_choice(key: &Key, now: &[&str], later: &[&str], value: &DeValue<'_>) -> Result<(), Fault> {
    let Some(text) = value.as_str() else { return Err(wrong_type(key, "a string", value)) };
    if now.contains(&text) {
        return Ok(());
    }
    let quoted: Vec<String> = now.iter().map(|choice| format!("{choice:?}")).collect();
    let help = match suggest(text, now.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("write {} = {}", key.name, quoted.join(" or ")),
    };
    let why = if later.contains(&text) { "is not there yet" } else { "is not known" };
    Err(Fault::new(format!("{} {text:?} {why}", key.name), help))
}

fn check_list(key: &Key, min: usize, value: &DeValue<'_>) -> Result<(), Fault> {
    match value.as_array() {
        Some(items) if items.len() >= min => Ok(()),
        Some(_) => Err(Fault::new("the list is empty", advice(key))),
        None => Err(wrong_type(key, "a list of strings", value)),
    }
}

/// Environment variables, by POSIX.1-2017 section 8.1: upper-case letters, digits and underscores.
fn check_variable(name: &str, value: &DeValue<'_>) -> Result<(), Fault> {
    let well_formed = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !well_formed {
        return Err(Fault::new(
            format!("{name:?} is not the name of a variable"),
            "write upper-case letters, digits and underscores, not starting with a digit: LOG_LEVEL",
        ));
    }
    if TRIAD_VARIABLES.contains(&name) {
        return Err(Fault::new(format!("Triad itself sets {name}"), "remove it, or give yours another name"));
    }
    match value.as_str() {
        Some(text) if text.contains('\0') => Err(Fault::new("the value has a NUL in it", "remove the NUL")),
        Some(_) => Ok(()),
        None => Err(Fault::new(expected("a string", value), format!("write {name} = \"…\""))),
    }
}

fn check_field(name: &str, value: &DeValue<'_>) -> Result<(), Fault> {
    match value.as_str() {
        Some(text) => Format::FieldValue.check(text),
        None => Err(Fault::new(expected("a string", value), format!("write {name} = \"…\""))),
    }
}

fn wrong_type(key: &Key, wanted: &str, found: &DeValue<'_>) -> Fault {
    Fault::new(expected(wanted, found), advice(key))
}

fn expected(wanted: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("expected {wanted}, found {found}")
}

/// An integer as the file writes it.
fn shown(value: &DeValue<'_>) -> String {
    value.as_integer().map(ToString::to_string).unwrap_or_default()
}

pub(crate) fn to_i64(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The key of `keys` called `name`; the code names only keys that are there.
pub(crate) fn key_called(keys: &'static [Key], name: &str) -> &'static Key {
    keys.iter().find(|key| key.name == name).expect("only keys of the table are asked for")
}
