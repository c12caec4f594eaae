//! The text of a `.drill` file to a [`Scenario`].
//!
//! ```text
//! # The active application server goes silent.
//! design ../examples/secured
//! load 40 reads/s, 5 writes/s over new connections
//! after 3 s   cut srv2
//! within 2 s  reads succeed
//! after 9 s   join srv2
//! within 20 s all healthy
//! promise     at most 20 failed reads, longest gap 2 s, 0 lost writes
//! ```
//! One statement a line; `#` starts a comment. Every line with a mistake is reported, each once.

mod fault;
mod line;

use std::path::PathBuf;

use crate::sample::Kind;
use crate::scenario::{Action, Condition, Control, Fault, Goal, Mistake, Promise, Rates, Scenario, Step};

use fault::action;
use line::{Line, Parsed, Word, mistake};

/// Most requests a second of a kind: one client process makes them.
const RATE_MAX: u32 = 1_000;
/// Most writers on an application server: MariaDB takes 151 connections, and the application needs some.
const WRITERS_MAX: u32 = 64;
/// Most lines of a scenario.
const LINES_MAX: usize = 200;

const UNITS: &str = "reads/s, writes/s, files/s, lists/s or writers";
const STATEMENTS: &str = "design, disk, load, after, within, promise or expect";
/// Reads the scenario `name` from `text`, or reports every line that is wrong.
pub fn parse(name: &str, text: &str) -> Result<Scenario, Vec<Mistake>> {
    let mut draft = Draft::default();
    let mut mistakes = Vec::new();
    for (index, source) in text.lines().enumerate().take(LINES_MAX) {
        let mut line = Line::new(index + 1, source);
        if let Err(mistake) = draft.statement(&mut line) {
            mistakes.push(mistake);
        }
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        mistakes.push(mistake(LINES_MAX + 1, 1, format!("a scenario has at most {LINES_MAX} lines")));
    }
    if mistakes.is_empty() {
        mistakes.extend(draft.missing(lines.max(1)));
    }
    match (mistakes.is_empty(), draft.design, draft.load) {
        (true, Some(design), Some((rates, keep_alive))) => Ok(Scenario {
            name: name.to_owned(),
            title: title(text).unwrap_or_else(|| name.to_owned()),
            design,
            disk_mb: draft.disk_mb,
            rates,
            keep_alive,
            steps: draft.steps,
            promises: draft.promises,
            control: draft.control,
        }),
        _ => Err(mistakes),
    }
}

/// The comment that the text begins with.
fn title(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map_while(|line| line.trim().strip_prefix('#')).map(str::trim).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

#[derive(Default)]
struct Draft {
    design: Option<PathBuf>,
    disk_mb: Option<u32>,
    load: Option<(Rates, bool)>,
    steps: Vec<Step>,
    promises: Vec<Promise>,
    control: Option<Control>,
}

impl Draft {
    fn statement(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        let Some(word) = line.words.first().copied() else { return Ok(()) };
        line.next += 1;
        match word.text {
            "design" if self.design.is_some() => Err(line.wrong(word, "a second design; a scenario has one".into())),
            "design" => {
                self.design = Some(PathBuf::from(line.word("a design: the folder of its triad.toml")?.text));
                line.end()
            }
            "disk" if self.disk_mb.is_some() => Err(line.wrong(word, "a second disk; a scenario has one size".into())),
            "disk" => {
                let megabytes = line.number("megabytes")?;
                line.expect("MB")?;
                self.disk_mb = Some(line.bounded(megabytes, 200, 16_384)?);
                line.end()
            }
            "load" if self.load.is_some() => Err(line.wrong(word, "a second load; a scenario has one".into())),
            "load" => {
                self.load = Some(load(line)?);
                line.end()
            }
            "after" => self.step(line, word),
            "within" => self.condition(line, word),
            "promise" => {
                self.promises.extend(promises(line)?);
                line.end()
            }
            "expect" => {
                self.control = Some(control(line)?);
                line.end()
            }
            other => Err(line.wrong(word, format!("{other} begins no statement; write {STATEMENTS}"))),
        }
    }

    fn step(&mut self, line: &mut Line<'_>, first: Word<'_>) -> Parsed<()> {
        let at_ms = line.time()?;
        if self.steps.last().is_some_and(|last| last.at_ms > at_ms) {
            return Err(line.wrong(first, "earlier than the step before; write steps in the order of time".into()));
        }
        let verb = line.words.get(line.next).copied();
        let action = action(line)?;
        let text = line.rest_from(verb);
        line.end()?;
        if let (Action::End(fault), Some(verb)) = (&action, verb) {
            self.check_begun(fault, line, verb)?;
        }
        self.steps.push(Step { at_ms, action, text, conditions: Vec::new() });
        Ok(())
    }

    /// Whether `fault` is under way, so that it can end.
    fn check_begun(&self, fault: &Fault, line: &Line<'_>, verb: Word<'_>) -> Parsed<()> {
        let mut open = false;
        for step in self.steps.iter().filter(|step| step.action.fault().same(fault)) {
            open = matches!(step.action, Action::Begin(_));
        }
        if open { Ok(()) } else { Err(line.wrong(verb, "nothing that this ends has begun before".into())) }
    }

    fn condition(&mut self, line: &mut Line<'_>, first: Word<'_>) -> Parsed<()> {
        let within_ms = line.time()?;
        let start = line.words.get(line.next).copied();
        let goal = goal(line)?;
        let text = line.rest_from(start);
        line.end()?;
        let Some(step) = self.steps.last_mut() else {
            return Err(line.wrong(first, "a deadline counts from a step; write `after TIME FAULT` before it".into()));
        };
        step.conditions.push(Condition { within_ms, goal, text });
        Ok(())
    }

    fn missing(&self, line: usize) -> Vec<Mistake> {
        let fills = self.steps.iter().any(|step| matches!(step.action.fault(), Fault::FillDisk(_)));
        let absent = [
            (fills && self.disk_mb.is_none(), "the servers have no disks of their own to fill; write `disk 400 MB`"),
            (self.design.is_none(), "no design; write `design FOLDER`"),
            (self.load.is_none(), "no load; write `load 40 reads/s over new connections`"),
            (self.steps.is_empty(), "nothing happens; write `after 3 s FAULT`"),
        ];
        absent.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| mistake(line, 1, what)).collect()
    }
}

