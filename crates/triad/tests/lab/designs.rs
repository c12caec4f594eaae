//! Each of the four designs comes up, serves the guestbook through the whole chain, and goes away without a trace.

use std::collections::BTreeSet;
use std::process::Command;

use crate::harness::{Failure, LabUnderTest, labs, succeed};
use crate::{Case, ensure};

/// How often a look at the shares is taken before a case gives up.
const LOOKS_MAX: u32 = 5;

pub const CASES: &[Case] = &[
    ("designs::simple", || whole_life("simple", "http")),
    ("designs::distributed", distributed),
    ("designs::scaled", || whole_life("scaled", "https")),
];

fn whole_life(design: &str, scheme: &str) -> Result<(), Failure> {
    let before = Traces::take()?;
    let lab = LabUnderTest::up(design)?;
    sign_the_guestbook(&lab, scheme)?;
    drop(lab);
    before.compare(&Traces::take()?)
}

/// Posts an entry and reads it back, as a browser and as a program.
pub fn sign_the_guestbook(lab: &LabUnderTest, scheme: &str) -> Result<(), Failure> {
    let site = format!("{scheme}://www.foobar.com");
    let code = lab.curl(&format!(
        "--output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' \
         --data-urlencode 'name=Ada' --data-urlencode 'text=<b>hello & goodbye</b>' {site}/entries"
    ))?;
    ensure!(code == format!("303 {site}/"), "posting an entry gave {code}");
    let page = lab.curl(&format!("{site}/"))?;
    ensure!(page.contains("&lt;b&gt;hello &amp; goodbye&lt;/b&gt;"), "the entry is not on the page:\n{page}");
    let entries = lab.curl(&format!("'{site}/entries.json?limit=10'"))?;
    ensure!(entries.contains(r#""name":"Ada""#), "the entry is not in {entries}");
    Ok(())
}

/// Weights 5 and 1 share any six requests in a row 5 to 1; both servers serve.
fn distributed() -> Result<(), Failure> {
    let before = Traces::take()?;
    let lab = LabUnderTest::up("distributed")?;
    sign_the_guestbook(&lab, "http")?;
    five_to_one(&lab)?;
    drop(lab);
    before.compare(&Traces::take()?)
}

/// The promise is for two servers that are up. On a machine so busy that a health check is late, one is taken out
/// meanwhile; the edge's log tells, and the look is taken again.
fn five_to_one(lab: &LabUnderTest) -> Result<(), Failure> {
    let log = lab.directory().join("servers/srv1/state/log/edge.log");
    for _ in 0..LOOKS_MAX {
        let verdicts = std::fs::read_to_string(&log)?;
        let script = "for i in $(seq 24); do curl -sS --fail http://www.foobar.com/whoami; echo; done";
        let answers = lab.run("client", script)?;
        if std::fs::read_to_string(&log)? == verdicts {
            return shared_five_to_one(&answers);
        }
    }
    Err(Failure(format!("backends came and went each time, see {}", log.display())))
}

fn shared_five_to_one(answers: &str) -> Result<(), Failure> {
    let to_srv2: Vec<bool> = answers.lines().map(|answer| answer.contains(r#""server":"srv2""#)).collect();
    ensure!(to_srv2.len() == 24, "24 answers were due:\n{answers}");
    for window in to_srv2.windows(6) {
        ensure!(window.iter().filter(|it| **it).count() == 5, "six requests in a row went (to srv2?) {window:?}");
    }
    Ok(())
}

/// What a lab could leave behind on the host.
pub struct Traces {
    namespaces: String,
    links: String,
    ruleset: String,
    processes: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Traces {
    pub fn take() -> Result<Self, Failure> {
        let processes = succeed(Command::new("ps").args(["-eo", "args"]))?;
        // Somebody else's lab on this host is not what this run left.
        let ours = |line: &&str| {
            let parts = ["triad lab-", "triad agent", "mariadbd", "guestbook"];
            parts.iter().any(|part| line.contains(part)) && !line.contains("/var/lib/triad-lab/")
        };
        let folders = std::fs::read_dir(labs()).into_iter().flatten().flatten();
        Ok(Self {
            namespaces: succeed(Command::new("ip").args(["netns", "list"]))?,
            links: succeed(Command::new("ip").args(["-brief", "link"]))?,
            ruleset: succeed(Command::new("nft").args(["list", "ruleset"]))?,
            processes: processes.lines().filter(ours).map(str::to_owned).collect(),
            folders: folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
        })
    }

    /// Whether nothing runs that did not run at `earlier`.
    pub fn compare_processes(&self, earlier: &Traces) -> bool {
        self.processes.is_subset(&earlier.processes)
    }

    pub fn compare(&self, after: &Traces) -> Result<(), Failure> {
        ensure!(self.namespaces == after.namespaces, "network namespaces were left: {}", after.namespaces);
        ensure!(self.links == after.links, "links were left: {}", after.links);
        ensure!(self.ruleset == after.ruleset, "rules were left: {}", after.ruleset);
        let left: Vec<_> = after.processes.difference(&self.processes).collect();
        ensure!(left.is_empty(), "processes were left: {left:?}");
        let left: Vec<_> = after.folders.difference(&self.folders).collect();
        ensure!(left.is_empty(), "folders were left: {left:?}");
        Ok(())
    }
}
