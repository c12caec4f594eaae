//! An SVG under construction: shapes in painting order, and the area they cover.
//!
//! Invariants: coordinates are whole pixels; every colour is written twice, as an attribute for light pages and in the
//! style for dark ones, so a viewer without media queries shows the light picture; all text is escaped.

use std::fmt::Write as _;

use super::text::text_width;

/// A colour by its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Behind everything.
    Page,
    /// A server.
    Card,
    /// A role on a server.
    Chip,
    /// Outlines.
    Edge,
    /// Text.
    Ink,
    /// Text that says more about another.
    Soft,
    /// Encrypted traffic.
    Sealed,
    /// Traffic that can be read on its way.
    Plain,
    /// A weak point.
    Weak,
    /// Behind a weak point.
    WeakChip,
    /// A firewall.
    Brick,
    /// Between bricks.
    Mortar,
    /// Monitoring.
    Alive,
}

/// Every colour with its name, on light and on dark pages. Lines follow Okabe and Ito's palette, whose colours stay
/// apart for colour-blind people; all text has a contrast of at least 4.5:1 (WCAG 2.2, 1.4.3).
const PALETTE: [(Paint, &str, &str, &str); 13] = [
    (Paint::Page, "page", "#ffffff", "#12161c"),
    (Paint::Card, "card", "#f8fafc", "#1b212a"),
    (Paint::Chip, "chip", "#e6edf5", "#2b3543"),
    (Paint::Edge, "edge", "#8492a6", "#64748b"),
    (Paint::Ink, "ink", "#17202b", "#eef2f7"),
    (Paint::Soft, "soft", "#4a5666", "#b3bfce"),
    (Paint::Sealed, "sealed", "#00694f", "#45cfa5"),
    (Paint::Plain, "plain", "#a84300", "#ffab5c"),
    (Paint::Weak, "weak", "#8d1d63", "#f6a3d2"),
    (Paint::WeakChip, "weak-chip", "#fae6f1", "#44223a"),
    (Paint::Brick, "brick", "#d9a08b", "#7a4a3b"),
    (Paint::Mortar, "mortar", "#f3e3dc", "#3a2821"),
    (Paint::Alive, "alive", "#0072b2", "#6db9ee"),
];

impl Paint {
    fn entry(self) -> (&'static str, &'static str) {
        let (_, name, light, _) = PALETTE[self as usize];
        (name, light)
    }

    /// Attributes that fill with it.
    fn fill(self) -> String {
        let (name, light) = self.entry();
        format!(r#"class="f-{name}" fill="{light}""#)
    }

    /// Attributes that draw an outline with it.
    fn stroke(self) -> String {
        let (name, light) = self.entry();
        format!(r#"class="s-{name}" stroke="{light}" fill="none""#)
    }
}

/// A rectangle, in pixels, y downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width.
    pub width: i32,
    /// Height.
    pub height: i32,
}

impl Rect {
    pub fn right(self) -> i32 {
        self.x + self.width
    }

    pub fn bottom(self) -> i32 {
        self.y + self.height
    }

    pub fn center_x(self) -> i32 {
        self.x + self.width / 2
    }

    pub fn center_y(self) -> i32 {
        self.y + self.height / 2
    }

    /// The same, larger by `by` on every side.
    pub fn grown(self, by: i32) -> Self {
        Self { x: self.x - by, y: self.y - by, width: self.width + 2 * by, height: self.height + 2 * by }
    }

    fn union(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let (right, bottom) = (self.right().max(other.right()), self.bottom().max(other.bottom()));
        Self { x, y, width: right - x, height: bottom - y }
    }
}

/// Which end of a text its `x` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    /// Size, in pixels.
    pub size: i32,
    /// Whether it is bold.
    pub bold: bool,
    /// Its colour.
    pub paint: Paint,
    /// Which end is given.
    pub anchor: Anchor,
}

impl Font {
    /// Text of this size and colour that starts where it is put.
    pub const fn new(size: i32, paint: Paint) -> Self {
        Self { size, bold: false, paint, anchor: Anchor::Start }
    }

    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub const fn middle(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    pub const fn end(self) -> Self {
        Self { anchor: Anchor::End, ..self }
    }

    /// The most `text` can take, in pixels.
    pub fn width(self, text: &str) -> i32 {
        text_width(text, self.size, self.bold)
    }
}

/// The picture so far.
pub struct Scene {
    body: String,
    bounds: Option<Rect>,
}

impl Scene {
    pub fn new() -> Self {
        Self { body: String::new(), bounds: None }
    }

    /// Makes room for `area`.
    pub fn cover(&mut self, area: Rect) {
        self.bounds = Some(self.bounds.map_or(area, |bounds| bounds.union(area)));
    }

    /// What is covered.
    pub fn bounds(&self) -> Rect {
        self.bounds.unwrap_or_default()
    }

