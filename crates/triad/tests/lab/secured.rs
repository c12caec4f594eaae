//! The `secured` design: every part of it, from the outside.

use std::time::Duration;

use crate::harness::{Failure, LabUnderTest, eventually, examples, succeed, text, triad};
use crate::{LabCase, designs, ensure};

const SITE: &str = "https://www.foobar.com";
/// Whatever heals by itself. How fast it does is what drills measure; here a busy machine must not fail a case.
const HEAL_LIMIT: Duration = Duration::from_secs(15);

pub const CASES: &[LabCase] = &[
    ("the_guestbook_is_signed_through_the_whole_chain", |lab| designs::sign_the_guestbook(lab, "https")),
    ("dig_shows_the_chain", dig_shows_the_chain),
    ("http_is_redirected", http_is_redirected),
    ("clients_choose_the_version", clients_choose_the_version),
    ("clients_choose_the_version", clients_choose_the_version),
    ("static_files_come_from_the_web_server", static_files_come_from_the_web_server),
    ("a_stranger_cannot_say_where_a_request_came_from", a_stranger_cannot_say_where_a_request_came_from),
    ("another_host_is_refused", another_host_is_refused),
    ("the_passive_server_gets_nothing", the_passive_server_gets_nothing),
    ("the_firewalls_admit_what_the_design_needs_and_nothing_else", firewall_table),
    ("the_site_is_reached_from_the_host", the_site_is_reached_from_the_host),
    ("a_request_is_followed_live", a_request_is_followed_live),
    ("a_wrong_file_read_again_changes_nothing_and_says_why", a_wrong_file_changes_nothing),
    ("servers_speak_http2_to_each_other_when_the_file_says_so", servers_speak_http2_to_each_other),
    ("an_operator_drains_a_backend_and_brings_it_back", an_operator_drains_a_backend),
    ("a_route_leads_elsewhere_after_a_reload", a_route_leads_elsewhere_after_a_reload),
    ("maintenance_lasts_until_it_is_said_to_end", maintenance_lasts),
    ("a_peer_hears_that_its_connection_is_gone", a_peer_hears_that_its_connection_is_gone),
    ("metrics_count_what_was_served", metrics_count_what_was_served),
    ("any_server_tells_the_state_of_all", any_server_tells_the_state_of_all),
    ("children_have_no_privileges", children_have_no_privileges),
    ("the_application_reaches_its_database_over_the_relay_only", over_the_relay_only),
    ("no_secret_is_in_a_process_list_or_a_log", no_secret_is_in_a_process_list_or_a_log),
    ("the_passive_server_takes_over_and_gives_back", the_passive_server_takes_over_and_gives_back),
    ("a_dead_edge_is_replaced", a_dead_edge_is_replaced),
    ("a_dead_instance_costs_no_request", a_dead_instance_costs_no_request),
    ("a_dead_name_server_is_replaced", a_dead_name_server_is_replaced),
    ("a_dead_agent_comes_back_with_everything", a_dead_agent_comes_back_with_everything),
];

fn dig_shows_the_chain(lab: &LabUnderTest) -> Result<(), Failure> {
    for server in ["203.0.113.11", "203.0.113.12"] {
        let answer = lab.run("client", &format!("dig +noall +answer www.foobar.com @{server}"))?;
        let fields: Vec<&str> = answer.split_whitespace().collect();
        let expected =
            ["www.foobar.com.", "30", "IN", "CNAME", "foobar.com.", "foobar.com.", "30", "IN", "A", "203.0.113.11"];
        ensure!(fields == expected, "{server} answered {answer}");
    }
    let other = lab.run("client", "dig +noall +comments example.org @203.0.113.11")?;
    ensure!(other.contains("status: REFUSED"), "another zone: {other}");
    let tcp = lab.run("client", "dig +tcp +short NS foobar.com")?;
    ensure!(tcp.contains("ns1.foobar.com.") && tcp.contains("ns2.foobar.com."), "over TCP: {tcp}");
    Ok(())
}

