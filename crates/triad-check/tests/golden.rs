//! Goldens, compared whole. `TRIAD_GOLDEN=write cargo test -p triad-check` rewrites them.

use std::path::Path;

use triad_check::survival::{self, Prediction, Survival};
use triad_check::{Surroundings, Topic, WalkError, explain, findings, walk};
use triad_config::DesignKind;
use triad_model::{Design, Redirect};

fn compare(name: &str, printed: &str) {
    triad_golden::compare(Path::new("tests/golden").join(name), printed);
}

fn example(kind: DesignKind) -> Design {
    triad_config::parse(triad_config::template(kind)).expect("an example is right")
}

/// What `triad check` has to say about `design`, without the file's lines.
fn checked(design: &Design) -> String {
    let mut text = String::new();
    for it in findings(design, &Surroundings::default()) {
        let finding = it.finding;
        text.push_str(&format!(
            "{}[{}] at {}: {}\n  users: {}\n  mend: {}\n",
            finding.severity.as_str(),
            finding.code,
            finding.place,
            finding.title,
            finding.users,
            finding.mend
        ));
    }
    text + "\n" + &survival::render(&survival::survival(design))
}

#[test]
fn the_four_designs() {
    for kind in DesignKind::ALL {
        compare(&format!("check/{kind}.txt"), &checked(&example(kind)));
    }
}

#[test]
fn predictions_are_data() {
    let predictions = survival::survival(&example(DesignKind::Secured));
    let printed = serde_json::to_string_pretty(&predictions).expect("predictions are JSON") + "\n";
    compare("survival.json", &printed);
    let read: Vec<Prediction> = serde_json::from_str(&printed).expect("the same predictions");
    assert_eq!(read, predictions);
}

#[test]
fn every_topic() {
    let design = example(DesignKind::Secured);
    let found = findings(&design, &Surroundings::default());
    for topic in Topic::all() {
        compare(&format!("explain/{}.txt", topic.as_str()), &explain(topic, Some((&design, &found))));
    }
}

#[test]
fn the_way_of_a_request() {
    for kind in DesignKind::ALL {
        let design = example(kind);
        let scheme = if design.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://www.foobar.com/entries?page=2");
        compare(&format!("request-{kind}.txt"), &walk(&design, &url).expect("a URL of the site"));
    }
    let redirected = walk(&example(DesignKind::Secured), "http://foobar.com").expect("a URL of the site");
    compare("request-redirected.txt", &redirected);
    let mut design = example(DesignKind::Secured);
    let (from, to) = ("foobar.com/*".parse().expect("a source"), "https://www.foobar.com/*".parse().expect("a target"));
    design.redirects = vec![Redirect { from, to, status: 308 }];
    compare("request-elsewhere.txt", &walk(&design, "https://foobar.com/a").expect("a URL of the site"));
}

