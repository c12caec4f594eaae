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

use std::path::PathBuf;

use triad_model::{Backend, BackendMode};

use crate::sample::Kind;
use crate::scenario::{
    Action, Condition, Control, Fault, Goal, Mistake, Netem, Network, Place, Process, Promise, Quoted, Rates, Scenario,
    Step,
};

/// The longest time a scenario can name, in milliseconds: a drill is minutes, not hours.
const TIME_MS_MAX: u64 = 600_000;
/// Most requests a second of a kind: one client process makes them.
const RATE_MAX: u32 = 1_000;
/// Most lines of a scenario.
const LINES_MAX: usize = 200;

const UNITS: &str = "reads/s, writes/s, files/s or lists/s";
const STATEMENTS: &str = "design, disk, load, after, within, promise or expect";
const FAULTS: &str = "kill, restart, keep killing, pause, cut, delay, lose, limit, drop, change, spoil, fill, set or \
                      make; or what ends one: stop killing, resume, start, join, calm, open, restore, mend or empty";

type Parsed<T> = Result<T, Mistake>;

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

fn mistake(line: usize, column: usize, what: impl Into<String>) -> Mistake {
    Mistake { line, column, what: what.into() }
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
        let kind = Kind::ALL.into_iter().find(|kind| unit.text == format!("{kind}/s"));
        let kind = kind.ok_or_else(|| line.wrong(unit, format!("write {UNITS}")))?;
        rates.set(kind, rate);
        if !line.skip(",") && !line.skip("and") {
            break;
        }
    }
    line.expect("over")?;
    let connections = line.one_of(&["new", "kept"])?;
    line.expect("connections")?;
    Ok((rates, connections == "kept"))
}

fn action(line: &mut Line<'_>) -> Parsed<Action> {
    use Action::{Begin, End};
    let verb = line.word(FAULTS)?;
    Ok(match verb.text {
        "kill" if line.skip("server") => Begin(Fault::KillServer(line.place()?)),
        "start" => {
            line.expect("server")?;
            End(Fault::KillServer(line.place()?))
        }
        "kill" => Begin(Fault::Kill(process(line)?)),
        "restart" => Begin(Fault::Restart(process(line)?)),
        "keep" => {
            line.expect("killing")?;
            Begin(Fault::KeepKilling(process(line)?))
        }
        "stop" => {
            line.expect("killing")?;
            End(Fault::KeepKilling(process(line)?))
        }
        "pause" => Begin(Fault::Pause(process(line)?)),
        "resume" => End(Fault::Pause(process(line)?)),
        "cut" => Begin(cut(line, "from")?),
        "join" => End(cut(line, "to")?),
        "delay" | "lose" | "limit" => Begin(slow(verb.text, line)?),
        "calm" => End(Fault::Slow { server: line.place()?, netem: Netem::DelayMs(0) }),
        "drop" => Begin(port(line)?),
        "open" => End(port(line)?),
        "change" => Begin(change(line)?),
        "restore" => {
            line.expect("file")?;
            line.expect("on")?;
            let nothing = Quoted { text: String::new(), line: line.number, column: verb.column };
            End(Fault::Change { server: line.place()?, old: nothing.clone(), new: nothing })
        }
        "set" => set(line)?,
        "fill" => Begin(disk(line)?),
        "empty" => End(disk(line)?),
        "spoil" => Begin(certificate(line)?),
        "mend" => End(certificate(line)?),
        "make" => {
            line.expect("database")?;
            line.expect("lossy")?;
            line.expect("on")?;
            Begin(Fault::Lossy(line.place()?))
        }
        other => return Err(line.wrong(verb, format!("{other} is no fault; write {FAULTS}"))),
    })
}

/// `app-1 on srv2`
fn process(line: &mut Line<'_>) -> Parsed<Process> {
    let name = line.word("a process: edge, dns, mariadbd, app-1 or agent")?;
    line.expect("on")?;
    Ok(Process { name: name.text.to_owned(), column: name.column, server: line.place()? })
}

/// `srv2`, `srv2 from srv3`, `srv2 from srv3 one way`, `srv2 from public network`, `private network`; to end it, `to`
/// stands for `from`.
fn cut(line: &mut Line<'_>, preposition: &str) -> Parsed<Fault> {
    if let Some(network) = line.network() {
        return Ok(Fault::CutNetwork { server: None, network });
    }
    let server = line.place()?;
    if !line.skip(preposition) {
        return Ok(Fault::Cut(server));
    }
    if let Some(network) = line.network() {
        return Ok(Fault::CutNetwork { server: Some(server), network });
    }
    let from = line.place()?;
    let one_way = line.skip("one");
    if one_way {
        line.expect("way")?;
    }
    Ok(Fault::CutFrom { server, from, one_way })
}

