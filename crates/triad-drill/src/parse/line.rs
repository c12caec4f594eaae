//! A line of a scenario: its words, and what can be read of them.

use crate::sample::Kind;
use crate::scenario::{Mistake, Network, Place, Quoted};

/// The longest time a scenario can name, in milliseconds: a drill is minutes, not hours.
const TIME_MS_MAX: u64 = 3_600_000;

pub(super) type Parsed<T> = Result<T, Mistake>;

pub(super) fn mistake(line: usize, column: usize, what: impl Into<String>) -> Mistake {
    Mistake { line, column, what: what.into() }
}

#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub text: &'a str,
    /// In characters, from 1.
    pub column: usize,
}

/// A line's words, commas apart, and how far it has been read.
pub(super) struct Line<'a> {
    pub number: usize,
    source: &'a str,
    pub words: Vec<Word<'a>>,
    pub next: usize,
}

impl<'a> Line<'a> {
    pub fn new(number: usize, source: &'a str) -> Self {
        let source = source.split('#').next().unwrap_or_default();
        Self { number, source, words: words(source), next: 0 }
    }

    pub fn wrong(&self, word: Word<'_>, what: String) -> Mistake {
        mistake(self.number, word.column, what)
    }

    pub fn wanted(&self, what: &str) -> Mistake {
        match self.words.get(self.next) {
            Some(word) => self.wrong(*word, format!("{} was not expected; write {what}", word.text)),
            None => {
                let column = self.source.trim_end().chars().count() + 1;
                mistake(self.number, column, format!("the line ends too early; write {what}"))
            }
        }
    }

    pub fn word(&mut self, what: &str) -> Parsed<Word<'a>> {
        let word = self.words.get(self.next).copied().filter(|word| word.text != ",");
        self.next += usize::from(word.is_some());
        word.ok_or_else(|| self.wanted(what))
    }

    pub fn skip(&mut self, text: &str) -> bool {
        let found = self.words.get(self.next).is_some_and(|word| word.text == text);
        self.next += usize::from(found);
        found
    }

    pub fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.skip(text) { Ok(()) } else { Err(self.wanted(text)) }
    }

    pub fn one_of(&mut self, texts: &[&'static str]) -> Parsed<&'static str> {
        texts.iter().copied().find(|text| self.skip(text)).ok_or_else(|| self.wanted(&texts.join(" or ")))
    }

    pub fn end(&self) -> Parsed<()> {
        match self.words.get(self.next) {
            None => Ok(()),
            Some(word) => Err(self.wrong(*word, format!("{} was not expected; end the line here", word.text))),
        }
    }

    pub fn number(&mut self, what: &str) -> Parsed<(Word<'a>, u64)> {
        let word = self.word(what)?;
        let number = word
            .text
            .parse()
            .map_err(|_| self.wrong(word, format!("{} is no whole number; write {what}", word.text)))?;
        Ok((word, number))
    }

    pub fn bounded(&self, (word, number): (Word<'_>, u64), min: u32, max: u32) -> Parsed<u32> {
        let number = u32::try_from(number).ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| self.wrong(word, format!("write a number from {min} to {max}")))
    }

    /// `3 s`, `2.5 s`, `200 ms`; in milliseconds.
    pub fn time(&mut self) -> Parsed<u64> {
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

    pub fn place(&mut self) -> Parsed<Place> {
        let word =
            self.word("a server: its name, or primary, replica, old-primary, old-replica, witness, active or passive")?;
        Ok(Place { word: word.text.to_owned(), line: self.number, column: word.column })
    }

    /// `"text"`
    pub fn quoted(&mut self) -> Parsed<Quoted> {
        let word = self.word("a text of the design's file, in quotation marks")?;
        let text = word.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|text| !text.is_empty());
        let text =
            text.ok_or_else(|| self.wrong(word, "write a text of the design's file in quotation marks".into()))?;
        Ok(Quoted { text: text.to_owned(), line: self.number, column: word.column })
    }

    /// `private network` or `public network`, if that comes next; a server may be called `public` too.
    pub fn network(&mut self) -> Option<Network> {
        let [first, second] = self.words.get(self.next..self.next + 2)? else { return None };
        let network = [Network::Private, Network::Public].into_iter().find(|it| it.as_str() == first.text)?;
        if second.text != "network" {
            return None;
        }
        self.next += 2;
        Some(network)
    }

    pub fn kind(&self, word: Word<'_>) -> Parsed<Kind> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word.text);
        kind.ok_or_else(|| self.wrong(word, "write reads, writes, files, lists or statements".into()))
    }

    /// `reads`, `writes`, `files`, `lists`, `statements`, or `requests` for all.
    pub fn requests(&mut self) -> Parsed<Option<Kind>> {
        let word = self.word("reads, writes, files, lists, statements or requests")?;
        if word.text == "requests" { Ok(None) } else { self.kind(word).map(Some) }
    }

    /// The source from `first` on, with single blanks.
    pub fn rest_from(&self, first: Option<Word<'_>>) -> String {
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