fn http_is_redirected(lab: &LabUnderTest) -> Result<(), Failure> {
    let answer = lab.curl("-o /dev/null -w '%{http_code} %{redirect_url}' 'http://www.foobar.com/a?b=c'")?;
    ensure!(answer == format!("308 {SITE}/a?b=c"), "plain HTTP gave {answer}");
    Ok(())
}

fn clients_choose_the_version(lab: &LabUnderTest) -> Result<(), Failure> {
    for (wish, version) in [("", "2"), ("--http1.1", "1.1")] {
        let spoken = lab.curl(&format!("{wish} -o /dev/null -w '%{{http_version}}' {SITE}/whoami"))?;
        ensure!(spoken == version, "curl {wish} spoke HTTP/{spoken}");
    }
    Ok(())
}

fn static_files_come_from_the_web_server(lab: &LabUnderTest) -> Result<(), Failure> {
    let head = lab.curl(&format!("--head {SITE}/style.css"))?.to_ascii_lowercase();
    for part in ["200", "content-type: text/css", "etag: ", "last-modified: ", "accept-ranges: bytes"] {
        ensure!(head.contains(part), "{part} is missing in\n{head}");
    }
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap_or_default().trim().to_owned();
    let code = lab.curl(&format!("-o /dev/null -w '%{{http_code}}' -H 'If-None-Match: {tag}' {SITE}/style.css"))?;
    ensure!(code == "304", "the same ETag gave {code}");
    let part = lab.curl(&format!("-r 0-9 -o /dev/null -w '%{{http_code}} %{{size_download}}' {SITE}/style.css"))?;
    ensure!(part == "206 10", "a range gave {part}");
    for path in ["/../triad.toml", "/%2e%2e/triad.toml", "/..%2ftriad.toml", "/.git/config"] {
        let output = lab.exec("client", &format!("curl -sS --path-as-is -w '%{{http_code}}' {SITE}{path}"))?;
        ensure!(!text(&output.stdout).contains("[site]"), "{path} left the folder");
    }
    Ok(())
}

fn a_stranger_cannot_say_where_a_request_came_from(lab: &LabUnderTest) -> Result<(), Failure> {
    let forged = "-H 'X-Forwarded-For: 10.0.0.1' -H 'X-Request-Id: forged' -H 'Forwarded: for=10.0.0.1'";
    let head = lab.curl(&format!("{forged} -D - -o /dev/null '{SITE}/whoami?forged'"))?;
    ensure!(!head.contains("forged"), "the stranger's request id was kept:\n{head}");
    for server in ["srv1", "srv2"] {
        let log = lab.directory().join(format!("servers/{server}/state/log/edge/access.jsonl"));
        let (line, _) = eventually("the request in the log", HEAL_LIMIT, || {
            let lines = std::fs::read_to_string(&log)?;
            let line = lines
                .lines()
                .rev()
                .find(|line| line.contains("/whoami?forged") || line.contains("\"path\":\"/whoami\""));
            line.map(str::to_owned).ok_or_else(|| Failure(format!("not in {}", log.display())))
        })?;
        ensure!(line.contains("\"client\":\"192.0.2.10\""), "{server} took the stranger's word: {line}");
    }
    Ok(())
}

fn another_host_is_refused(lab: &LabUnderTest) -> Result<(), Failure> {
    let code =
        lab.run("client", "curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' https://www.foobar.com/")?;
    ensure!(code == "421", "another host gave {code}");
    Ok(())
}

