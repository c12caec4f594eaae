//! What the design says of users' requests and their answers: header fields, redirects, strict transport security.

use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;

use triad_model::{HeaderRules, Headers, Hsts, Redirect};
use triad_proxy::{EdgeError, EdgePlan};
use triad_tls::Authority;

use crate::bed::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn rules(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderRules {
    HeaderRules { set: pairs(set), add: pairs(add), remove: remove.iter().map(|name| (*name).to_owned()).collect() }
}

fn redirects(list: &[(&str, &str, u16)]) -> Vec<Redirect> {
    let redirect = |(from, to, status): &(&str, &str, u16)| Redirect {
        from: from.parse().expect(from),
        to: to.parse().expect(to),
        status: *status,
    };
    list.iter().map(redirect).collect()
}

/// How many fields of an answer have this name.
fn count(reply: &Reply, name: &str) -> usize {
    reply.head.lines().filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: "))).count()
}

#[test]
fn request_rules_change_what_a_backend_gets() {
    let origin = Origin::start("app-1");
    let request = rules(&[("X-Site", "foobar")], &[("X-Tag", "edge")], &["X-Debug"]);
    let headers = Headers { request, ..Headers::default() };
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (_edge, address) = edge("http", EdgePlan { local, headers, ..plan() });
    let fields = "X-Site: a stranger's\nX_Site: too\nX-Tag: client\nX-Debug: 1\nX-Kept: yes";
    let reply = exchange(&mut connect(address), &format!("GET / HTTP/1.1\nHost: {HOST}\n{fields}\n\n"));
    let seen: Vec<String> = reply.text().lines().filter(|line| line.starts_with("x")).map(str::to_owned).collect();
    let ours: Vec<&String> =
        seen.iter().filter(|line| !line.starts_with("x-forwarded") && !line.starts_with("x-re")).collect();
    assert_eq!(ours, ["x-kept: \"yes\"", "x-site: \"foobar\"", "x-tag: \"client\"", "x-tag: \"edge\""]);
}

#[test]
fn answer_rules_change_every_answer_of_backends_files_and_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file.txt"), "a file").expect("a file");
    let origin = raw_origin(|mut stream| {
        let head =
            "HTTP/1.1 200 OK\r\nX-Powered-By: PHP\r\nx-site: theirs\r\nlink: </a>\r\ncontent-length: 2\r\n\r\nok";
        let _ = stream.write_all(head.as_bytes());
    });
    let response =
        rules(&[("X-Site", "foobar"), ("Cache-Control", "private")], &[("Link", "</b>")], &["x-powered-by", "ETag"]);
    let headers = Headers { response, ..Headers::default() };
    let local = pool(vec![backend("app-1", origin, 1)]);
    let root = Some(folder.path().to_owned());
    let (_edge, address) = edge("http", EdgePlan { local, root, headers, ..plan() });
    let proxied = get(address, "/");
    assert_eq!((proxied.status, proxied.text().as_str()), (200, "ok"));
    assert_eq!((proxied.header("x-site"), count(&proxied, "x-site"), count(&proxied, "link")), (Some("foobar"), 1, 2));
    let file = get(address, "/file.txt");
    assert_eq!((file.status, file.text().as_str()), (200, "a file"));
    let bad = exchange(&mut connect(address), "GET / HTTP/1.1\nHost: www.foobar.com\nHost: foobar.com\n\n");
    assert_eq!(bad.status, 400);
    for reply in [proxied, file, bad] {
        assert_eq!(
            (reply.header("x-site"), reply.header("cache-control")),
            (Some("foobar"), Some("private")),
            "{reply:?}"
        );
        assert_eq!((reply.header("x-powered-by"), reply.header("etag")), (None, None), "{reply:?}");
        assert_eq!(count(&reply, "cache-control"), 1, "{reply:?}");
    }
}