fn load(line: &mut Line<'_>) -> Parsed<(Rates, bool)> {
    let mut rates = Rates::default();
    loop {
        let number = line.number("a number of requests a second")?;
        let rate = u32::try_from(number.1).ok().filter(|rate| (1..=RATE_MAX).contains(rate));
        let rate = rate.ok_or_else(|| line.wrong(number.0, format!("a rate is from 1 to {RATE_MAX}")))?;
        let unit = line.word(UNITS)?;
        if unit.text == "writers" {
            rates.writers = line.bounded(number, 1, WRITERS_MAX)?;
        } else {
            rates.set(kind_of(unit, line)?, rate);
        }
        if !line.skip(",") && !line.skip("and") {
            break;
        }
    }
    line.expect("over")?;
    let connections = line.one_of(&["new", "kept"])?;
    line.expect("connections")?;
    Ok((rates, connections == "kept"))
}

/// `reads/s`
fn kind_of(unit: Word<'_>, line: &Line<'_>) -> Parsed<Kind> {
    let kind = Kind::ALL.into_iter().find(|kind| *kind != Kind::Statements && unit.text == format!("{kind}/s"));
    kind.ok_or_else(|| line.wrong(unit, format!("write {UNITS}")))
}

/// `reads succeed`, `reads come from srv3`, `all healthy`, `all in sync`
fn goal(line: &mut Line<'_>) -> Parsed<Goal> {
    if line.skip("all") {
        return Ok(if line.one_of(&["healthy", "in"])? == "in" {
            line.expect("sync")?;
            Goal::InSync
        } else {
            Goal::Healthy
        });
    }
    let word = line.word(
        "reads succeed (or writes, files, lists, statements), reads come from SERVER, all healthy, or all in sync",
    )?;
    let kind = line.kind(word)?;
    if kind == Kind::Reads && line.skip("come") {
        line.expect("from")?;
        return Ok(Goal::From(line.place()?));
    }
    line.expect("succeed")?;
    Ok(Goal::Succeed(kind))
}

fn promises(line: &mut Line<'_>) -> Parsed<Vec<Promise>> {
    let mut promises = vec![promise(line)?];
    while line.skip(",") {
        promises.push(promise(line)?);
    }
    Ok(promises)
}

/// `at most 20 failed reads`, `longest gap 2 s`, `longest gap of writes 2 s`, `0 lost writes`, `1 failover`
fn promise(line: &mut Line<'_>) -> Parsed<Promise> {
    if line.skip("longest") {
        line.expect("gap")?;
        let kind = if line.skip("of") { line.requests()? } else { None };
        return Ok(Promise::Gap { kind, at_most_ms: line.time()? });
    }
    let bounded = line.skip("at");
    if bounded {
        line.expect("most")?;
    }
    let (_, at_most) = line.number("`at most N failed reads`, `longest gap 2 s`, `0 lost writes` or `1 failover`")?;
    match line.one_of(&["failed", "lost", "failovers", "failover"])? {
        "failed" => Ok(Promise::Failed { kind: line.requests()?, at_most }),
        "lost" => {
            line.expect("writes")?;
            Ok(Promise::Lost { at_most })
        }
        _ => Ok(Promise::Failovers { at_least: if bounded { 0 } else { at_most }, at_most }),
    }
}

/// `failure of lost writes`, `failure of failed reads`
fn control(line: &mut Line<'_>) -> Parsed<Control> {
    line.expect("failure")?;
    line.expect("of")?;
    if line.one_of(&["failed", "lost"])? == "lost" {
        line.expect("writes")?;
        return Ok(Control::Lost);
    }
    Ok(Control::Failed(line.requests()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::parse;
    use crate::scenario::render;

    const DIVIDER: &str = "----------\n";

    fn output(text: &str) -> String {
        match parse("case", text) {
            Ok(scenario) => format!("{scenario:#?}\nload for {} ms\n", scenario.load_ms()),
            Err(mistakes) => render(&mistakes, "case.drill", text),
        }
    }

    #[test]
    fn goldens() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parse");
        let mut cases = 0;
        for entry in fs::read_dir(folder).expect("goldens") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("readable");
            let (input, expected) = text.split_once(DIVIDER).unwrap_or((&text, ""));
            let output = output(input);
            if std::env::var("TRIAD_GOLDEN").as_deref() == Ok("write") {
                fs::write(&path, format!("{input}{DIVIDER}{output}")).expect("writable");
            } else {
                assert_eq!(output, expected, "{}; TRIAD_GOLDEN=write accepts it", path.display());
            }
            cases += 1;
        }
        assert!(cases >= 4, "{cases} goldens found");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_places_in_it(
            lines in prop::collection::vec("(after|within|load|promise|kill|cut|srv1|[0-9]{1,4}|s|ms|on|,|#|é| )*", 0..8)
        ) {
            let text = lines.join("\n");
            if let Err(mistakes) = parse("case", &text) {
                prop_assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    let line = text.lines().nth(mistake.line - 1).unwrap_or_default();
                    prop_assert!(mistake.column <= line.chars().count() + 1);
                }
            }
        }
    }
}