/// `delay srv2 by 50 ms`, `lose 5 % at srv2`, `limit srv2 to 2000 kbit/s`
fn slow(verb: &str, line: &mut Line<'_>) -> Parsed<Fault> {
    if verb == "lose" {
        let percent = line.number("a percentage")?;
        line.expect("%")?;
        line.expect("at")?;
        let netem = Netem::LossPercent(line.bounded(percent, 1, 100)?);
        return Ok(Fault::Slow { server: line.place()?, netem });
    }
    let server = line.place()?;
    line.expect(if verb == "delay" { "by" } else { "to" })?;
    let netem = if verb == "delay" {
        let ms = line.number("milliseconds")?;
        line.expect("ms")?;
        Netem::DelayMs(line.bounded(ms, 1, 60_000)?)
    } else {
        let rate = line.number("kbit/s")?;
        line.expect("kbit/s")?;
        Netem::RateKbit(line.bounded(rate, 8, 10_000_000)?)
    };
    Ok(Fault::Slow { server, netem })
}

/// `"weight = 5" to "weight = 1" on srv1`
fn change(line: &mut Line<'_>) -> Parsed<Fault> {
    let old = line.quoted()?;
    line.expect("to")?;
    let new = line.quoted()?;
    line.expect("on")?;
    Ok(Fault::Change { server: line.place()?, old, new })
}

/// `srv2 drain`, `srv2 maintenance`, `srv2 weight 3`; `srv2 ready` ends them.
fn set(line: &mut Line<'_>) -> Parsed<Action> {
    let server = line.place()?;
    let (mode, weight) = match line.one_of(&["ready", "drain", "maintenance", "weight"])? {
        "weight" => {
            let weight = line.number("a weight")?;
            let weight = line.bounded(weight, 0, Backend::WEIGHT_MAX.into())?;
            (BackendMode::Ready, Some(u16::try_from(weight).expect("checked above")))
        }
        "drain" => (BackendMode::Drain, None),
        "maintenance" => (BackendMode::Maintenance, None),
        _ => return Ok(Action::End(Fault::SetBackend { server, mode: BackendMode::Ready, weight: None })),
    };
    Ok(Action::Begin(Fault::SetBackend { server, mode, weight }))
}

/// `disk of srv1`
fn disk(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("disk")?;
    line.expect("of")?;
    Ok(Fault::FillDisk(line.place()?))
}

/// `certificate on srv1`
fn certificate(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("certificate")?;
    line.expect("on")?;
    Ok(Fault::SpoilCertificate(line.place()?))
}

/// `port 8443 on srv2`
fn port(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("port")?;
    let port = line.number("a port")?;
    let port = u16::try_from(line.bounded(port, 1, 65_535)?).expect("checked above");
    line.expect("on")?;
    Ok(Fault::DropPort { server: line.place()?, port })
}

/// `reads succeed`, `reads come from srv3`, `all healthy`
fn goal(line: &mut Line<'_>) -> Parsed<Goal> {
    if line.skip("all") {
        line.expect("healthy")?;
        return Ok(Goal::Healthy);
    }
    let word = line.word("reads succeed (or writes, files, lists), reads come from SERVER, or all healthy")?;
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

/// `at most 20 failed reads`, `longest gap 2 s`, `longest gap of writes 2 s`, `0 lost writes`
fn promise(line: &mut Line<'_>) -> Parsed<Promise> {
    if line.skip("longest") {
        line.expect("gap")?;
        let kind = if line.skip("of") { line.requests()? } else { None };
        return Ok(Promise::Gap { kind, at_most_ms: line.time()? });
    }
    if line.skip("at") {
        line.expect("most")?;
    }
    let (_, at_most) = line.number("`at most N failed reads`, `longest gap 2 s` or `0 lost writes`")?;
    if line.one_of(&["failed", "lost"])? == "lost" {
        line.expect("writes")?;
        return Ok(Promise::Lost { at_most });
    }
    Ok(Promise::Failed { kind: line.requests()?, at_most })
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

#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    /// In characters, from 1.
    column: usize,
}

/// A line's words, commas apart, and how far it has been read.
struct Line<'a> {
    number: usize,
    source: &'a str,
    words: Vec<Word<'a>>,
    next: usize,
}

impl<'a> Line<'a> {
    fn new(number: usize, source: &'a str) -> Self {
        let source = source.split('#').next().unwrap_or_default();
        Self { number, source, words: words(source), next: 0 }
    }

    fn wrong(&self, word: Word<'_>, what: String) -> Mistake {
        mistake(self.number, word.column, what)
    }

    fn wanted(&self, what: &str) -> Mistake {
        match self.words.get(self.next) {
            Some(word) => self.wrong(*word, format!("{} was not expected; write {what}", word.text)),
            None => {
                let column = self.source.trim_end().chars().count() + 1;
                mistake(self.number, column, format!("the line ends too early; write {what}"))
            }
        }
    }

