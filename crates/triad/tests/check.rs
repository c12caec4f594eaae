//! `triad check` and `triad explain` as a user runs them: what they print and their exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// Runs `triad` in `folder`, so that what it prints names no path of this machine.
fn triad(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_triad"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("TRIAD_CONFIG")
        .output()
        .expect("triad runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The `simple` example with `change` at its end, in a folder of its own.
fn simple_with(change: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read_to_string(example("simple").join("triad.toml")).expect("the example");
    std::fs::create_dir(folder.path().join("public")).expect("a folder");
    std::fs::write(folder.path().join("triad.toml"), text + change).expect("a file");
    folder
}

#[test]
fn findings_stand_at_their_lines() {
    let output = triad(&example("secured"), &["check"]);
    assert_eq!(output.status.code(), Some(0), "warnings do not fail by default");
    triad_golden::compare("tests/golden/check-secured.txt", &printed(&output));
}

#[test]
fn exit_codes_say_how_bad_it_is() {
    let code = |folder: &Path, arguments: &[&str]| triad(folder, arguments).status.code();
    assert_eq!(code(&example("simple"), &["check"]), Some(1), "no HTTPS is an error");
    assert_eq!(code(&example("secured"), &["check", "--fail-on", "warning"]), Some(1));
    assert_eq!(code(&example("secured"), &["check", "--json"]), Some(0));
    let allowed = simple_with("\n[check]\nallow = [{ code = \"no-https\", reason = \"a lab\" }]\n");
    assert_eq!(code(allowed.path(), &["check"]), Some(0));
    assert!(printed(&triad(allowed.path(), &["check"])).contains("because: a lab\n"));
    let wrong = simple_with("\n[check]\nalow = []\n");
    assert_eq!(code(wrong.path(), &["check"]), Some(2));
}

#[test]
fn json_has_findings_with_places_and_predictions() {
    let output = triad(&example("secured"), &["check", "--json"]);
    let whole: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = whole["findings"].as_array().expect("a list");
    let balancer = findings.iter().find(|it| it["code"] == "single-balancer").expect("it is there");
    assert_eq!((&balancer["line"], &balancer["column"]), (&33.into(), &11.into()));
    assert_eq!(balancer["severity"], "warning");
    assert_eq!(whole["survival"][0]["id"], "server srv1");
    assert_eq!(whole["survival"][0]["reads"]["survival"], "all_fail");
}

#[test]
fn explaining_needs_a_file_only_for_what_is_in_it() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let general = triad(empty.path(), &["explain", "balancer"]);
    assert_eq!(general.status.code(), Some(0));
    assert!(!printed(&general).contains("In this design"));
    assert!(printed(&triad(&example("secured"), &["explain", "balancer"])).contains("srv2 (10.77.0.12), weight 1"));
    let topics = printed(&triad(empty.path(), &["explain"]));
    assert!(topics.contains("  balancer ") && topics.contains("  single-balancer"), "{topics}");
    assert_eq!(triad(empty.path(), &["explain", "cloud"]).status.code(), Some(1));
    assert_eq!(triad(empty.path(), &["explain", "request"]).status.code(), Some(2));
    let other = triad(&example("secured"), &["explain", "request", "https://evil.example/"]);
    assert_eq!(other.status.code(), Some(1));
}

/// Rules follow the text; `--nft` is the ruleset alone, fit for `nft -f -`.
#[test]
fn the_firewall_is_explained_with_its_rules() {
    let text = printed(&triad(&example("secured"), &["explain", "firewall", "--server", "srv3"]));
    assert!(text.starts_with("Firewall\n") && text.contains("\nsrv3 (10.77.0.13): nftables table"), "{text}");
    let rules = printed(&triad(&example("secured"), &["explain", "firewall", "--nft"]));
    assert!(!rules.contains("What it is"), "{rules}");
    assert_eq!(rules.matches("table inet triad {").count(), 3, "{rules}");
}

/// Certificates are made when the test runs, so only what is wrong with them is the same each time.
#[test]
fn certificates_that_are_not_what_the_file_says_are_mistakes_at_their_places() {
    let authority = triad_tls::Authority::generate("test").expect("an authority");
    let [main, shop] = ["foobar.com", "www.foobar.com"].map(|name| authority.site(&[name.to_owned()]).expect("a pair"));
    let folder = simple_with(
        "\n[tls]\ncertificate = \"files\"\ncertificate_file = \"main.pem\"\nkey_file = \"main.key\"\n\n\
         [[tls.certificates]]\nhosts = [\"www.foobar.com\"]\ncertificate_file = \"www.pem\"\nkey_file = \"www.key\"\n",
    );
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("main.pem", &main.certificate_pem);
    write("main.key", main.key_pem.expose_secret());
    write("www.pem", &shop.certificate_pem);
    write("www.key", shop.key_pem.expose_secret());
    let good = triad(folder.path(), &["check"]);
    assert_ne!(good.status.code(), Some(2), "{}", String::from_utf8_lossy(&good.stderr));
    write("www.pem", &main.certificate_pem);
    let wrong = triad(folder.path(), &["check"]);
    assert_eq!(wrong.status.code(), Some(2));
    let printed = String::from_utf8(wrong.stderr).expect("text");
    triad_golden::compare("tests/golden/check-certificates.txt", &printed);
}
