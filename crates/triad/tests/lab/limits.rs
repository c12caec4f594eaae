//! Two front servers that tell each other what was said, and what clients used.

use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Failure, LabUnderTest, eventually, triad};
use crate::{Case, ensure};

const NAME: &str = "limits";
const LIMIT: Duration = Duration::from_secs(30);
/// The front servers' addresses.
const FRONTS: [&str; 2] = ["203.0.113.11", "198.51.100.12"];
/// What the example gets: a burst, then next to nothing.
const LIMITS: &str = "\n[limits]\nrequests_per_s = 1\nburst = 40\nconnections = 16\nban_after = 60\n";
/// As many connections as a client may have, held open for a while.
const HOLD: &str = "bash -c 'for i in $(seq 16); do exec {fd}<>/dev/tcp/203.0.113.11/443; done; sleep 5'";

/// Lets a server hear nothing from the private network.
const CUT: &str = "nft 'add table inet cut; add chain inet cut in { type filter hook input priority -10; }; \
                   add rule inet cut in iifname private drop'";
/// Longer than an agent waits for an answer and then for its next try, so that no connection outlasts it.
const OUT_OF_TOUCH: Duration = Duration::from_secs(3);

pub const CASES: &[Case] = &[("limits::fronts_tell_each_other", fronts_tell_each_other)];

fn fronts_tell_each_other() -> Result<(), Failure> {
    let lab = LabUnderTest::up_changed("scaled", NAME, |text| text + LIMITS)?;
    one_that_was_away_learns_what_was_said(&lab)?;
    connections_at_one_count_at_the_other(&lab)?;
    what_is_used_at_one_is_missing_at_the_other(&lab)?;
    a_ban_outlives_edge_and_agent(&lab)?;
    who_is_refused_too_often_is_banned_by_both(&lab)?;
    Ok(())
}

/// Status of the answers to `count` requests over one connection, 000 where there is none.
fn ask(lab: &LabUnderTest, front: &str, count: u32) -> Result<Vec<String>, Failure> {
    let url = format!("--resolve www.foobar.com:443:{front} 'https://www.foobar.com/style.css?[1-{count}]'");
    let options = "--silent --max-time 5 --output '/dev/null' --write-out '%{http_code}\\n'";
    // One output serves only one URL; what is written is not of interest.
    let script = format!("cd /tmp; curl {options} {url} | grep -E '^[0-9]{{3}}$' || true");
    Ok(lab.run("client", &script)?.lines().map(str::to_owned).collect())
}

fn status(lab: &LabUnderTest, front: &str) -> Result<String, Failure> {
    Ok(ask(lab, front, 1)?.pop().unwrap_or_default())
}

/// Waits until `front` answers with `wanted`.
fn until(lab: &LabUnderTest, front: &str, wanted: &str) -> Result<(), Failure> {
    let probe = || match status(lab, front)? {
        status if status == wanted => Ok(()),
        status => Err(Failure(status)),
    };
    eventually(&format!("{front} answers {wanted}"), LIMIT, probe).map(drop)
}

/// What `triad` says to the lab's agents, whatever its exit code.
fn say(words: &[&str]) -> Result<(Option<i32>, String), Failure> {
    let output = triad().args(words).args(["--lab", NAME]).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

fn one_that_was_away_learns_what_was_said(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.run("lb2", CUT)?;
    let (code, said) = say(&["maintenance", "on"])?;
    ensure!(code == Some(1) && said.contains("lb1: maintenance is on") && said.contains("when it is back"), "{said}");
    lab.run("lb2", "nft delete table inet cut")?;
    // Its own backends were out of reach as well, which is answered 503 too, but without this.
    let closed = || {
        let page = format!("--resolve www.foobar.com:443:{} https://www.foobar.com/", FRONTS[1]);
        let page = lab.run("client", &format!("curl --silent --max-time 5 --include {page} || true"))?;
        if page.contains("retry-after: 120") { Ok(()) } else { Err(Failure(page)) }
    };
    eventually("lb2 hears of maintenance", LIMIT, closed)?;
    let (code, said) = say(&["maintenance", "off"])?;
    ensure!(code == Some(0), "{said}");
    FRONTS.iter().try_for_each(|front| until(lab, front, "200"))
}

fn a_ban_outlives_edge_and_agent(lab: &LabUnderTest) -> Result<(), Failure> {
    let (code, said) = say(&["ban", "203.0.113.0/24"])?;
    ensure!(code == Some(1) && said.contains("has an address of lb1 in it"), "{code:?}: {said}");
    let (code, said) = say(&["ban", "192.0.2.10", "--for", "10m", "--reason", "a test"])?;
    ensure!(code == Some(0) && said.contains("lb2: 192.0.2.10/32 is banned for 10m"), "{code:?}: {said}");
    for front in FRONTS {
        ensure!(status(lab, front)? == "000", "{front} lets in who is banned");
    }
    lab.kill_process("lb1", "edge")?;
    lab.run("lb2", "pkill -9 -f 'triad [a]gent'")?;
    lab.await_health()?;
    for front in FRONTS {
        ensure!(status(lab, front)? == "000", "{front} has forgotten it");
    }
    let (_, bans) = say(&["bans", "--json"])?;
    ensure!(bans.contains(r#""reason": "a test""#), "{bans}");
    let (code, said) = say(&["unban", "192.0.2.10"])?;
    ensure!(code == Some(0), "{said}");
    FRONTS.iter().try_for_each(|front| until(lab, front, "200"))
}

fn connections_at_one_count_at_the_other(lab: &LabUnderTest) -> Result<(), Failure> {
    let mut holder = triad().args(["lab", "exec", "--name", NAME, "client", "--", "sh", "-c", HOLD]).spawn()?;
    let refused = until(lab, FRONTS[1], "000");
    let held = holder.wait()?;
    refused?;
    ensure!(held.success(), "what holds them failed: {held}");
    until(lab, FRONTS[1], "200")
}

/// Though they are out of touch when it is used.
fn what_is_used_at_one_is_missing_at_the_other(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.run("lb2", CUT)?;
    sleep(OUT_OF_TOUCH);
    let answers = ask(lab, FRONTS[0], 50)?;
    ensure!(answers.iter().any(|status| status == "429"), "the burst is used: {answers:?}");
    sleep(OUT_OF_TOUCH);
    lab.run("lb2", "nft delete table inet cut")?;
    let mut passed = 0;
    let heard = || match status(lab, FRONTS[1])? {
        status if status == "429" => Ok(()),
        status => {
            passed += 1;
            Err(Failure(status))
        }
    };
    // By itself the other would let a burst of 40 pass.
    eventually("the other has heard of it", LIMIT, heard)?;
    ensure!(passed < 40, "the other let its own burst pass");
    Ok(())
}

fn who_is_refused_too_often_is_banned_by_both(lab: &LabUnderTest) -> Result<(), Failure> {
    ask(lab, FRONTS[0], 100)?;
    FRONTS.iter().try_for_each(|front| until(lab, front, "000"))?;
    let (_, bans) = say(&["bans"])?;
    ensure!(bans.contains("by itself (limits.ban_after)"), "{bans}");
    Ok(())
}
