//! How something is asked whether it lives. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::design::App;
use crate::times::INSTANCE_CHECK_MS;

/// How often something is asked whether it lives, what it must answer, and how many answers change our mind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What it is asked.
    #[serde(rename = "type", default)]
    pub kind: CheckKind,
    /// Path that must answer.
    pub path: String,
    /// With one of these statuses.
    #[serde(default)]
    pub status: Statuses,
    /// With this text at the beginning of its body; `None`: with any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Time between two checks of one backend, in milliseconds.
    pub interval_ms: u32,
    /// The same while answers contradict the verdict, in milliseconds; 0: no other.
    #[serde(default)]
    pub fast_interval_ms: u32,
    /// Time after which a check has failed, in milliseconds.
    pub timeout_ms: u32,
    /// Successes in a row that bring a backend back.
    pub rise: u32,
    /// Failures in a row that take it out.
    pub fall: u32,
}

impl HealthCheck {
    /// A check over HTTP of which no more is said: two answers in a row change our mind.
    pub fn new(path: impl Into<String>, interval_ms: u32, timeout_ms: u32) -> Self {
        Self {
            kind: CheckKind::Http,
            path: path.into(),
            status: Statuses::default(),
            body: None,
            interval_ms,
            fast_interval_ms: 0,
            timeout_ms,
            rise: 2,
            fall: 2,
        }
    }

    /// How an edge checks instances of `app`, and other servers' instances. Of the balancer's check it takes the type
    /// and the counts; what must be answered as well, where that is said of the same path.
    pub fn of_instances(app: &App, balancer: Option<&HealthCheck>) -> Self {
        let check = Self::new(app.health.clone(), INSTANCE_CHECK_MS, INSTANCE_CHECK_MS);
        let Some(balancer) = balancer else { return check };
        let check = Self {
            kind: balancer.kind,
            fast_interval_ms: balancer.fast_interval_ms.min(INSTANCE_CHECK_MS),
            rise: balancer.rise,
            fall: balancer.fall,
            ..check
        };
        match balancer.path == app.health {
            true => Self { status: balancer.status.clone(), body: balancer.body.clone(), ..check },
            false => check,
        }
    }

    /// Time between two checks in milliseconds, which is another while answers contradict the verdict.
    pub fn gap_ms(&self, is_contradicted: bool) -> u32 {
        match is_contradicted && self.fast_interval_ms > 0 {
            true => self.fast_interval_ms.min(self.interval_ms),
            false => self.interval_ms,
        }
    }

    /// The longest that one which went silent goes unnoticed, in milliseconds: the interval, then `fall` checks that
    /// time out.
    pub fn silence_ms(&self) -> u64 {
        let further = u64::from(self.fall.saturating_sub(1));
        let each = self.gap_ms(true).max(self.timeout_ms);
        u64::from(self.interval_ms) + u64::from(self.timeout_ms) + further * u64::from(each)
    }
}

/// What a check asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// A request, and an answer to it.
    #[default]
    Http,
    /// A connection.
    Tcp,
}

impl FromStr for CheckKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "http" => Ok(Self::Http),
            "tcp" => Ok(Self::Tcp),
            _ => Err(()),
        }
    }
}

/// Statuses of final answers (RFC 9110 §15), as the file writes them: `200-399`, `200,204`, `2xx`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Statuses(Vec<RangeInclusive<u16>>);

/// Not statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidStatuses;

impl Statuses {
    /// The most that one text lists.
    pub const LISTED_MAX: usize = 16;
    /// The final ones.
    const ALL: RangeInclusive<u16> = 200..=599;

    /// Whether `status` is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for Statuses {
    /// Success and redirection.
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl FromStr for Statuses {
    type Err = InvalidStatuses;

    fn from_str(text: &str) -> Result<Self, InvalidStatuses> {
        let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
        ranges.filter(|ranges| ranges.len() <= Self::LISTED_MAX).map(Self).ok_or(InvalidStatuses)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => (number(&format!("{class}00"))?, number(&format!("{class}99"))?),
        (None, Some((first, last))) => (number(first.trim())?, number(last.trim())?),
        (None, None) => (number(text)?, number(text)?),
    };
    (first <= last).then_some(first..=last)
}

fn number(text: &str) -> Option<u16> {
    let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| is_plain && Statuses::ALL.contains(status))
}

impl fmt::Display for Statuses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(out, "{comma}{first}")?,
                (first, last) => write!(out, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Statuses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|InvalidStatuses| format!("{text:?} names no statuses"))
    }
}

impl From<Statuses> for String {
    fn from(statuses: Statuses) -> Self {
        statuses.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{HealthCheck, Statuses};

    #[test]
    fn statuses_are_read_as_operators_write_them() {
        let read = |text: &str| text.parse().map(|statuses: Statuses| statuses.to_string());
        for (text, printed) in
            [("200-399", "200-399"), ("200, 204", "200,204"), ("2xx", "200-299"), ("2xx,401", "200-299,401")]
        {
            assert_eq!(read(text).as_deref(), Ok(printed), "{text}");
        }
        for wrong in ["", "20", "99", "600", "1xx", "6xx", "xx", "300-200", "200,", "+20", "200-", "2xx-3xx", "ok"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&["200"; Statuses::LISTED_MAX + 1].join(",")).is_err());
        let statuses: Statuses = "2xx,401".parse().expect("statuses");
        let seen = [199, 200, 299, 300, 401, 402].map(|status| statuses.contains(status));
        assert_eq!(seen, [false, true, true, false, true, false]);
    }

    #[test]
    fn a_check_of_an_older_file_is_what_it_was() {
        let old = r#"{"path":"/up","interval_ms":500,"timeout_ms":400,"rise":2,"fall":3}"#;
        let read: HealthCheck = serde_json::from_str(old).expect("a check");
        assert_eq!(read, HealthCheck { fall: 3, ..HealthCheck::new("/up", 500, 400) });
        assert_eq!(read.gap_ms(true), 500);
    }

    #[test]
    fn the_fast_interval_counts_once_a_check_has_failed() {
        let slow = HealthCheck { fall: 3, ..HealthCheck::new("/up", 1000, 200) };
        assert_eq!(slow.silence_ms(), 1000 + 200 + 2 * 1000);
        let fast = HealthCheck { fast_interval_ms: 300, ..slow };
        assert_eq!(fast.silence_ms(), 1000 + 200 + 2 * 300);
        let bound_by_its_timeout = HealthCheck { fast_interval_ms: 100, ..fast };
        assert_eq!(bound_by_its_timeout.silence_ms(), 1000 + 200 + 2 * 200);
    }
}