fn the_passive_server_gets_nothing(lab: &LabUnderTest) -> Result<(), Failure> {
    let answers = lab.run("client", &format!("for i in $(seq 12); do curl -sS --fail {SITE}/whoami; echo; done"))?;
    let from_srv2 = answers.lines().filter(|answer| answer.contains(r#""server":"srv2""#)).count();
    ensure!(from_srv2 == 12, "srv2 is the active one:\n{answers}");
    let instances = ["1", "2"].iter().all(|number| answers.contains(&format!(r#""instance":"{number}""#)));
    ensure!(instances, "both instances serve:\n{answers}");
    Ok(())
}

/// Who reaches which port of whom, compared with a golden. `open` connects, `refused` is answered, `dropped` is not.
fn firewall_table(lab: &LabUnderTest) -> Result<(), Failure> {
    const PORTS: &str = "22 53 80 443 3306 7443 8443 9001 9100";
    const TARGETS: &str = "203.0.113.11 203.0.113.12 203.0.113.13 10.77.0.11 10.77.0.12 10.77.0.13";
    let script = format!(
        r#"for target in {TARGETS}; do for port in {PORTS}; do (
             timeout 1 bash -c "exec 3<>/dev/tcp/$target/$port" 2>/dev/null
             case $? in 0) r=open;; 124) r=dropped;; *) r=refused;; esac
             echo "$target $port $r"
           ) & done; done; wait"#
    );
    let mut table = String::new();
    for origin in ["client", "srv1", "srv2", "srv3"] {
        let answers = lab.run(origin, &script)?;
        let answer = |target: &str, port: &str| {
            let key = format!("{target} {port} ");
            answers.lines().find_map(|line| line.strip_prefix(&key)).unwrap_or("missing").to_owned()
        };
        table.push_str(&format!("from {origin}\n{:>14}", ""));
        PORTS.split(' ').for_each(|port| table.push_str(&format!("{port:>9}")));
        table.push('\n');
        for target in TARGETS.split(' ') {
            table.push_str(&format!("{target:>14}"));
            PORTS.split(' ').for_each(|port| table.push_str(&format!("{:>9}", answer(target, port))));
            table.push('\n');
        }
        table.push('\n');
    }
    compare_with_golden("firewall-table.txt", &table)
}

fn compare_with_golden(name: &str, actual: &str) -> Result<(), Failure> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TRIAD_GOLDEN").is_some_and(|value| value == "write") {
        return Ok(std::fs::write(path, actual)?);
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(actual == expected, "differs from {} (TRIAD_GOLDEN=write rewrites it):\n{actual}", path.display());
    Ok(())
}

fn the_site_is_reached_from_the_host(lab: &LabUnderTest) -> Result<(), Failure> {
    let status = lab.status()?;
    let entrance = status["entrance"].as_str().ok_or_else(|| Failure(format!("no entrance: {status}")))?;
    let port = entrance.rsplit(':').next().unwrap_or_default();
    let authority = lab.directory().join("authority.pem");
    let page = succeed(
        std::process::Command::new("curl")
            .args(["-sS", "--fail", "--max-time", "5", "--cacert"])
            .arg(&authority)
            .arg("--resolve")
            .arg(format!("www.foobar.com:{port}:127.0.0.1"))
            .arg(format!("https://www.foobar.com:{port}/")),
    )?;
    ensure!(page.contains("Guestbook"), "the host sees {page}");
    Ok(())
}

fn explain_live(lab: &LabUnderTest, arguments: &[&str]) -> Result<String, Failure> {
    let design = examples().join("secured");
    let lab = lab.directory().file_name().unwrap_or_default().to_owned();
    succeed(
        triad().args(["explain", "request"]).args(arguments).args(["--live", "-c"]).arg(design).arg("--lab").arg(lab),
    )
}

