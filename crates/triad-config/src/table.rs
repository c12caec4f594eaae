//! Takes well-formed values out of the TOML. What is ill-formed was reported when it was read and counts as
//! [`Field::Wrong`] from then on, so that no later rule complains of it again.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::{Key, Kind, Presence, ROOT};
use crate::reader::{check, check_number, key_called, to_i64};

/// What stands under a key.
#[derive(Clone, Debug)]
pub(crate) enum Field<T> {
    /// Nothing.
    Absent,
    /// Something ill-formed, reported already.
    Wrong,
    /// A value, and its place.
    Given(Spanned<T>),
}

impl<T> Field<T> {
    pub(crate) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Field::Given(value) => Some(value),
            Field::Absent | Field::Wrong => None,
        }
    }

    /// The value, without its place.
    pub(crate) fn value(&self) -> Option<&T> {
        self.given().map(Spanned::get_ref)
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Wrong => Field::Wrong,
            Field::Given(value) => {
                let place = value.span();
                Field::Given(Spanned::new(place, convert(value.into_inner())))
            }
        }
    }
}

/// A name's place and its value.
type Entry<'v> = (Range<usize>, &'v Spanned<DeValue<'v>>);

/// A table of the file beside its keys. One that is absent, or no table, has nothing in it but defaults.
#[derive(Clone)]
pub(crate) struct Table<'v> {
    keys: &'static [Key],
    table: Option<&'v DeTable<'v>>,
    at: Range<usize>,
}

impl<'v> Table<'v> {
    /// The whole file.
    pub(crate) fn root(table: &'v DeTable<'v>) -> Self {
        Self { keys: ROOT, table: Some(table), at: 0..0 }
    }

    /// Whether each of its keys is known and has a value of its type.
    pub(crate) fn is_understood(&self) -> bool {
        let fits =
            |name: &str, value: &DeValue<'_>| self.keys.iter().any(|key| key.name == name && check(key, value).is_ok());
        self.table.into_iter().flatten().all(|(name, value)| fits(name.get_ref(), value.get_ref()))
    }

