//! Whether a backend whose requests fail, though its checks pass, is left out. Pure.
//!
//! Invariant: nobody is left out unless somebody else, who answers, can have its requests.

use std::fmt;

use crate::error_rate::{Count, WINDOW};

/// Why a backend might be left out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grounds {
    /// Its requests fail in a row.
    Row,
    /// Too many of them fail.
    Rate(Count),
}

impl fmt::Display for Grounds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grounds::Row => write!(out, "too many requests failed in a row"),
            Grounds::Rate(Count { requests, failed, .. }) => {
                write!(out, "{failed} of {requests} requests failed or were slow within {} s", WINDOW.as_secs())
            }
        }
    }
}

/// A backend as this decision sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Requests can be sent to it.
    pub up: bool,
    /// Its last request was answered, or is too long ago to say anything, and not too many fail.
    pub answering: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It stays as it is.
    Keep,
    /// It is left out for a time.
    LeaveOut,
    /// It stays, and those it stands in for are no longer left out: they were no worse.
    TakeOthersIn,
}

/// What becomes of a backend whose requests `failed`, beside `others`.
pub(crate) fn decide(failed: Standing, others: impl Iterator<Item = Standing> + Clone) -> Decision {
    let mut up = others.filter(|other| other.up);
    if !failed.up {
        Decision::Keep
    } else if up.clone().next().is_none() {
        Decision::TakeOthersIn
    } else if up.any(|other| other.answering) {
        Decision::LeaveOut
    } else {
        // What fails is behind all of them.
        Decision::Keep
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decision, Standing, decide};

    fn standing() -> impl Strategy<Value = Standing> {
        any::<(bool, bool)>().prop_map(|(up, answering)| Standing { up, answering })
    }

    #[test]
    fn alone_it_stays_and_who_it_stands_in_for_is_back() {
        let it = Standing { up: true, answering: false };
        let down = Standing { up: false, answering: true };
        assert_eq!(decide(it, [].into_iter()), Decision::TakeOthersIn);
        assert_eq!(decide(it, [down].into_iter()), Decision::TakeOthersIn);
        assert_eq!(decide(down, [it].into_iter()), Decision::Keep, "others were quicker");
    }

    proptest! {
        #[test]
        fn it_is_left_out_exactly_if_somebody_else_is_up_and_answers(
            failed in standing(), others in prop::collection::vec(standing(), 0..5),
        ) {
            let better = others.iter().any(|other| other.up && other.answering);
            let decision = decide(failed, others.iter().copied());
            prop_assert_eq!(decision == Decision::LeaveOut, failed.up && better);
            let alone = !others.iter().any(|other| other.up);
            prop_assert_eq!(decision == Decision::TakeOthersIn, failed.up && alone);
        }
    }
}