fn a_request_is_followed_live(lab: &LabUnderTest) -> Result<(), Failure> {
    let whoami = format!("{SITE}/whoami");
    let said: serde_json::Value = serde_json::from_str(&explain_live(lab, &[&whoami, "--json"])?)?;
    let exchange = &said["trace"]["exchanges"][0];
    let took = [
        &said["trace"]["lookup"]["took_us"],
        &exchange["connect_us"],
        &exchange["tls"]["took_us"],
        &exchange["answer"]["took_us"],
    ];
    ensure!(took.iter().all(|took| took.as_u64().is_some_and(|took| took > 0)), "no figures: {said}");
    ensure!(exchange["tls"]["names"][0] == "www.foobar.com", "another certificate: {exchange}");
    let (balancer, server) = (&said["edges"][0], &said["edges"][1]);
    ensure!(balancer["server"] == "srv1" && balancer["backend"] == server["server"], "not one way: {said}");
    let ids = [&exchange["answer"]["request_id"], &balancer["request_id"], &server["request_id"]];
    ensure!(ids.iter().all(|id| id.is_string() && *id == ids[0]), "not one id: {said}");
    let durations = [balancer, server].map(|line| line["duration_ms"].as_f64().unwrap_or_default());
    ensure!(durations[0] >= durations[1] && durations[1] > 0.0, "the balancer took less than the server: {said}");
    // The instance that the edge chose is the one that answered.
    let served = &exchange["answer"]["served_by"];
    ensure!(served["server"] == server["server"], "another server answered: {said}");
    let instance = format!("app-{}", served["instance"].as_str().unwrap_or_default());
    ensure!(server["backend"] == instance, "another instance answered: {said}");

    let page = explain_live(lab, &["http://www.foobar.com/style.css"])?;
    for part in ["answered 308", "TLS 1.3 handshake in", "answered from here: 200", "not reached."] {
        ensure!(page.contains(part), "{part} is missing in\n{page}");
    }
    // As on real servers: no lab is known, and srv2's agent asks the others.
    let (lab_folder, triad_binary) = (lab.directory(), env!("CARGO_BIN_EXE_triad"));
    let from_server = lab.run(
        "srv2",
        &format!(
            "TRIAD_LAB_DIR=/nonexistent {triad_binary} explain request {SITE}/whoami --live -c {0}/design/triad.toml \
             --run {0}/servers/srv2/run",
            lab_folder.display()
        ),
    )?;
    for part in ["sent from this server", "chose srv2", "srv2's edge has the same id"] {
        ensure!(from_server.contains(part), "{part} is missing in\n{from_server}");
    }
    let output = triad()
        .args(["explain", "request", "--live", "--lab", "gone", "-c"])
        .arg(examples().join("secured"))
        .output()?;
    ensure!(output.status.code() == Some(3), "without a lab: {}", output.status);
    ensure!(text(&output.stderr).contains("triad lab up --name gone"), "{}", text(&output.stderr));
    Ok(())
}

fn a_wrong_file_changes_nothing(lab: &LabUnderTest) -> Result<(), Failure> {
    let file = lab.directory().join("design/triad.toml");
    let log = lab.directory().join("servers/srv1/agent.log");
    let before = std::fs::read_to_string(&file)?;
    let cases = [
        ("algorithm = \"roundrobin\"", "algorithm = \"ip_hash\"", "algorithm \"ip_hash\" is not known"),
        ("ssh_port = 22", "ssh_port = 443", "port"),
        ("private = \"10.77.0.13\"", "private = \"10.77.0.14\"", "cannot change while the agent runs"),
    ];
    for (old, new, said) in cases {
        ensure!(before.matches(old).count() == 1, "the example has {old} not once");
        std::fs::write(&file, before.replace(old, new))?;
        let logged = std::fs::metadata(&log)?.len() as usize;
        lab.run("srv1", "kill -HUP $(pgrep -o -f 'triad agent')")?;
        let outcome = eventually("the agent says why", HEAL_LIMIT, || {
            let text = std::fs::read_to_string(&log)?;
            ensure!(text[logged..].contains("changes nothing") && text[logged..].contains(said), "{}", &text[logged..]);
            Ok(())
        });
        std::fs::write(&file, &before)?;
        outcome?;
        lab.curl(&format!("-o /dev/null {SITE}/whoami"))?;
    }
    Ok(())
}

