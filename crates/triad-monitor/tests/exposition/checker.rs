//! The rules of text format 0.0.4, as strict as its specification and stricter where we promise more.

use std::collections::{BTreeMap, BTreeSet};

/// A family as it was read.
#[derive(Debug)]
pub struct Family {
    pub name: String,
    kind: String,
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug)]
pub struct Sample {
    name: String,
    pub labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a page; an error says which rule it breaks, and where.
pub fn parse(text: &str) -> Result<Vec<Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut help: Option<&str> = None;
    for line in text[..text.len() - 1].split('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest.split_once(' ').ok_or(format!("HELP without a text: {line}"))?.0);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            families.push(begin(rest, help.take(), &families)?);
        } else {
            let family = families.last_mut().ok_or(format!("a sample before any TYPE: {line}"))?;
            family.samples.push(sample(line)?);
        }
    }
    families.iter().try_for_each(check)?;
    Ok(families)
}

fn begin(rest: &str, help: Option<&str>, families: &[Family]) -> Result<Family, String> {
    let (name, kind) = rest.split_once(' ').ok_or(format!("TYPE without a kind: {rest}"))?;
    if help != Some(name) {
        return Err(format!("{name}: TYPE does not follow its HELP"));
    }
    if families.iter().any(|family| family.name == name) {
        return Err(format!("{name}: TYPE twice"));
    }
    if !is_name(name, ":_") || !["counter", "gauge", "histogram", "untyped"].contains(&kind) {
        return Err(format!("TYPE {rest}: bad name or kind"));
    }
    Ok(Family { name: name.to_owned(), kind: kind.to_owned(), samples: Vec::new() })
}

fn is_name(text: &str, marks: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || marks.contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or(format!("no value: {line}"))?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inner.split_once("=\"").ok_or(format!("no label: {line}"))?;
            let (value, after) = quoted(after).ok_or(format!("bad label value: {line}"))?;
            if !is_name(label, "_") || labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("bad or repeated label {label}: {line}"));
            }
            match after.strip_prefix(',') {
                Some(next) => inner = next,
                None => break rest = after.strip_prefix('}').ok_or(format!("labels do not end: {line}"))?,
            }
        }
    }
    let value = rest.strip_prefix(' ').and_then(number).ok_or(format!("bad value: {line}"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Reads up to the closing quote: the text without its escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if text.contains(|c: char| c.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

fn check(family: &Family) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{}: {what}", family.name));
    if family.samples.is_empty() {
        return fail("HELP and TYPE without a sample");
    }
    let series: BTreeSet<_> = family.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
    if series.len() != family.samples.len() {
        return fail("a series appears twice");
    }
    if family.kind == "histogram" {
        return histogram(family);
    }
    if family.kind == "counter" && !family.name.ends_with("_total") {
        return fail("a counter's name ends with _total");
    }
    match family.samples.iter().find(|sample| sample.name != family.name) {
        Some(stray) => fail(&format!("a sample of {} stands among its own", stray.name)),
        None => Ok(()),
    }
}

/// Each series of a family, which are told apart by their labels but `le`, is a histogram.
fn histogram(family: &Family) -> Result<(), String> {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        series.entry(labels).or_default().push(sample);
    }
    series.values().try_for_each(|samples| one_histogram(family, samples))
}

fn one_histogram(family: &Family, samples: &[&Sample]) -> Result<(), String> {
    let named = |suffix: &str| {
        let name = format!("{}{suffix}", family.name);
        samples.iter().filter(move |sample| sample.name == name)
    };
    let buckets: Vec<(f64, f64)> = named("_bucket")
        .map(|sample| sample.labels.get("le").and_then(|le| number(le)).zip(Some(sample.value)))
        .collect::<Option<_>>()
        .ok_or("a bucket has no number for le")?;
    let rises = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    let count = named("_count").map(|sample| sample.value).collect::<Vec<_>>();
    let complete = buckets.last().is_some_and(|last| last.0 == f64::INFINITY && count == [last.1]);
    let members = buckets.len() + count.len() + named("_sum").count();
    if rises && complete && named("_sum").count() == 1 && members == samples.len() {
        Ok(())
    } else {
        Err(format!("{}: buckets do not rise to +Inf, or _sum or _count is wrong", family.name))
    }
}
