//! What the table of keys says, for others: a JSON Schema for editors, a reference for people.

use serde_json::{Map, Value, json};

use crate::format::Format;
use crate::keys::{Key, Kind, Presence, ROOT};

/// A JSON Schema (draft 2020-12) of the file. It says which keys there are and what their values look like; rules
/// between keys are beyond it.
pub fn schema() -> Value {
    let mut root = table_schema(ROOT);
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("triad.toml"));
    Value::Object(root)
}

fn table_schema(keys: &[Key]) -> Map<String, Value> {
    let required: Vec<&str> =
        keys.iter().filter(|key| matches!(key.presence, Presence::Required)).map(|key| key.name).collect();
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), key_schema(key))).collect();
    let mut schema = object(json!({ "type": "object", "additionalProperties": false, "properties": properties }));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(&key.kind);
    schema.insert("description".to_owned(), json!(key.doc));
    let default = match key.presence {
        Presence::Flag(flag) => Some(json!(flag)),
        Presence::Integer(integer) => Some(json!(integer)),
        Presence::Text(text) => Some(json!(text)),
        Presence::EmptyList => Some(json!([])),
        Presence::Required | Presence::Optional | Presence::Derived(_) => None,
    };
    schema.extend(default.map(|default| ("default".to_owned(), default)));
    Value::Object(schema)
}

fn kind_schema(kind: &Kind) -> Map<String, Value> {
    match kind {
        Kind::Exactly(only) => object(json!({ "const": only })),
        Kind::OneOf(numbers) => object(json!({ "enum": numbers })),
        Kind::SomeOf(numbers) => object(json!({ "type": "array", "items": { "enum": numbers }, "uniqueItems": true })),
        Kind::Integer { min, max } => object(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Kind::Flag => object(json!({ "type": "boolean" })),
        Kind::Text(format) => text_schema(*format),
        Kind::Choice { now, .. } => object(json!({ "enum": now })),
        Kind::List { of, min } => list_schema(*of, *min),
        Kind::OneOrMore(of) => object(json!({ "anyOf": [text_schema(*of), list_schema(*of, 1)] })),
        Kind::Table(keys) => table_schema(keys),
        Kind::Tables(keys) => object(json!({ "type": "array", "items": table_schema(keys) })),
        Kind::Named { names, keys } => object(json!({
            "type": "object",
            "propertyNames": { "pattern": names.pattern() },
            "additionalProperties": table_schema(keys),
        })),
        Kind::Variables => object(json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Z_][A-Z0-9_]*$" },
            "additionalProperties": { "type": "string" },
        })),
        Kind::Fields => object(json!({
            "type": "object",
            "propertyNames": { "pattern": Format::FieldName.pattern() },
            "additionalProperties": text_schema(Format::FieldValue),
        })),
    }
}

fn text_schema(format: Format) -> Map<String, Value> {
    object(json!({ "type": "string", "pattern": format.pattern() }))
}

fn list_schema(of: Format, min: usize) -> Map<String, Value> {
    object(json!({ "type": "array", "items": text_schema(of), "minItems": min, "uniqueItems": true }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The reference of the file, in Markdown: every section, every key, its type, default and meaning.
pub fn reference() -> String {
    let mut text = "# `triad.toml`\n".to_owned();
    for key in ROOT {
        text.push('\n');
        match key.kind {
            Kind::Table(_) | Kind::Tables(_) | Kind::Named { .. } => describe_table(key, key.name, &mut text),
            _ => text.push_str(&format!("`{} = {}` ({}): {}\n", key.name, key.example, presence(key), key.doc)),
        }
    }
    text
}

/// A section for `key`, then one for each table inside it.
fn describe_table(key: &Key, path: &str, text: &mut String) {
    let (heading, keys) = match key.kind {
        Kind::Table(keys) => (path.to_owned(), keys),
        Kind::Tables(keys) => (format!("[{path}]"), keys),
        Kind::Named { keys, .. } => (format!("{path}.NAME"), keys),
        _ => return,
    };
    text.push_str(&format!("## `[{heading}]`\n\n{} {}\n\n", key.doc, capitalized(&presence(key))));
    text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in keys {
        let default = key.presence.default_text().map_or_else(|| presence(key), |default| code(&key.presence, default));
        let line = format!("| `{}` | {} | {default} | {} |\n", key.name, kind_in_words(&key.kind), key.doc);
        text.push_str(&line);
    }
    for key in keys {
        if matches!(key.kind, Kind::Table(_) | Kind::Tables(_) | Kind::Named { .. }) {
            text.push('\n');
            describe_table(key, &format!("{heading}.{}", key.name), text);
        }
    }
}

fn code(presence: &Presence, default: String) -> String {
    if matches!(presence, Presence::Derived(_)) { default } else { format!("`{default}`") }
}

fn presence(key: &Key) -> String {
    if matches!(key.presence, Presence::Required) { "required".to_owned() } else { "optional".to_owned() }
}

fn capitalized(word: &str) -> String {
    format!("{}{}.", word[..1].to_uppercase(), &word[1..])
}

fn kind_in_words(kind: &Kind) -> String {
    match kind {
        Kind::Exactly(only) => format!("`{only}`"),
        Kind::OneOf(numbers) => numbers_in_words(numbers),
        Kind::SomeOf(numbers) => format!("list of some of {}", numbers_in_words(numbers)),
        Kind::Integer { min, max } => format!("integer, {min} to {max}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Text(format) => format.noun().to_owned(),
        Kind::Choice { now, .. } => now.iter().map(|choice| format!("`{choice:?}`")).collect::<Vec<_>>().join(" or "),
        Kind::List { of, .. } => format!("list of {}s", of.noun()),
        Kind::OneOrMore(of) => format!("{}, or a list of them", of.noun()),
        Kind::Table(_) => "table".to_owned(),
        Kind::Tables(_) => "list of tables".to_owned(),
        Kind::Named { names, .. } => format!("tables, each under a {}", names.noun()),
        Kind::Variables | Kind::Fields => "table of strings".to_owned(),
    }
}

fn numbers_in_words(numbers: &[i64]) -> String {
    numbers.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}