fn servers_speak_http2_to_each_other(lab: &LabUnderTest) -> Result<(), Failure> {
    let file = lab.directory().join("design/triad.toml");
    let log = lab.directory().join("servers/srv2/state/log/edge/access.jsonl");
    let before = std::fs::read_to_string(&file)?;
    let (old, new) = ("certificate = \"internal\"", "certificate = \"internal\"\nhop_http2 = true");
    ensure!(before.matches(old).count() == 1, "the example has {old} not once");
    let read_again = |text: &str| -> Result<(), Failure> {
        std::fs::write(&file, text)?;
        lab.apply("srv1").map(drop)
    };
    let speaks = |protocol: &str| {
        eventually("srv1 speaks it to srv2", HEAL_LIMIT, || {
            lab.curl(&format!("-o /dev/null {SITE}/whoami"))?;
            let text = std::fs::read_to_string(&log)?;
            let last = text.lines().last().unwrap_or_default();
            ensure!(last.contains(&format!("\"protocol\":\"{protocol}\"")), "{last}");
            Ok(())
        })
    };
    read_again(&before.replace(old, new))?;
    let outcome = speaks("HTTP/2.0");
    read_again(&before)?;
    outcome?;
    speaks("HTTP/1.1")?;
    Ok(())
}

fn an_operator_drains_a_backend(lab: &LabUnderTest) -> Result<(), Failure> {
    let name = lab.directory().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let set = |words: &[&str]| succeed(triad().args(["backend", "set", "srv2"]).args(words).args(["--lab", &name]));
    let server = || Ok::<_, Failure>(serde_json::from_str::<serde_json::Value>(&lab.curl(&format!("{SITE}/whoami"))?)?);
    ensure!(server()?["server"] == "srv2", "the active one does not answer");
    ensure!(set(&["drain"])?.contains("srv1: srv2 is drain"), "it is not said");
    ensure!(server()?["server"] == "srv3", "the drained one still answers");
    let shown = succeed(triad().args(["status", "balancer", "--lab", &name]))?;
    ensure!(shown.contains("drain"), "it is not shown:\n{shown}");
    set(&["ready"])?;
    ensure!(server()?["server"] == "srv2", "the active one is not back");
    Ok(())
}

/// To the passive server, and to a program on the balancer's loopback that Triad does not run; then no more.
fn a_route_leads_elsewhere_after_a_reload(lab: &LabUnderTest) -> Result<(), Failure> {
    const ROUTES: &str = "\n[pools.other]\nbackends = { srv3 = {} }\n\n[pools.outside]\nbackends = { one = { address = \
                          \"127.0.0.1:2368\" } }\nhealth = { path = \"/\" }\n\n[[routes]]\nmatch = \"/whoami\"\npool = \
                          \"other\"\n\n[[routes]]\nmatch = \"/outside/*\"\npool = \"outside\"\n";
    let file = lab.directory().join("design/triad.toml");
    let before = std::fs::read_to_string(&file)?;
    let reload = |text: &str| {
        std::fs::write(&file, text)?;
        lab.apply("srv1")
    };
    reload(&(before.clone() + ROUTES))?;
    served_by(lab, "srv3", HEAL_LIMIT)?;
    let code = |path: &str| lab.run("client", &format!("curl -s -o /dev/null -w '%{{http_code}}' '{SITE}{path}'"));
    ensure!(code("/x/..%2fwhoami")? == "400", "what could be read as another pool's path was passed on");
    let name = lab.directory().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let shown = triad().args(["status", "balancer", "--lab", &name]).output()?;
    let shown = text(&shown.stdout);
    let is_shown = |row: [&str; 2]| shown.lines().any(|line| line.split_whitespace().skip(1).take(2).eq(row));
    ensure!(is_shown(["other", "srv3"]) && is_shown(["outside", "one"]), "the pools are not shown:\n{shown}");
    let outside = code("/outside/")?;
    ensure!(outside == "502" || outside == "503", "nobody is there, and the answer is {outside}");
    reload(&before)?;
    served_by(lab, "srv2", HEAL_LIMIT)?;
    Ok(())
}

