use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that is weak in a design, though the file is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which weakness.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// The key it stands at, dotted: `balancer.servers`.
    pub place: String,
    /// What is weak, in this design's names.
    pub title: String,
    /// What happens to users when it bites.
    pub users: String,
    /// What to write or do to mend it.
    pub mend: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The price of a choice that can be right.
    Note,
    /// One death or one mistake away from downtime or loss.
    Warning,
    /// Strangers can do harm today.
    Error,
}

impl Severity {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// A finding that the file allows, with the reason that is shown instead of its advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Which finding.
    pub code: Code,
    /// Why it may stay, in the user's words.
    pub reason: String,
}

macro_rules! codes {
    ($($variant:ident = $name:literal, $severity:ident: $doc:literal;)+) => {
        /// Every weakness `triad check` knows. The names are stable: files allow findings by them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $doc] #[serde(rename = $name)] $variant,)+
        }

        impl Code {
            /// All of them, in the order they are reported in.
            pub const ALL: &[Code] = &[$(Code::$variant),+];
            /// Their names, in the same order.
            pub const NAMES: &[&str] = &[$($name),+];

            /// As files and commands write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name),+ }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity),+ }
            }
        }
    };
}

codes! {
    SshOpen = "ssh-open", Error: "SSH is open to the world.";
    DatabaseExposed = "database-exposed", Error: "Strangers can reach the database's port.";
    SecretReadable = "secret-readable", Error: "Other accounts of the machine can read a private key.";
    NoHttps = "no-https", Error: "Users' traffic is not encrypted.";
    SingleServer = "single-server", Warning: "One server carries everything.";
    SingleNameServer = "single-name-server", Warning: "One server alone answers for the domain.";
    NameServersTogether = "name-servers-together", Warning: "All name servers are in one network.";
    SingleBalancer = "single-balancer", Warning: "One balancer alone takes all requests.";
    SingleWebServer = "single-web-server", Warning: "One web server alone serves the site.";
    SingleAppServer = "single-app-server", Warning: "One server alone runs the application.";
    SingleDatabase = "single-database", Warning: "One copy of the data.";
    NoFailover = "no-failover", Warning: "Replicas exist, and nothing promotes one by itself.";
    DeployDowntime = "deploy-downtime", Warning: "Every deploy or maintenance stops the application.";
    WeakReserve = "weak-reserve", Warning: "What is left cannot carry what the lost backend carried.";
    UnseenDatabaseLoss = "unseen-database-loss", Warning: "A server that lost the database keeps getting requests.";
    PlainBehindTls = "plain-behind-tls", Warning: "HTTPS for users, plain traffic to the database.";
    NoFirewall = "no-firewall", Warning: "Nothing filters what reaches the servers.";
    NoMonitoring = "no-monitoring", Warning: "Nobody is told how the servers are.";
    MonitoringInside = "monitoring-inside", Warning: "Only the watched servers can collect the metrics.";
    NoBackup = "no-backup", Warning: "No copy of the data outside the servers.";
    InternalCertificate = "internal-certificate", Note: "Browsers do not know who signed the certificate.";
    SingleWriter = "single-writer", Note: "One server accepts writes.";
    SameComponents = "same-components", Note: "Servers hold the same components, which compete.";
    CannotScale = "cannot-scale", Note: "More traffic cannot be met with more servers.";
    OnePrivateNetwork = "one-private-network", Note: "All servers share one private network.";
    OutsidePool = "outside-pool", Note: "Requests go to what Triad does not run.";
    UnusedAllow = "unused-allow", Note: "The file allows a finding that is not there.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no finding's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such finding; `triad explain` lists them")]
pub struct UnknownCode;

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_are_read_as_they_are_written_and_stand_by_severity() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(serde_json::to_string(code).expect("JSON"), format!("{:?}", code.as_str()));
        }
        assert!(Code::ALL.is_sorted_by(|first, second| first.severity() >= second.severity()));
    }
}