/// The distributed design, with a pool of one of its servers and one of what Triad does not run.
fn routed() -> Design {
    let more = r#"
[pools.api]
backends = { srv2 = { weight = 5 }, srv3 = { backup = true } }
health = { path = "/api/up" }

[pools.blog]
backends = { blog1 = { address = "10.77.0.20:8080" }, blog2 = { address = "10.77.0.21:8080" } }

[pools.admin]
backends = { srv3 = {} }

[[routes]]
match = "/api/*"
pool = "api"

[[routes]]
match = "/blog/*"
pool = "blog"

[[routes]]
match = "www.foobar.com/admin/*"
pool = "admin"
"#;
    let text = triad_config::template(DesignKind::Distributed).to_owned() + more;
    triad_config::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

#[test]
fn pools_are_in_what_is_checked_and_in_the_way_of_a_request() {
    let design = routed();
    compare("check/routed.txt", &checked(&design));
    let to = |url: &str| walk(&design, url).expect("a URL of the site");
    compare("request-routed.txt", &to("http://www.foobar.com/api/entries?page=2"));
    compare("request-routed-outside.txt", &to("http://www.foobar.com/blog/"));
    assert!(to("http://www.foobar.com/admin/").contains("match = \"www.foobar.com/admin/*\""));
    assert!(!to("http://foobar.com/admin/").contains("[[routes]]"), "the route is for the other host");
    let ambiguous = to("http://www.foobar.com/blog/../admin/");
    assert!(ambiguous.contains("It answers 400"), "{ambiguous}");
}

#[test]
fn a_url_of_another_site_has_no_way() {
    let design = example(DesignKind::Secured);
    let refused = |url: &str| walk(&design, url).expect_err(url);
    assert!(matches!(refused("https://evil.example/"), WalkError::OtherHost { .. }));
    assert!(matches!(refused("www.foobar.com"), WalkError::NotAUrl(_)));
    assert!(matches!(refused("ftp://www.foobar.com/"), WalkError::NotAUrl(_)));
    assert!(matches!(refused("https:///"), WalkError::NotAUrl(_)));
    assert_eq!(refused("https://www.foobar.com:8443/"), WalkError::OtherPort("8443".to_owned()));
    assert_eq!(
        walk(&example(DesignKind::Simple), "https://www.foobar.com/"),
        Err(WalkError::OtherPort("443".to_owned()))
    );
}

/// Ids are unique and what a drill names its faults by.
#[test]
fn faults_have_stable_ids() {
    for kind in DesignKind::ALL {
        let predictions = survival::survival(&example(kind));
        let mut ids: Vec<&str> = predictions.iter().map(|prediction| prediction.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), predictions.len());
    }
    let predictions = survival::survival(&example(DesignKind::Secured));
    let of = |id: &str| predictions.iter().find(|prediction| prediction.id == id).expect(id);
    assert_eq!(of("server srv2").reads.survival, Survival::Within(1100), "the passive one takes over");
    assert_eq!(of("server srv2").writes.survival, Survival::Within(1200), "and the in-sync set loses its replica");
    assert_eq!(of("app-1 on srv2").reads.survival, Survival::AtOnce);
    assert_eq!(of("app on srv3").reads.survival, Survival::Untouched, "nobody uses the passive one");
    assert_eq!(of("replica process on srv2").reads.survival, Survival::Untouched);
    assert_eq!(of("replica process on srv2").writes.survival, Survival::Within(250));
    assert_eq!(of("primary process").writes.survival, Survival::Within(250));
    assert_eq!(of("server srv3").reads.survival, Survival::Within(1200), "the replica takes over");
    assert_eq!(of("etcd on most voters").writes.survival, Survival::Untouched);
    assert_eq!(of("all database servers").writes.survival, Survival::AllFail);
    assert_eq!(of("server srv1").reads.survival, Survival::AllFail);
    assert_eq!(of("dns on srv1").reads.survival, Survival::Within(1000));
    assert_eq!(of("link srv2-srv3").reads.survival, Survival::Within(6000), "checks do not see it, requests do");
}

/// The voters decide who takes over, and nothing else.
#[test]
fn without_a_majority_everything_goes_on() {
    let predictions = survival::survival(&example(DesignKind::Distributed));
    let of = |id: &str| predictions.iter().find(|prediction| prediction.id == id).expect(id);
    for id in ["etcd on most voters", "etcd on srv2"] {
        assert_eq!(of(id).writes.survival, Survival::Untouched, "{id}");
    }
}

/// Nobody takes over by a vote of two.
#[test]
fn two_servers_wait_for_the_primary() {
    let replaced = [
        ("[servers.srv3]\nprivate = \"10.77.0.13\"", ""),
        ("servers = [\"srv2\", \"srv3\"]", "servers = [\"srv1\", \"srv2\"]"),
        ("{ srv2 = { weight = 5 }, srv3 = { weight = 1 } }", "{ srv2 = { weight = 5 }, srv1 = { weight = 1 } }"),
        ("replicas = [\"srv3\"]", "replicas = [\"srv1\"]"),
    ];
    let text = replaced.iter().fold(triad_config::template(DesignKind::Distributed).to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replace(from, to)
    });
    let design = triad_config::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    compare("check/two-servers.txt", &checked(&design));
    let way = walk(&design, "http://www.foobar.com/").expect("a URL of the site");
    assert!(!way.contains("takes over"), "{way}");
}

/// Agents start what dies: no process alone needs an operator, in any of the designs.
#[test]
fn a_dead_process_comes_back_by_itself() {
    for kind in DesignKind::ALL {
        let processes: Vec<Prediction> = survival::survival(&example(kind))
            .into_iter()
            .filter(|prediction| matches!(prediction.fault, survival::Fault::Process { .. }))
            .collect();
        assert!(processes.len() >= 5, "{kind}");
        assert!(processes.iter().all(|prediction| prediction.reads.goes_on() && prediction.writes.goes_on()), "{kind}");
    }
}