fn maintenance_lasts(lab: &LabUnderTest) -> Result<(), Failure> {
    let name = lab.directory().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let say = |words: &[&str]| succeed(triad().arg("maintenance").args(words).args(["--lab", &name]));
    let page = || lab.run("client", &format!("curl -s --max-time 5 -w ' %{{http_code}}' {SITE}/whoami || true"));
    let is_closed = |page: &str| page.contains("back at 9 &lt;sharp&gt;") && page.ends_with(" 503");
    // Until it answers again nobody is served, and nobody is let in.
    let stays_closed = |after: &str| {
        let mut let_in = false;
        eventually(after, HEAL_LIMIT, || {
            let page = page()?;
            let_in |= page.ends_with(" 200");
            if is_closed(&page) { Ok(()) } else { Err(Failure(page)) }
        })?;
        ensure!(!let_in, "after {after} somebody was let in");
        Ok::<_, Failure>(())
    };
    let said = say(&["on", "--message", "back at 9 <sharp>"])?;
    ensure!(said.contains("srv1: maintenance is on"), "it is not said: {said}");
    ensure!(is_closed(&page()?), "users are let in");
    // Reports are a second old.
    eventually("status", HEAL_LIMIT, || {
        let (code, shown) = status_at_srv1(lab)?;
        ensure!(code == Some(1) && shown.starts_with("*** MAINTENANCE IS ON: srv1"), "exit code {code:?}: {shown}");
        Ok(())
    })?;
    lab.kill_process("srv1", "edge")?;
    stays_closed("the edge's death")?;
    lab.run("srv1", "pkill -9 -f 'triad [a]gent'")?;
    stays_closed("the agent's death")?;
    eventually("an agent to tell", HEAL_LIMIT, || say(&["off"]))?;
    lab.curl(&format!("{SITE}/whoami"))?;
    lab.await_health().map(drop)
}

/// The rule is there for each peer and for nobody else; the drill `active-cut-from-primary` shows what it is for.
fn a_peer_hears_that_its_connection_is_gone(lab: &LabUnderTest) -> Result<(), Failure> {
    let rules = lab.run("srv3", "nft list chain inet triad input")?;
    let resets = rules.lines().filter(|line| line.contains("reject with tcp reset")).count();
    ensure!(resets == 2, "{resets} peers of two would hear:\n{rules}");
    Ok(())
}

