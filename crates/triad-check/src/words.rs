//! Words for lists of a design's names.

use std::fmt::Display;

/// `srv1`, `srv1 and srv2`, `srv1, srv2 and srv3`.
pub(crate) fn and_list(words: impl IntoIterator<Item = impl Display>) -> String {
    list(words, "and")
}

/// `srv1`, `srv1 or srv2`, `srv1, srv2 or srv3`.
pub(crate) fn or_list(words: impl IntoIterator<Item = impl Display>) -> String {
    list(words, "or")
}

fn list(words: impl IntoIterator<Item = impl Display>, conjunction: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    match &words[..] {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}

/// `1 server`, `2 servers`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
