//! Reserving a lab for a drill: two at one time would break each other's servers and spoil each other's bank.
//!
//! The lock is on the mark of the lab's directory, which outlives everything that commands do with the lab but its end.
//! `lab up` and `lab down` do not look at it: whoever wants to end a lab may, drilled or not.

use std::fs::File;

use anyhow::bail;

use crate::directory::{LOCK_ATTEMPTS_MAX, lock};
use crate::lab::Lab;

/// No other drill gets the lab while this lives. The kernel ends it with the process, however that ends.
#[derive(Debug)]
pub struct Reservation(#[expect(dead_code, reason = "it is held for its lock")] File);

impl Lab {
    /// Reserves the lab; `None` if there is none.
    ///
    /// # Errors
    /// If it is reserved already.
    pub fn reserve(&self) -> anyhow::Result<Option<Reservation>> {
        let busy = || {
            let name = &self.name;
            format!("lab {name} is used by another drill; wait for that, or drill a lab of another name with --lab")
        };
        Ok(lock(&self.directory.mark(), busy)?.map(Reservation))
    }

    /// Reserves a lab that is yet to be brought up, or is up.
    ///
    /// # Errors
    /// If it is reserved already, or another command brings it up or down, or its directory cannot be made.
    pub fn reserve_place(&self) -> anyhow::Result<Reservation> {
        for _ in 0..LOCK_ATTEMPTS_MAX {
            if let Some(reservation) = self.reserve()? {
                return Ok(reservation);
            }
            self.directory.make_and_lock()?;
        }
        bail!("lab {} is taken down again and again by somebody else", self.name)
    }
}

#[cfg(test)]
mod tests {
    use crate::lab::{Lab, LabName};

    #[tokio::test]
    async fn one_drill_at_a_time_until_the_lab_is_gone() {
        let parent = tempfile::tempdir().expect("tempdir");
        let lab = Lab::under(parent.path(), LabName::new("site").expect("a name"));
        assert!(lab.reserve().expect("no error").is_none(), "there is no lab");
        assert!(!lab.path().exists());
        let first = lab.reserve_place().expect("reserved");
        for refused in [lab.reserve().map(|_| ()), lab.reserve_place().map(|_| ())] {
            let why = refused.expect_err("reserved").to_string();
            assert!(why.starts_with("lab site is used by another drill"), "{why}");
        }
        drop(first);
        let second = lab.reserve().expect("no error").expect("free again");
        // Bringing it up empties the directory, and does not end the reservation.
        lab.directory.make_and_lock().expect("locked");
        lab.directory.empty().expect("emptied");
        lab.reserve().expect_err("still reserved");
        assert!(lab.down().await.expect("down, drilled or not").existed);
        let third = lab.reserve_place().expect("another lab of that name");
        drop((second, third));
    }
}
