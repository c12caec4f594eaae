//! Makes the kernel have our table, or not have it. Only this module starts `nft`.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::plan::{Ruleset, TABLE};

/// Time `nft` has for one call; a ruleset of ours takes it some 20 ms.
const NFT_DEADLINE: Duration = Duration::from_secs(10);

/// Why the firewall could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// There is no `nft`.
    #[error("the firewall needs the program nft, which is not installed: run `apt-get install nftables`")]
    Missing,
    /// `nft` could not be run.
    #[error("nft could not be run: {0}")]
    Run(#[source] std::io::Error),
    /// `nft` did not end.
    #[error("nft did not end within {} s: is another program holding the kernel's ruleset?", NFT_DEADLINE.as_secs())]
    Deadline,
    /// `nft` or the kernel refused. nft's own words name line and column and repeat the line they are about.
    #[error("nft refused ({status}); it needs root or CAP_NET_ADMIN. It says:\n{stderr}")]
    Refused {
        /// How nft ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// `nft` answered something that is not what its manual says.
    #[error("nft's list of counters cannot be read ({0}): is this nft older than 1.0?")]
    Answer(#[source] serde_json::Error),
}

/// Checks that `nft` is there and starts.
pub async fn prepared() -> Result<(), FirewallError> {
    nft(&["--version"], "").await.map(drop)
}

/// Replaces our table's rules by `ruleset`, all or nothing: when this fails, the rules are what they were.
pub async fn apply(ruleset: &Ruleset) -> Result<(), FirewallError> {
    nft(&["--file", "-"], &ruleset.render()).await.map(drop)
}

/// Removes our table, with its counters and sets; no error where there is none.
pub async fn remove() -> Result<(), FirewallError> {
    // Naming the table first creates it where it is missing, so that there is something to delete.
    nft(&["--file", "-"], &format!("table inet {TABLE}\ndelete table inet {TABLE}\n")).await.map(drop)
}

/// Runs `nft` with `stdin`; its standard output.
pub(crate) async fn nft(args: &[&str], stdin: &str) -> Result<Vec<u8>, FirewallError> {
    let output = tokio::time::timeout(NFT_DEADLINE, run(args, stdin)).await.map_err(|_| FirewallError::Deadline)?;
    let Output { status, stdout, stderr } = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FirewallError::Missing,
        _ => FirewallError::Run(error),
    })?;
    if status.success() {
        return Ok(stdout);
    }
    Err(FirewallError::Refused { status, stderr: String::from_utf8_lossy(&stderr).trim_end().to_owned() })
}

async fn run(args: &[&str], stdin: &str) -> std::io::Result<Output> {
    let mut child = Command::new("nft")
        .args(args)
        .env("PATH", search_path())
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    let feed = async move {
        // nft that ends early says why on standard error, which tells more than a broken pipe.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    output
}

/// Debian keeps `nft` where an ordinary user's path does not lead.
fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned()))
}