#[test]
fn rules_hold_before_an_answer_and_behind_it() {
    let origin = raw_origin(|mut stream| {
        let hints = "HTTP/1.1 103 Early Hints\r\nx-powered-by: PHP\r\nlink: </a>\r\n\r\n";
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
        let _ = stream.write_all(format!("{hints}{head}x-powered-by: PHP\r\nx-sum: 1\r\n\r\n").as_bytes());
    });
    let headers = Headers { response: rules(&[], &[], &["X-Powered-By"]), ..Headers::default() };
    let (_edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", origin, 1)]), headers, ..plan() });
    let mut client = connect(address);
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n");
    client.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut client, &mut text).expect("an answer");
    assert!(text.contains("link: </a>") && text.contains("x-sum: 1"), "{text}");
    assert!(!text.contains("x-powered-by"), "{text}");
}

#[test]
fn what_a_request_may_not_say_it_does_not_say_behind_its_body() {
    let (sent, body) = std::sync::mpsc::channel();
    let origin = raw_origin(move |mut stream| {
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).expect("a body");
            body.push(byte[0]);
        }
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        sent.send(String::from_utf8(body).expect("text")).expect("the test listens");
    });
    let headers = Headers { request: rules(&[("X-Site", "foobar")], &[], &["X-Debug"]), ..Headers::default() };
    let (_edge, address) = edge("http", EdgePlan { local: pool(vec![backend("app-1", origin, 1)]), headers, ..plan() });
    let head = format!("POST / HTTP/1.1\nHost: {HOST}\nTransfer-Encoding: chunked\n\n");
    let trailers = "X-Debug: 1\nX_Site: a stranger's\nX-Sum: 1\n\n";
    assert_eq!(exchange(&mut connect(address), &format!("{head}1\nx\n0\n{trailers}")).status, 204);
    assert_eq!(body.recv().expect("a body"), "1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n");
}

#[test]
fn between_edges_no_rule_holds() {
    let origin = Origin::start("app-1");
    let both = || rules(&[("X-Site", "foobar")], &[], &[]);
    let headers = Headers { request: both(), response: both(), ..Headers::default() };
    let redirects = redirects(&[("/*", "/elsewhere", 308)]);
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (_edge, address) = edge("hop", EdgePlan { local, headers, redirects, ..plan() });
    let reply = get(address, "/");
    assert_eq!((reply.status, reply.header("x-site")), (200, None));
    assert!(!reply.text().contains("x-site"), "{}", reply.text());
}

#[test]
fn a_plan_that_would_break_messages_is_refused() {
    let (edge, address) = edge("http", plan());
    let headers = Headers { response: rules(&[("X-Site", "a\r\nb: c")], &[], &[]), ..Headers::default() };
    assert!(matches!(edge.reload(EdgePlan { headers, ..plan() }), Err(EdgeError::Header(name)) if name == "X-Site"));
    assert_eq!(get(address, "/").status, 404, "it serves what it had");
}

#[test]
fn redirects_answer_before_any_backend() {
    let origin = Origin::start("app-1");
    let list = [
        ("foobar.com/*", "https://www.foobar.com/*", 301),
        ("/old", "/new", 308),
        ("/docs/*", "/manual/*", 302),
        ("/docs/private/*", "/", 303),
    ];
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (_edge, address) = edge("http", EdgePlan { local, redirects: redirects(&list), ..plan() });
    let ask = |host: &str, target: &str| {
        let reply = exchange(&mut connect(address), &format!("GET {target} HTTP/1.1\nHost: {host}\n\n"));
        (reply.status, reply.header("location").map(str::to_owned))
    };
    let to = |status, location: &str| (status, Some(location.to_owned()));
    assert_eq!(ask("foobar.com", "/a/b?c=d"), to(301, "https://www.foobar.com/a/b?c=d"));
    assert_eq!(ask("FOOBAR.com.:80", "/a"), to(301, "https://www.foobar.com/a"));
    assert_eq!(ask(HOST, "http://foobar.com?c"), (421, None), "a target and a Host that disagree");
    assert_eq!(ask("foobar.com", "http://foobar.com?c"), to(301, "https://www.foobar.com/?c"));
    assert_eq!(ask(HOST, "/old?x=1"), to(308, "http://www.foobar.com/new?x=1"));
    assert_eq!(ask(HOST, "/docs/a%20b"), to(302, "http://www.foobar.com/manual/a%20b"));
    assert_eq!(ask(HOST, "/docs/private/x"), to(303, "http://www.foobar.com/"));
    // A path that a browser would read as a host stays a path.
    assert_eq!(ask("foobar.com", "//evil.example/"), to(301, "https://www.foobar.com//evil.example/"));
    assert_eq!(ask("evil.example", "/old"), (421, None));
    assert_eq!(origin.state.requests.load(SeqCst), 0, "no backend was asked");
    assert_eq!(ask(HOST, "/older").0, 200);
}