    /// Starts a group; [`Scene::close`] ends it.
    pub fn open(&mut self, class: &str) {
        self.element(format_args!(r#"<g class="{class}">"#));
    }

    pub fn close(&mut self) {
        self.element(format_args!("</g>"));
    }

    /// What the group that was started last says when it is pointed at.
    pub fn tooltip(&mut self, text: &str) {
        self.element(format_args!("<title>{}</title>", escape(text)));
    }

    /// A filled rectangle with an outline.
    pub fn rect(&mut self, area: Rect, radius: i32, fill: Paint, stroke: Paint) {
        let ((fill, light), (stroke, stroke_light)) = (fill.entry(), stroke.entry());
        let paint = format!(r#"class="f-{fill} s-{stroke}" fill="{light}" stroke="{stroke_light}""#);
        self.painted_rect(area, radius, &paint);
    }

    /// A rectangle of bricks.
    pub fn bricks(&mut self, area: Rect, radius: i32) {
        let (stroke, light) = Paint::Brick.entry();
        let paint = format!(r#"class="s-{stroke}" fill="url(#triad-bricks)" stroke="{light}""#);
        self.painted_rect(area, radius, &paint);
    }

    fn painted_rect(&mut self, area: Rect, radius: i32, paint: &str) {
        self.cover(area);
        let Rect { x, y, width, height } = area;
        self.element(format_args!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" {paint}/>"#
        ));
    }

    /// A filled circle.
    pub fn dot(&mut self, x: i32, y: i32, radius: i32, paint: Paint) {
        self.element(format_args!(r#"<circle cx="{x}" cy="{y}" r="{radius}" {}/>"#, paint.fill()));
    }

    /// A line along `path`; a dashed one is traffic that can be read. Dashes start with half a dash, so that two lines
    /// that start at the same place look like one.
    pub fn line(&mut self, path: &str, paint: Paint) {
        let dashes = if paint == Paint::Plain { r#" stroke-dasharray="7 4" stroke-dashoffset="3.5""# } else { "" };
        self.element(format_args!(r#"<path d="{path}" {} stroke-width="2"{dashes}/>"#, paint.stroke()));
    }

    /// The area within `path`.
    pub fn area(&mut self, path: &str, paint: Paint) {
        self.element(format_args!(r#"<path d="{path}" {}/>"#, paint.fill()));
    }

    /// One line of text; `y` is the line it stands on.
    pub fn text(&mut self, x: i32, y: i32, font: Font, text: &str) {
        let width = font.width(text);
        let (left, anchor) = match font.anchor {
            Anchor::Start => (x, ""),
            Anchor::Middle => (x - width / 2, r#" text-anchor="middle""#),
            Anchor::End => (x - width, r#" text-anchor="end""#),
        };
        self.cover(Rect { x: left, y: y - font.size, width, height: font.size * 5 / 4 });
        let bold = if font.bold { r#" font-weight="bold""# } else { "" };
        let (size, fill) = (font.size, font.paint.fill());
        self.element(format_args!(
            r#"<text x="{x}" y="{y}" font-size="{size}"{bold}{anchor} {fill}>{}</text>"#,
            escape(text)
        ));
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a String takes everything");
    }

    /// The whole file: `title` and `description` are for who cannot see it.
    pub fn finish(self, title: &str, description: &str, margin: i32) -> String {
        let Rect { x, y, width, height } = self.bounds().grown(margin);
        let (title, description) = (escape(title), escape(description));
        let (page, style, bricks) = (Paint::Page.fill(), style(), bricks());
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"
 viewBox="{x} {y} {width} {height}" role="img" aria-labelledby="triad-title triad-description"
 font-family="sans-serif">
<title id="triad-title">{title}</title>
<desc id="triad-description">{description}</desc>
<style>
{style}</style>
<defs>
{bricks}</defs>
<rect x="{x}" y="{y}" width="{width}" height="{height}" {page}/>
{}</svg>
"#,
            self.body
        )
    }
}

/// What changes on dark pages.
fn style() -> String {
    let mut style = String::from("@media (prefers-color-scheme: dark) {\n");
    for (_, name, _, dark) in PALETTE {
        writeln!(style, "  .f-{name} {{ fill: {dark}; }} .s-{name} {{ stroke: {dark}; }}")
            .expect("a String takes everything");
    }
    style.push_str("}\n");
    style
}

/// Two courses of a wall.
fn bricks() -> String {
    let (brick, mortar) = (Paint::Brick.fill(), Paint::Mortar.stroke());
    format!(
        r#"<pattern id="triad-bricks" width="20" height="16" patternUnits="userSpaceOnUse">
<rect width="20" height="16" {brick}/>
<path d="M0 0.5H20M0 8.5H20M4.5 0V8M14.5 8V16" {mortar}/>
</pattern>
"#
    )
}

/// `text` as XML 1.0 allows it (section 2.2: no control characters, no U+FFFE, no U+FFFF).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{PALETTE, escape};

    #[test]
    fn colours_stand_where_they_are_looked_up() {
        for (index, (paint, ..)) in PALETTE.iter().enumerate() {
            assert_eq!(*paint as usize, index);
        }
    }

    #[test]
    fn no_text_is_markup() {
        assert_eq!(escape("a<b>&\"\u{1}\u{ffff}"), "a&lt;b&gt;&amp;&quot; \u{fffd}");
    }
}
