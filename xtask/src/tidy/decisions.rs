//! Pages of decisions are `docs/decisions/NNNN-title.md`, numbered from 0001 without gaps.

use super::Finding;
use super::sources::Source;

const FOLDER: &str = "docs/decisions/";

/// Pages with a wrong name or number.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let pages =
        sources.iter().filter_map(|source| source.path.strip_prefix(FOLDER)).filter(|name| *name != "README.md");
    let mut findings = Vec::new();
    let mut expected = 1;
    for name in pages {
        match number(name) {
            Some(number) if number == expected => expected += 1,
            Some(number) => {
                let message = format!("is number {number:04}, but {expected:04} is next");
                findings.push(Finding::new(&format!("{FOLDER}{name}"), 0, message));
                expected = number + 1;
            }
            None => findings.push(Finding::new(&format!("{FOLDER}{name}"), 0, "is not named NNNN-title.md")),
        }
    }
    findings
}

fn number(name: &str) -> Option<u32> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let well_formed = number.len() == 4
        && !title.is_empty()
        && title.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if well_formed { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::source;
    use super::check;

    fn messages(names: &[&str]) -> Vec<String> {
        let sources: Vec<_> = names.iter().map(|name| source(&format!("docs/decisions/{name}"), "")).collect();
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pages_are_numbered_without_gaps() {
        assert_eq!(messages(&["0001-one.md", "0002-the-second.md", "README.md"]), [""; 0]);
        assert_eq!(
            messages(&["0001-one.md", "0001-two.md", "0004-four.md", "5.md"]),
            [
                "docs/decisions/0001-two.md: is number 0001, but 0002 is next",
                "docs/decisions/0004-four.md: is number 0004, but 0002 is next",
                "docs/decisions/5.md: is not named NNNN-title.md",
            ]
        );
    }
}