/// An edge with plain HTTP and HTTPS, and its authority's certificate.
fn secure_edge(changed: EdgePlan) -> (triad_proxy::Edge, std::net::SocketAddr, std::net::SocketAddr, String) {
    let authority = Authority::generate("test").expect("an authority");
    let hosts = [HOST.to_owned(), "foobar.com".to_owned()];
    let site_certificate = Some(authority.site(&hosts).expect("a certificate"));
    let ((http, plain), (https, encrypted)) = (sockets(), sockets());
    let plan = EdgePlan { site_certificate, redirect_to_https: true, ..changed };
    let sockets = vec![("http".to_owned(), plain), ("https".to_owned(), encrypted)];
    (
        triad_proxy::Edge::start(plan, sockets).expect("the edge starts"),
        http,
        https,
        authority.certificate_pem().to_owned(),
    )
}

#[test]
fn strict_transport_security_is_told_over_https_alone() {
    let origin = raw_origin(|mut stream| {
        let head = "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
    });
    let hsts = Some(Hsts { max_age_s: 300, include_subdomains: true });
    let local = pool(vec![backend("app-1", origin, 1)]);
    let (_edge, http, https, authority) = secure_edge(EdgePlan { local, hsts, ..plan() });
    let request = format!("GET / HTTP/1.1\nHost: {HOST}\n\n");
    let encrypted = exchange(&mut connect_tls(https, &authority), &request);
    let told = encrypted.header("strict-transport-security");
    assert_eq!((encrypted.status, told), (200, Some("max-age=300; includeSubDomains")));
    assert_eq!(count(&encrypted, "strict-transport-security"), 1);
    let ours = exchange(&mut connect_tls(https, &authority), "GET / HTTP/1.1\nHost: evil.example\n\n");
    assert_eq!((ours.status, count(&ours, "strict-transport-security")), (421, 1));
    let plain = exchange(&mut connect(http), &request);
    assert_eq!((plain.status, plain.header("strict-transport-security")), (308, None));
}

#[test]
fn plain_http_goes_to_https_before_it_goes_elsewhere() {
    let redirects = redirects(&[("foobar.com/*", "https://www.foobar.com/*", 301), ("/old", "/new", 308)]);
    let (_edge, http, https, authority) = secure_edge(EdgePlan { redirects, ..plan() });
    let apex = "GET /old?x HTTP/1.1\nHost: foobar.com\n\n";
    let www = format!("GET /old?x HTTP/1.1\nHost: {HOST}\n\n");
    let to = |reply: &Reply| reply.header("location").map(str::to_owned);
    assert_eq!(to(&exchange(&mut connect(http), apex)).as_deref(), Some("https://foobar.com/old?x"));
    let mut client = connect_tls(https, &authority);
    assert_eq!(to(&exchange(&mut client, &www)).as_deref(), Some("https://www.foobar.com/new?x"));
    assert_eq!(
        to(&exchange(&mut client, "GET /b HTTP/1.1\nHost: foobar.com\n\n")).as_deref(),
        Some("https://www.foobar.com/b")
    );
}
