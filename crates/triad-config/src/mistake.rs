//! Mistakes: what is wrong, where, and what to write instead; and how they are printed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// The most mistakes reported of one file; who has more fixes these first.
pub const MISTAKES_MAX: usize = 200;

/// A mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1, in characters.
    pub column: usize,
    /// Its place in the text, in bytes; always on character boundaries.
    pub span: Range<usize>,
    /// The key it concerns, dotted: `balancer.backends.srv2.weight`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: String,
    /// Place of a value that must not be printed, in bytes.
    #[serde(skip)]
    hidden: Option<Range<usize>>,
}

/// Collects the mistakes of one text.
pub(crate) struct Mistakes<'t> {
    text: &'t str,
    list: Vec<Mistake>,
}

impl<'t> Mistakes<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, list: Vec::new() }
    }

    /// Notes that `key`, which stands at `span`, is wrong.
    pub(crate) fn add(
        &mut self,
        span: Range<usize>,
        key: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.list.len() < MISTAKES_MAX {
            let span = on_boundaries(self.text, span);
            let (line, column) = position(self.text, span.start);
            let (key, what, help) = (key.into(), what.into(), help.into());
            self.list.push(Mistake { line, column, span, key, what, help, hidden: None });
        }
    }

    /// As [`Mistakes::add`], and whatever is printed of the file leaves out `secret`.
    pub(crate) fn add_hiding(
        &mut self,
        secret: Range<usize>,
        span: Range<usize>,
        key: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.list.len() < MISTAKES_MAX {
            self.add(span, key, what, help);
            if let Some(mistake) = self.list.last_mut() {
                mistake.hidden = Some(on_boundaries(self.text, secret));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Leaves out, after the first `errors`, those on lines with one of these: where the text is not TOML, what was
    /// read is a guess.
    pub(crate) fn leave_out_followers(&mut self, errors: usize) {
        let followers = self.list.split_off(errors);
        let lines: BTreeSet<usize> = self.list.iter().map(|mistake| mistake.line).collect();
        self.list.extend(followers.into_iter().filter(|mistake| !lines.contains(&mistake.line)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The mistakes in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Mistake> {
        self.list.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        self.list
    }
}

/// `span` inside `text`, widened to whole characters. It never starts within CR LF, which end a line together.
fn on_boundaries(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) || (text[..start].ends_with('\r') && text[start..].starts_with('\n')) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Line and column of the byte at `offset`, a character boundary.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Prints `mistakes`, each with `file_name`, line and column, the line itself with the place underlined, what is
/// wrong and what to write, and their number at the end. `text` is the text they were found in; values that look
/// like secrets are printed as stars. `color` adds ANSI escapes.
pub fn render(mistakes: &[Mistake], file_name: &str, text: &str, color: bool) -> String {
    let text = without_secrets(text, mistakes);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut printed = String::new();
    for mistake in mistakes {
        printed.push_str(&renderer.render(&[group(mistake, file_name, &text)]));
        printed.push_str("\n\n");
    }
    let at_least = if mistakes.len() == MISTAKES_MAX { "at least " } else { "" };
    let plural = if mistakes.len() == 1 { "" } else { "s" };
    let _ = writeln!(printed, "{file_name}: {at_least}{} mistake{plural}", mistakes.len());
    printed
}

fn group<'a>(mistake: &'a Mistake, file_name: &'a str, text: &'a str) -> Group<'a> {
    let title = Level::ERROR.primary_title(mistake.what.as_str());
    let title = if mistake.key.is_empty() { title } else { title.id(mistake.key.as_str()) };
    let help = Level::HELP.message(mistake.help.as_str());
    title.element(snippet(file_name, text, mistake.span.clone())).element(help)
}

/// What stands at `span`, shown on its first line only: a list may go on for many.
pub(crate) fn snippet<'a>(file_name: &'a str, text: &'a str, span: Range<usize>) -> Snippet<'a, Annotation<'a>> {
    let span = on_boundaries(text, span);
    let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let within = |offset: usize| (offset - line_start).min(line.len());
    Snippet::source(line)
        .path(file_name)
        .line_start(position(text, span.start).0)
        .annotation(AnnotationKind::Primary.span(within(span.start)..within(span.end)))
}

/// `text` with stars for what must not be printed.
fn without_secrets(text: &str, mistakes: &[Mistake]) -> String {
    let mut text = text.to_owned();
    for hidden in mistakes.iter().filter_map(|mistake| mistake.hidden.clone()) {
        if let Some(secret) = text.get(hidden.clone()) {
            let stars: String = secret.chars().map(star).collect();
            text.replace_range(hidden, &stars);
        }
    }
    text
}

/// What is printed for a character of a secret: as many bytes, so that places in the text stay what they are.
fn star(c: char) -> char {
    match c.len_utf8() {
        _ if c == '\n' => '\n',
        1 => '*',
        2 => '\u{b7}',
        3 => '\u{2022}',
        _ => '\u{1f784}',
    }
}

#[cfg(test)]
mod tests {
    use super::{MISTAKES_MAX, Mistakes, render};

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\nkäse = 2\n";
        let mut mistakes = Mistakes::new(text);
        mistakes.add(14..15, "käse", "wrong", "write 3");
        let mistake = &mistakes.into_sorted()[0];
        assert_eq!((mistake.line, mistake.column, mistake.span.clone()), (2, 8, 14..15));
    }

    #[test]
    fn places_outside_the_text_or_inside_a_character_are_widened() {
        let text = "ä";
        let mut mistakes = Mistakes::new(text);
        mistakes.add(1..1, "", "inside", "");
        mistakes.add(70..80, "", "outside", "");
        let spans: Vec<_> = mistakes.into_sorted().into_iter().map(|mistake| mistake.span).collect();
        assert_eq!(spans, [0..2, 2..2]);
    }

    #[test]
    fn a_line_ends_before_its_carriage_return() {
        let mut mistakes = Mistakes::new("a\r\nb");
        mistakes.add(2..3, "", "at the line feed", "");
        let mistakes = mistakes.into_sorted();
        assert_eq!((mistakes[0].line, mistakes[0].column), (1, 2));
    }

    #[test]
    fn a_secret_is_printed_as_stars() {
        let text = "password = 'h\u{e4}\u{20ac}\u{1f511}'";
        let mut mistakes = Mistakes::new(text);
        mistakes.add_hiding(11..text.len(), 0..8, "password", "wrong", "remove it");
        mistakes.add(text.len() - 1..text.len(), "", "also wrong", "remove it");
        let printed = render(&mistakes.into_sorted(), "triad.toml", text, false);
        assert!(printed.contains("1 | password = **\u{b7}\u{2022}\u{1f784}*\n"), "{printed}");
        assert!(printed.contains("triad.toml:1:17"), "{printed}");
    }

    #[test]
    fn there_is_a_most() {
        let mut mistakes = Mistakes::new("x");
        (0..=MISTAKES_MAX).for_each(|_| mistakes.add(0..1, "x", "wrong", "write y"));
        let printed = render(&mistakes.into_sorted(), "triad.toml", "x", false);
        assert!(printed.ends_with("triad.toml: at least 200 mistakes\n"), "{printed}");
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        let mut mistakes = Mistakes::new("x");
        mistakes.add(0..1, "x", "wrong", "write y");
        let mistakes = mistakes.into_sorted();
        assert!(render(&mistakes, "triad.toml", "x", true).contains("\u{1b}["));
        assert!(!render(&mistakes, "triad.toml", "x", false).contains("\u{1b}["));
    }
}
