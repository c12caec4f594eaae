//! Saturation: servers that have more to do than they can look dead to each other if limits are too tight.

/// The load before it, and the time to get healthy after it, in seconds.
const BEFORE_S: u64 = 5;
const HEAL_S: u64 = 60;

/// The text of a scenario that saturates the design in `folder` for `minutes`, in which nobody may take over.
pub fn saturation(minutes: u64, folder: &str) -> String {
    format!(
        "# Every server has more to compute and to write than it can, for {minutes} minutes: nobody takes over.\n\
         design {folder}\n\
         load 5 reads/s, 2 writes/s and 2 writers over new connections\n\
         after {BEFORE_S} s saturate all servers\n\
         after {} s relieve all servers\n\
         within {HEAL_S} s all healthy\n\
         promise 0 failovers, 0 lost writes\n",
        BEFORE_S + minutes * 60
    )
}

#[cfg(test)]
mod tests {
    use super::saturation;
    use crate::parse::parse;

    #[test]
    fn it_is_a_scenario_of_that_length() {
        for minutes in [1, 30, 59] {
            let text = saturation(minutes, ".");
            let scenario = parse("saturation", &text).unwrap_or_else(|mistakes| panic!("{mistakes:?} in\n{text}"));
            assert_eq!(scenario.steps[1].at_ms - scenario.steps[0].at_ms, minutes * 60_000);
        }
    }
}
