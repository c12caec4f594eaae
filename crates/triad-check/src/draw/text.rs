//! How wide text may become. The viewer chooses the font, so widths are those of DejaVu Sans, the widest of the usual
//! sans-serif fonts: in any other a text ends earlier than its place does.

/// Advance widths of DejaVu Sans, U+0020 to U+007E, in thousandths of the font size.
const ADVANCES: [i32; 95] = [
    318, 401, 460, 838, 637, 951, 780, 275, 391, 391, 500, 838, 318, 361, 318, 337, 637, 637, 637, 637, 637, 637, 637,
    637, 637, 637, 337, 337, 838, 838, 838, 531, 1000, 685, 687, 699, 771, 632, 576, 775, 752, 295, 295, 656, 558, 863,
    749, 788, 604, 788, 695, 635, 611, 732, 685, 989, 686, 611, 686, 391, 337, 391, 838, 500, 500, 613, 635, 550, 635,
    616, 353, 635, 634, 278, 278, 580, 278, 975, 634, 612, 635, 635, 412, 521, 393, 634, 592, 818, 592, 592, 525, 637,
    337, 637, 838,
];

/// A character outside ASCII, in thousandths of the font size; ideographs and emoji are wider.
const ADVANCE_OTHER: i32 = 1000;
/// An ideograph or an emoji.
const ADVANCE_WIDE: i32 = 1400;
/// The first ideograph.
const WIDE_FIRST: char = '\u{2e80}';
/// What bold adds, in per cent: the most it adds to any one of the characters above.
const BOLD_PERCENT: i32 = 127;

/// The most a text can take, in pixels, at the font size `size`.
pub fn text_width(text: &str, size: i32, bold: bool) -> i32 {
    let thousandths: i32 = text.chars().map(advance).sum();
    let percent = if bold { BOLD_PERCENT } else { 100 };
    (thousandths * size / 1000 + 1) * percent / 100 + 1
}

fn advance(c: char) -> i32 {
    match usize::try_from(u32::from(c)).ok().and_then(|code| ADVANCES.get(code.checked_sub(32)?)) {
        Some(advance) => *advance,
        None if c < WIDE_FIRST => ADVANCE_OTHER,
        None => ADVANCE_WIDE,
    }
}

/// `text` if it has at most `chars_max` characters, else its beginning and its end.
pub fn shorten(text: &str, chars_max: usize) -> String {
    let count = text.chars().count();
    if count <= chars_max {
        return text.to_owned();
    }
    let (head, tail) = (chars_max / 2, chars_max - chars_max / 2 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// `text` in lines of at most `width_max` pixels; a word that is longer is broken.
pub fn wrap(text: &str, size: i32, width_max: i32) -> Vec<String> {
    let fits = |line: &str| text_width(line, size, false) <= width_max;
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if fits(&longer) {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if !line.is_empty() && !fits(&format!("{line}{c}")) {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{shorten, text_width, wrap};

    #[test]
    fn widths_are_those_of_the_widest_font() {
        assert_eq!(text_width("WWW", 1000, false), 3 * 989 + 2);
        assert!(text_width("WWW", 10, true) > text_width("WWW", 10, false));
        assert!(text_width("語", 10, false) > text_width("é", 10, false));
    }

    #[test]
    fn a_long_text_keeps_both_ends() {
        assert_eq!(shorten("www.foobar.com", 14), "www.foobar.com");
        assert_eq!(shorten("www.foobar.com", 9), "www.….com");
    }

    #[test]
    fn lines_break_at_words_and_within_words_that_are_too_long() {
        let width = text_width("single point", 12, false);
        assert_eq!(wrap("single point of\nfailure", 12, width), ["single point", "of failure"]);
        assert_eq!(wrap("singlepointof x", 12, text_width("singlep", 12, false)), ["singlep", "ointof", "x"]);
        assert_eq!(wrap(" \u{7} ", 12, width), [""; 0]);
    }
}