    fn word(&mut self, what: &str) -> Parsed<Word<'a>> {
        let word = self.words.get(self.next).copied().filter(|word| word.text != ",");
        self.next += usize::from(word.is_some());
        word.ok_or_else(|| self.wanted(what))
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = self.words.get(self.next).is_some_and(|word| word.text == text);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.skip(text) { Ok(()) } else { Err(self.wanted(text)) }
    }

    fn one_of(&mut self, texts: &[&'static str]) -> Parsed<&'static str> {
        texts.iter().copied().find(|text| self.skip(text)).ok_or_else(|| self.wanted(&texts.join(" or ")))
    }

    fn end(&self) -> Parsed<()> {
        match self.words.get(self.next) {
            None => Ok(()),
            Some(word) => Err(self.wrong(*word, format!("{} was not expected; end the line here", word.text))),
        }
    }

    fn number(&mut self, what: &str) -> Parsed<(Word<'a>, u64)> {
        let word = self.word(what)?;
        let number = word
            .text
            .parse()
            .map_err(|_| self.wrong(word, format!("{} is no whole number; write {what}", word.text)))?;
        Ok((word, number))
    }

    fn bounded(&self, (word, number): (Word<'_>, u64), min: u32, max: u32) -> Parsed<u32> {
        let number = u32::try_from(number).ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| self.wrong(word, format!("write a number from {min} to {max}")))
    }

    /// `3 s`, `2.5 s`, `200 ms`; in milliseconds.
    fn time(&mut self) -> Parsed<u64> {
        const HOW: &str = "a time, such as 3 s, 2.5 s or 200 ms";
        let word = self.word(HOW)?;
        let number: f64 = word
            .text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite() && *number >= 0.0)
            .ok_or_else(|| self.wrong(word, format!("{} is no number; write {HOW}", word.text)))?;
        let unit_ms = if self.one_of(&["s", "ms"])? == "s" { 1_000.0 } else { 1.0 };
        let ms = (number * unit_ms).round();
        if ms > TIME_MS_MAX as f64 {
            return Err(self.wrong(word, format!("at most {} s", TIME_MS_MAX / 1_000)));
        }
        Ok(ms as u64)
    }

    fn place(&mut self) -> Parsed<Place> {
        let word = self.word("a server: its name, or primary, replica, active or passive")?;
        Ok(Place { word: word.text.to_owned(), line: self.number, column: word.column })
    }

    /// `"text"`
    fn quoted(&mut self) -> Parsed<Quoted> {
        let word = self.word("a text of the design's file, in quotation marks")?;
        let text = word.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|text| !text.is_empty());
        let text =
            text.ok_or_else(|| self.wrong(word, "write a text of the design's file in quotation marks".into()))?;
        Ok(Quoted { text: text.to_owned(), line: self.number, column: word.column })
    }

    /// `private network` or `public network`, if that comes next; a server may be called `public` too.
    fn network(&mut self) -> Option<Network> {
        let [first, second] = self.words.get(self.next..self.next + 2)? else { return None };
        let network = [Network::Private, Network::Public].into_iter().find(|it| it.as_str() == first.text)?;
        if second.text != "network" {
            return None;
        }
        self.next += 2;
        Some(network)
    }

    fn kind(&self, word: Word<'_>) -> Parsed<Kind> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word.text);
        kind.ok_or_else(|| self.wrong(word, "write reads, writes, files or lists".into()))
    }

    /// `reads`, `writes`, `files`, `lists`, or `requests` for all.
    fn requests(&mut self) -> Parsed<Option<Kind>> {
        let word = self.word("reads, writes, files, lists or requests")?;
        if word.text == "requests" { Ok(None) } else { self.kind(word).map(Some) }
    }

    /// The source from `first` on, with single blanks.
    fn rest_from(&self, first: Option<Word<'_>>) -> String {
        let from = first.map_or(usize::MAX, |word| word.column);
        let words: Vec<&str> = self.words.iter().filter(|word| word.column >= from).map(|word| word.text).collect();
        words.join(" ")
    }
}

/// Divided by blanks and commas, which count as ordinary letters between quotation marks.
fn words(source: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start: Option<(usize, usize)> = None;
    let mut in_quotes = false;
    for (column, (at, c)) in (1..).zip(source.char_indices().chain([(source.len(), ' ')])) {
        in_quotes = (in_quotes != (c == '"')) && at < source.len();
        let divides = !in_quotes && (c.is_whitespace() || c == ',');
        if divides && let Some((from, column)) = start.take() {
            words.push(Word { text: &source[from..at], column });
        }
        if c == ',' && divides {
            words.push(Word { text: ",", column });
        } else if !divides {
            start.get_or_insert((at, column));
        }
    }
    words
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