fn metrics_count_what_was_served(lab: &LabUnderTest) -> Result<(), Failure> {
    let scrape = || lab.run("srv3", "curl -sS --fail --max-time 5 http://10.77.0.11:9100/metrics");
    let served = |metrics: &str| -> u64 {
        // Counters come once a second; a method that no other case uses is not blurred by what came before.
        let ours = |line: &&str| line.starts_with("triad_http_requests_total{") && line.contains("method=\"OPTIONS\"");
        let series = metrics.lines().filter(ours);
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let before = served(&scrape()?);
    lab.run("client", &format!("for i in $(seq 20); do curl -sS -o /dev/null -X OPTIONS {SITE}/whoami; done"))?;
    eventually("20 more requests", HEAL_LIMIT, || {
        let now = served(&scrape()?);
        ensure!(now == before + 20, "{before} became {now}");
        Ok(())
    })?;
    let metrics = scrape()?;
    for name in [
        "triad_http_request_duration_seconds_bucket",
        "triad_backend_up",
        "node_cpu_seconds_total",
        "node_memory_MemAvailable_bytes",
        "node_network_receive_bytes_total",
        "triad_firewall_dropped_packets_total",
    ] {
        ensure!(metrics.contains(name), "{name} is missing");
    }
    let database = lab.run("srv3", "curl -sS --fail --max-time 5 http://10.77.0.13:9100/metrics")?;
    ensure!(database.contains("triad_database_semi_sync 1"), "semi-sync is not on in\n{database}");
    Ok(())
}

/// `triad status` as on srv1 itself: exit code and output.
fn status_at_srv1(lab: &LabUnderTest) -> Result<(Option<i32>, String), Failure> {
    let run = lab.directory().join("servers/srv1/run");
    let output = triad().arg("status").arg("--run").arg(run).output()?;
    Ok((output.status.code(), text(&output.stdout)))
}

fn any_server_tells_the_state_of_all(lab: &LabUnderTest) -> Result<(), Failure> {
    let (code, said) = status_at_srv1(lab)?;
    ensure!(code == Some(0), "exit code {code:?}: {said}");
    for line in ["srv2 ", "srv3 ", "primary; 1 replica acknowledges", "replicating from srv3, 0 s behind", "QPS now"] {
        ensure!(said.contains(line), "{line} is missing in\n{said}");
    }
    Ok(())
}

fn children_have_no_privileges(lab: &LabUnderTest) -> Result<(), Failure> {
    for (server, process) in [("srv1", "edge"), ("srv1", "dns"), ("srv3", "mariadbd"), ("srv2", "app-1")] {
        let pid = lab.pid(server, process)?;
        let status =
            lab.run(server, &format!("grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/{pid}/status"))?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        ensure!(
            field("CapEff:") == "0000000000000000" && field("CapPrm:") == "0000000000000000",
            "{process}: {status}"
        );
        ensure!(field("NoNewPrivs:") == "1", "{process} may gain privileges: {status}");
        ensure!(!field("Uid:").starts_with('0'), "{process} is root: {status}");
    }
    Ok(())
}

/// A client library that asks for the server's socket, and goes there, would have whatever database runs on its server.
fn over_the_relay_only(lab: &LabUnderTest) -> Result<(), Failure> {
    let socket = lab.directory().join("servers/srv3/run/database/mariadbd.sock");
    let connects = |process: &str| -> Result<bool, Failure> {
        let pid = lab.pid("srv3", process)?;
        let connect = format!("mariadb --no-defaults --socket={} 2>&1 || true", socket.display());
        let user =
            format!("setpriv --reuid=$(stat -c %u /proc/{pid}) --regid=$(stat -c %g /proc/{pid}) --clear-groups");
        let said = lab.run("srv3", &format!("{user} sh -c '{connect}'"))?;
        ensure!(said.contains("ERROR 2002") || said.contains("ERROR 1"), "{process}: {said}");
        // 2002: the socket cannot be reached. Else it is the server that refuses an unknown account.
        Ok(!said.contains("ERROR 2002"))
    };
    ensure!(connects("edge")?, "the relay cannot reach {}", socket.display());
    ensure!(!connects("app-1")?, "the application reaches {}", socket.display());
    Ok(())
}

fn no_secret_is_in_a_process_list_or_a_log(lab: &LabUnderTest) -> Result<(), Failure> {
    let secrets = lab.directory().join("servers/srv3/state/secrets");
    let processes = succeed(std::process::Command::new("ps").args(["-eo", "args"]))?;
    for name in ["database-app.password", "database-replication.password"] {
        let password = std::fs::read_to_string(secrets.join(name))?;
        let password = password.trim();
        ensure!(password.len() >= 20, "{name} is short");
        ensure!(!processes.contains(password), "{name} is in the process list");
        let grep = ["srv1", "srv2", "srv3"].map(|server| lab.directory().join("servers").join(server));
        let found = std::process::Command::new("grep")
            .args(["-rlI", "--include=*.log*", "--include=*.jsonl", "--", password])
            .args(&grep)
            .output()?;
        ensure!(found.stdout.is_empty(), "{name} is in {}", text(&found.stdout));
    }
    Ok(())
}

fn whoami(lab: &LabUnderTest) -> Result<String, Failure> {
    let answer = lab.curl(&format!("--max-time 1 {SITE}/whoami"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    Ok(answer["server"].as_str().unwrap_or_default().to_owned())
}

fn served_by(lab: &LabUnderTest, server: &str, limit: Duration) -> Result<Duration, Failure> {
    let probe = || {
        let now = whoami(lab)?;
        ensure!(now == server, "{now} answers");
        Ok(())
    };
    eventually(&format!("{server} serving"), limit, probe).map(|(_, took)| took)
}

fn the_passive_server_takes_over_and_gives_back(lab: &LabUnderTest) -> Result<(), Failure> {
    served_by(lab, "srv2", HEAL_LIMIT)?;
    lab.run("srv2", "ip link set public down; ip link set private down")?;
    let taken_out_by_heartbeats = eventually("srv2 out by its heartbeats", HEAL_LIMIT, || {
        // Checks say more once they have failed, but while the server is silent, that is why it is out.
        let (_, said) = status_at_srv1(lab)?;
        ensure!(said.contains("server srv2 has been silent for "), "it says {said}");
        Ok(())
    });
    let taken = served_by(lab, "srv3", HEAL_LIMIT);
    let status = status_at_srv1(lab);
    // The replica is gone with it: writes must go on after the semi-sync time-out.
    let signed = designs::sign_the_guestbook(lab, "https");
    lab.run("srv2", "ip link set public up; ip link set private up; ip route replace default dev public")?;
    let routes = "for peer in 10.77.0.11 10.77.0.13; do ip route replace $peer dev private src 10.77.0.12; done";
    lab.run("srv2", routes)?;
    taken_out_by_heartbeats?;
    taken?;
    signed?;
    let (code, said) = status?;
    ensure!(code == Some(1) && said.contains("srv2  down"), "while srv2 was away, exit code {code:?}: {said}");
    ensure!(said.contains("hears srv3; srv2 silent for "), "it is not said who is silent: {said}");
    served_by(lab, "srv2", HEAL_LIMIT)?;
    lab.await_health().map(drop)
}

fn a_dead_edge_is_replaced(lab: &LabUnderTest) -> Result<(), Failure> {
    let before = lab.pid("srv1", "edge")?;
    lab.kill_process("srv1", "edge")?;
    // No connection is refused meanwhile: the agent keeps the socket, and this waits in its backlog.
    lab.curl(&format!("--max-time 5 {SITE}/whoami"))?;
    ensure!(lab.pid("srv1", "edge")? != before, "it is the same process");
    lab.await_health().map(drop)
}

fn a_dead_instance_costs_no_request(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.kill_process("srv2", "app-1")?;
    let script = format!("for i in $(seq 20); do curl -sS -o /dev/null -w '%{{http_code}}\\n' {SITE}/whoami; done");
    let codes = lab.run("client", &script)?;
    ensure!(codes.lines().all(|code| code == "200"), "some failed: {codes}");
    lab.await_health()?;
    let report = lab.report("srv2")?;
    ensure!(report.to_string().contains("was ended by SIGKILL"), "the reason is not told: {report}");
    Ok(())
}

fn a_dead_name_server_is_replaced(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.kill_process("srv1", "dns")?;
    eventually("answers from srv1", HEAL_LIMIT, || {
        let answer = lab.run("client", "dig +short +time=1 +tries=1 foobar.com @203.0.113.11")?;
        ensure!(answer.trim() == "203.0.113.11", "it answered {answer}");
        Ok(())
    })?;
    lab.await_health().map(drop)
}

fn a_dead_agent_comes_back_with_everything(lab: &LabUnderTest) -> Result<(), Failure> {
    lab.run("srv2", "pkill -9 -f 'triad [a]gent'")?;
    served_by(lab, "srv3", HEAL_LIMIT)?;
    served_by(lab, "srv2", HEAL_LIMIT)?;
    lab.await_health()?;
    let orphans = lab.run("srv2", "ps -eo comm= | grep -c -E '^(mariadbd|guestbook)$'")?;
    ensure!(orphans.trim() == "3", "one mariadbd and two instances are due, there are {orphans}");
    Ok(())
}
