//! "Did you mean": the one candidate a mistyped word is closest to.

use strsim::damerau_levenshtein;

/// The candidate closest to `word`, unless it is far off or another is just as close: a wrong guess is worse than
/// the list.
pub(crate) fn suggest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    let edits_max = (word.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .collect();
    near.sort_unstable();
    match near[..] {
        [(best, _), (second, _), ..] if best == second => None,
        [(_, candidate), ..] => Some(candidate),
        [] => None,
    }
}

/// `servers, root and health`.
pub(crate) fn and_list<'c>(words: impl IntoIterator<Item = &'c str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words[..] {
        [] => "none".to_owned(),
        [only] => only.to_owned(),
        [ref rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{and_list, suggest};

    #[test]
    fn the_closest_word_is_suggested_and_a_tie_is_not() {
        let keys = ["servers", "algorithm", "backends", "health"];
        assert_eq!(suggest("algoritm", keys), Some("algorithm"));
        assert_eq!(suggest("Helath", keys), Some("health"));
        assert_eq!(suggest("mode", keys), None);
        assert_eq!(suggest("srv4", ["srv1", "srv2"]), None);
        assert_eq!(suggest("sv1", ["srv1", "srv2"]), Some("srv1"));
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(and_list([]), "none");
        assert_eq!(and_list(["a"]), "a");
        assert_eq!(and_list(["a", "b", "c"]), "a, b and c");
    }
}