    /// Whether a value stands under `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).1.is_some()
    }

    /// A value of `name` that may come from elsewhere, at the place where this table has it or could have it.
    pub(crate) fn here<T>(&self, name: &str, field: Field<T>) -> Field<T> {
        match field {
            Field::Given(value) => Field::Given(Spanned::new(self.place(name), value.into_inner())),
            other => other,
        }
    }

    /// Where its name stands.
    pub(crate) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Where the value of `name` stands; the table's own place if it does not.
    pub(crate) fn place(&self, name: &str) -> Range<usize> {
        self.entry(name).1.map_or(self.at(), |(_, value)| value.span())
    }

    /// A string, as what it says; where the table of keys has a default, that.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Field<T> {
        let (key, entry) = self.entry(name);
        let text = match (entry, &key.presence) {
            (Some((_, value)), _) => value.get_ref().as_str().filter(|_| check(key, value.get_ref()).is_ok()),
            (None, Presence::Text(text)) => Some(*text),
            (None, _) => return Field::Absent,
        };
        match text.and_then(|text| text.parse().ok()) {
            Some(parsed) => Field::Given(Spanned::new(self.place(name), parsed)),
            None => Field::Wrong,
        }
    }

    /// An integer; the table's default if there is none.
    pub(crate) fn integer<T: TryFrom<i64> + Default>(&self, name: &str) -> T {
        let (key, entry) = self.entry(name);
        let given = entry.map(|(_, value)| value.get_ref()).filter(|value| check(key, value).is_ok());
        let integer = given.and_then(DeValue::as_integer).and_then(to_i64).or(match key.presence {
            Presence::Integer(integer) => Some(integer),
            _ => None,
        });
        integer.and_then(|integer| T::try_from(integer).ok()).unwrap_or_default()
    }

    /// The integers of a list that may stand there.
    pub(crate) fn integers<T: TryFrom<i64>>(&self, name: &str) -> Vec<T> {
        let (key, entry) = self.entry(name);
        let Kind::SomeOf(numbers) = key.kind else { return Vec::new() };
        let items = entry.and_then(|(_, value)| value.get_ref().as_array()).into_iter().flatten();
        items.filter_map(|item| T::try_from(check_number(key, numbers, item.get_ref()).ok()?).ok()).collect()
    }

    /// A boolean; the table's default if there is none.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let (key, entry) = self.entry(name);
        let given = entry.and_then(|(_, value)| value.get_ref().as_bool());
        given.unwrap_or(matches!(key.presence, Presence::Flag(true)))
    }

    /// The well-formed strings of a list, or of a string that stands for a list of one.
    pub(crate) fn list<T: FromStr>(&self, name: &str) -> Field<Vec<Spanned<T>>> {
        let (key, entry) = self.entry(name);
        let Some((_, value)) = entry else { return Field::Absent };
        if check(key, value.get_ref()).is_err() {
            return Field::Wrong;
        }
        let (Kind::List { of, .. } | Kind::OneOrMore(of)) = key.kind else { return Field::Wrong };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let parsed = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str().filter(|text| of.check(text).is_ok())?;
            Some(Spanned::new(item.span(), text.parse().ok()?))
        };
        Field::Given(Spanned::new(value.span(), items.into_iter().filter_map(parsed).collect()))
    }

    /// A table inside this one, `None` if it is absent.
    pub(crate) fn section(&self, name: &str) -> Option<Table<'v>> {
        let (key, entry) = self.entry(name);
        let Kind::Table(keys) = key.kind else { return None };
        entry.map(|(at, value)| Table { keys, table: value.get_ref().as_table(), at })
    }

    /// A table inside this one; all defaults if it is absent.
    pub(crate) fn section_or_defaults(&self, name: &str) -> Table<'v> {
        let Kind::Table(keys) = self.entry(name).0.kind else { return Table { keys: &[], table: None, at: 0..0 } };
        self.section(name).unwrap_or(Table { keys, table: None, at: self.at() })
    }

    /// The tables of a list.
    pub(crate) fn tables(&self, name: &str) -> Vec<Table<'v>> {
        let (key, entry) = self.entry(name);
        let Kind::Tables(keys) = key.kind else { return Vec::new() };
        let items = entry.and_then(|(_, value)| value.get_ref().as_array());
        let tables = items.into_iter().flatten().filter(|item| item.get_ref().is_table());
        tables.map(|item| Table { keys, table: item.get_ref().as_table(), at: item.span() }).collect()
    }

    /// The tables under well-formed names of the user's own, in the order of the file.
    pub(crate) fn named(&self, name: &str) -> Field<Vec<(Spanned<String>, Table<'v>)>> {
        let (key, entry) = self.entry(name);
        let Some((_, value)) = entry else { return Field::Absent };
        let (Kind::Named { names, keys }, Some(table)) = (&key.kind, value.get_ref().as_table()) else {
            return Field::Wrong;
        };
        let mut entries: Vec<_> = table
            .iter()
            .filter(|(name, _)| names.check(name.get_ref()).is_ok())
            .map(|(name, value)| {
                let entry = Table { keys, table: value.get_ref().as_table(), at: name.span() };
                (Spanned::new(name.span(), name.get_ref().to_string()), entry)
            })
            .collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        Field::Given(Spanned::new(value.span(), entries))
    }

    /// Environment variables.
    pub(crate) fn variables(&self, name: &str) -> Vec<(String, String)> {
        let table = self.entry(name).1.and_then(|(_, value)| value.get_ref().as_table());
        let text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().unwrap_or_default().to_owned();
        table.into_iter().flatten().map(|(name, value)| (name.get_ref().to_string(), text(value))).collect()
    }

    /// Header fields, in the order of the file.
    pub(crate) fn fields(&self, name: &str) -> Vec<(Spanned<String>, String)> {
        let table = self.entry(name).1.and_then(|(_, value)| value.get_ref().as_table());
        let text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().unwrap_or_default().to_owned();
        let named = |name: &Spanned<_>| Spanned::new(name.span(), AsRef::<str>::as_ref(name.get_ref()).to_owned());
        let mut fields: Vec<_> = table.into_iter().flatten().map(|(name, value)| (named(name), text(value))).collect();
        fields.sort_by_key(|(name, _): &(Spanned<String>, String)| name.span().start);
        fields
    }

    /// The key called `name`, with the place of its name and its value, if it is there.
    fn entry(&self, name: &str) -> (&'static Key, Option<Entry<'v>>) {
        let key = key_called(self.keys, name);
        let entry = self.table.and_then(|table| table.get_key_value(name));
        (key, entry.map(|(name, value)| (name.span(), value)))
    }
}
