//! What is weak in a design, with what users notice and what mends it.
//!
//! Every rule is a function from the design to a finding or none, in `rules`; single points of failure are asked of
//! [`crate::survival`]. Rules say names and numbers of the design at hand.

mod rules;
mod security;

use std::path::PathBuf;

use serde::Serialize;
use triad_model::{Code, Design, Finding};

/// What was seen around the file that the file itself does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Files with secrets that accounts other than their owner's can read.
    pub readable_by_others: Vec<PathBuf>,
}

/// A finding, and the reason why it may stay if the file gives one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why the file allows it; it then counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// The weaknesses of `design`, the worst first, then in the order of [`Code::ALL`].
pub fn findings(design: &Design, surroundings: &Surroundings) -> Vec<Reported> {
    let mut found: Vec<Finding> = rules::all(design);
    found.extend(security::all(design, surroundings));
    found.extend(unused_allows(design, &found));
    found.sort_by_key(|finding| finding.code);
    found.into_iter().map(|finding| Reported { allowed: reason(design, finding.code), finding }).collect()
}

/// A finding of `code`, as severe as its code is.
fn finding(
    code: Code,
    place: &str,
    title: impl Into<String>,
    users: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    Finding {
        code,
        severity: code.severity(),
        place: place.to_owned(),
        title: title.into(),
        users: users.into(),
        mend: mend.into(),
    }
}

fn reason(design: &Design, code: Code) -> Option<String> {
    design.check.iter().find(|allowed| allowed.code == code).map(|allowed| allowed.reason.clone())
}

fn unused_allows(design: &Design, found: &[Finding]) -> Vec<Finding> {
    let unused = design.check.iter().filter(|allowed| allowed.code != Code::UnusedAllow);
    let unused = unused.filter(|allowed| found.iter().all(|finding| finding.code != allowed.code));
    unused
        .map(|allowed| {
            finding(
                Code::UnusedAllow,
                "check.allow",
                format!("{} is allowed, and this design does not have it", allowed.code),
                "nothing today; if it comes back, nobody will be told",
                "remove the entry from check.allow",
            )
        })
        .collect()
}
