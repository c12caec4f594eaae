//! What each part is, why it is in this design, and what is still wrong with it: for somebody who meets the field for
//! the first time and wants to explain it to others. Texts are data, in `texts`; what depends on the design is in
//! `here`; the way of one request is in `walk`.

mod here;
mod texts;
mod walk;

use std::fmt::Write as _;
use std::str::FromStr;

use triad_model::{Code, Design, UnknownCode};

use crate::findings::Reported;

pub use walk::{Hop, Step, WalkError, steps, told, walk};

/// Columns a text is wrapped at.
const WIDTH: usize = 100;

/// Something that can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A part of a design, or an idea behind it.
    Part(Part),
    /// A finding.
    Finding(Code),
}

/// A text that names no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is called {0:?}; `triad explain` lists what can be explained")]
pub struct UnknownTopic(String);

macro_rules! parts {
    ($($variant:ident = $name:literal, $title:literal;)+) => {
        /// A part of a design, or an idea behind it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Part {
            $(#[doc = $title] $variant,)+
        }

        impl Part {
            /// All of them, in the order in which they are best read.
            pub const ALL: &[Part] = &[$(Part::$variant),+];

            /// As the command line writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Part::$variant => $name),+ }
            }

            /// What it is called at the head of its text.
            pub fn title(self) -> &'static str {
                match self { $(Part::$variant => $title),+ }
            }
        }
    };
}

parts! {
    Server = "server", "Server";
    Domain = "domain", "Domain name";
    Www = "www", "The www record";
    Dns = "dns", "DNS, the name servers";
    Web = "web", "Web server";
    App = "app", "Application server";
    Database = "database", "Database";
    Balancer = "balancer", "Load balancer";
    Algorithm = "algorithm", "Balancing algorithm";
    ActiveActive = "active-active", "Active-active";
    ActivePassive = "active-passive", "Active-passive";
    Replica = "replica", "Primary and replica";
    Failover = "failover", "Failover";
    Firewall = "firewall", "Firewall";
    Https = "https", "HTTPS";
    Monitoring = "monitoring", "Monitoring";
    Qps = "qps", "QPS, queries per second";
}

impl Topic {
    /// All of them: parts, then findings.
    pub fn all() -> impl Iterator<Item = Topic> {
        let findings = Code::ALL.iter().copied().map(Topic::Finding);
        Part::ALL.iter().copied().map(Topic::Part).chain(findings)
    }

    /// As the command line writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Part(part) => part.as_str(),
            Topic::Finding(code) => code.as_str(),
        }
    }

    /// What it is called at the head of its text.
    pub fn title(self) -> &'static str {
        match self {
            Topic::Part(part) => part.title(),
            Topic::Finding(code) => code.as_str(),
        }
    }

    fn general(self) -> &'static str {
        match self {
            Topic::Part(part) => texts::part(part),
            Topic::Finding(code) => texts::finding(code),
        }
    }
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(part) = Part::ALL.iter().find(|part| part.as_str() == text) {
            return Ok(Topic::Part(*part));
        }
        text.parse().map(Topic::Finding).map_err(|_: UnknownCode| UnknownTopic(text.to_owned()))
    }
}

/// The text for `topic`; with a design, also why it is in it and which of its `findings` touch it.
pub fn explain(topic: Topic, design: Option<(&Design, &[Reported])>) -> String {
    let mut text = format!("{}\n\nWhat it is\n{}", topic.title(), wrapped(topic.general(), "  "));
    let Some((design, findings)) = design else { return text };
    match topic {
        Topic::Part(part) => {
            let _ = write!(text, "\nIn this design\n{}", bullets(&here::part(part, design)));
            let touching: Vec<&Reported> =
                findings.iter().filter(|it| texts::findings_of(part).contains(&it.finding.code)).collect();
            let _ = write!(text, "\nWhat is still wrong\n{}", still_wrong(&touching));
        }
        Topic::Finding(code) => {
            let found: Vec<&Reported> = findings.iter().filter(|it| it.finding.code == code).collect();
            let _ = write!(text, "\nIn this design\n{}", in_detail(&found));
        }
    }
    text
}

fn still_wrong(findings: &[&Reported]) -> String {
    if findings.is_empty() {
        return "  Nothing that triad check knows of.\n".to_owned();
    }
    let line = |it: &&Reported| {
        let allowed = it.allowed.as_ref().map(|reason| format!(" (allowed: {reason})")).unwrap_or_default();
        format!("{}: {}{allowed}.", it.finding.code, it.finding.title)
    };
    bullets(&findings.iter().map(line).collect::<Vec<_>>())
}

fn in_detail(findings: &[&Reported]) -> String {
    if findings.is_empty() {
        return "  This design does not have it.\n".to_owned();
    }
    let lines = findings.iter().flat_map(|it| {
        let finding = &it.finding;
        let mut lines = vec![
            format!("{}: {}.", finding.severity.as_str(), finding.title),
            format!("Users: {}.", finding.users),
            format!("Mend: {}.", finding.mend),
        ];
        lines.extend(it.allowed.as_ref().map(|reason| format!("Allowed in {}: {reason}.", "check.allow")));
        lines
    });
    bullets(&lines.collect::<Vec<_>>())
}

fn bullets(lines: &[String]) -> String {
    lines.iter().map(|line| wrapped(line, "  - ")).collect()
}

/// `text` in lines of at most [`WIDTH`] columns: the first starts with `prefix`, the others are as far in. Paragraphs
/// stay apart.
fn wrapped(text: &str, prefix: &str) -> String {
    let mut printed = String::new();
    let indent = " ".repeat(prefix.len());
    let mut start = prefix;
    for paragraph in text.split('\n') {
        let mut line = start.to_owned();
        for word in paragraph.split_whitespace() {
            let is_full = line.chars().count() + word.chars().count() >= WIDTH;
            if is_full && !line.trim().is_empty() {
                let _ = writeln!(printed, "{}", line.trim_end());
                line = indent.clone();
            }
            let _ = write!(line, "{word} ");
        }
        let _ = writeln!(printed, "{}", line.trim_end());
        start = &indent;
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::{Topic, explain, wrapped};

    #[test]
    fn lines_are_wrapped_and_indented() {
        let words = "word ".repeat(30);
        let printed = wrapped(&words, "  - ");
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("  - word") && lines[0].len() <= 100, "{printed}");
        assert!(lines[1].starts_with("    word"), "{printed}");
        assert_eq!(printed.matches("word").count(), 30);
    }

    #[test]
    fn every_topic_is_read_as_it_is_written_and_says_something_without_a_file() {
        for topic in Topic::all() {
            assert_eq!(topic.as_str().parse(), Ok(topic));
            assert!(explain(topic, None).len() > 100, "{}", topic.as_str());
        }
        assert!("cloud".parse::<Topic>().is_err());
    }
}
