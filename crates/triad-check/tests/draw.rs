//! The pictures of the examples, which stand in the documentation, and what must hold of every picture.
//! `TRIAD_GOLDEN=write cargo test -p triad-check` rewrites them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use triad_check::draw::{draw, text_width};
use triad_check::{Reported, Surroundings, findings};
use triad_config::{DesignKind, parse, template};
use triad_model::{
    Allowed, App, Backend, Balancer, Code, Database, Design, Dns, Finding, Firewall, HealthCheck, Monitor, Server,
    ServerName, Site, Tls, Web,
};

fn example(kind: DesignKind) -> Design {
    parse(template(kind)).expect("an example is right")
}

#[test]
fn the_examples() {
    for kind in DesignKind::ALL {
        let design = example(kind);
        let picture = draw(&design, &findings(&design, &Surroundings::default()));
        Picture::read(&picture).check();
        triad_golden::compare(format!("../../docs/pictures/{kind}.svg"), &picture);
    }
}

/// What the picture says when its marks are pointed at, in the order of the file.
fn tooltips(picture: &str) -> Vec<&str> {
    let marks = picture.split("<g class=\"mark\">\n<title>").skip(1);
    marks.map(|rest| rest.split("</title>").next().unwrap()).collect()
}

#[test]
fn every_finding_of_check_is_marked_and_listed_and_no_other() {
    for kind in DesignKind::ALL {
        let mut design = example(kind);
        let allowed = Allowed { code: Code::NoBackup, reason: "copied by hand".to_owned() };
        design.check.push(allowed);
        let found = findings(&design, &Surroundings::default());
        let picture = draw(&design, &found);
        let mut marked: Vec<&str> = tooltips(&picture).iter().map(|text| text.split(": ").next().unwrap()).collect();
        let texts = Picture::read(&picture).texts;
        for (number, reported) in found.iter().filter(|it| it.allowed.is_none()).enumerate() {
            let code = reported.finding.code.as_str();
            assert!(
                texts.iter().any(|text| text.text.starts_with(&format!("{code}: "))),
                "{kind}: {code} is not listed"
            );
            assert!(texts.iter().any(|text| text.text == (number + 1).to_string()), "{kind}: {code} has no number");
            assert!(marked.contains(&code), "{kind}: {code} is not marked");
            marked.retain(|marked| *marked != code);
        }
        assert_eq!(marked, [""; 0], "{kind}");
    }
}

#[test]
fn a_mark_stands_at_the_role_it_is_about() {
    let design = example(DesignKind::Secured);
    let picture = draw(&design, &findings(&design, &Surroundings::default()));
    let servers: Vec<&str> = picture.split("<g class=\"server\">").skip(1).collect();
    let marked = |server: &str, code: &str| {
        let of = servers.iter().find(|text| text.contains(&format!(">{server}</text>"))).expect("the server");
        tooltips(of.split("What triad check finds").next().unwrap()).iter().any(|text| text.starts_with(code))
    };
    assert!(marked("srv1", "single-balancer") && !marked("srv2", "single-balancer"));
    assert!(marked("srv3", "single-writer") && !marked("srv2", "single-writer"), "the primary is srv3");
    assert!(marked("srv1", "name-servers-together") && marked("srv2", "name-servers-together"));
}

#[test]
fn what_is_encrypted_is_drawn_and_said() {
    let (secured, distributed) = (example(DesignKind::Secured), example(DesignKind::Distributed));
    let (secured, distributed) = (draw(&secured, &[]), draw(&distributed, &[]));
    assert!(secured.contains(">round robin · mutual TLS 8443<"));
    assert!(secured.contains("From the user to srv1: HTTPS 443 (HTTP 80 redirects), encrypted."));
    assert!(!distributed.contains(r#"<g class="encrypted">"#));
    assert!(distributed.contains(">round robin · HTTP 8443, plain<"));
}

/// A finding at `place` that says `title`.
fn found(code: Code, place: &str, title: &str) -> Reported {
    let (users, mend) = (String::new(), String::new());
    let (severity, place, title) = (code.severity(), place.to_owned(), title.to_owned());
    Reported { finding: Finding { code, severity, place, title, users, mend }, allowed: None }
}

#[test]
fn findings_are_text_and_no_markup() {
    let picture = draw(&example(DesignKind::Scaled), &[found(Code::SingleWriter, "database.primary", "a & <b>")]);
    Picture::read(&picture).check();
    let texts: Vec<String> = Picture::read(&picture).texts.into_iter().map(|text| text.text).collect();
    assert!(texts.iter().any(|text| text == "single-writer: a & <b>"), "{texts:#?}");
    assert_eq!(tooltips(&picture)[0], "single-writer: a &amp; &lt;b&gt;");
}

#[test]
fn the_file_stands_alone() {
    let picture = draw(&example(DesignKind::Secured), &[]);
    let namespace = r#"xmlns="http://www.w3.org/2000/svg""#;
    for foreign in ["http", "<script", "href", "@import", "<image"] {
        assert!(!picture.replace(namespace, "").contains(foreign), "{foreign}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_design(
        design in any_design_strategy(),
        titles in prop::collection::vec("[ a-zé<&]{0,350}", 20),
        places in prop::collection::vec("dns|balancer|web|app|database|servers|tls", 20),
    ) {
        let mut all = findings(&design, &Surroundings::default());
        let codes = Code::ALL.iter().cycle();
        all.extend(codes.zip(places).zip(titles).map(|((code, place), title)| found(*code, &place, &title)));
        Picture::read(&draw(&design, &all)).check();
    }
}

/// What is carried where, by bits: a server has a role if its bit is set.
type Bits = u16;

prop_compose! {
    fn any_design_strategy()(
        count in 1usize..=12,
        tail in "[a-z]{0,28}",
        roles in prop::array::uniform5(any::<Bits>()),
        present in prop::array::uniform5(prop::bool::weighted(0.8)),
        flags in any::<[bool; 4]>(),
        label in "[a-z]{1,60}",
        primary in any::<prop::sample::Index>(),
    ) -> Design {
        let names: Vec<ServerName> =
            (1..=count).map(|index| ServerName::new(format!("s{index}{tail}")).unwrap()).collect();
        let carried = |bits: Bits| -> Vec<ServerName> {
            let bit = |index: &usize| bits & (1 << index) != 0;
            let some: Vec<_> = (0..count).filter(bit).map(|index| names[index].clone()).collect();
            if some.is_empty() { vec![names[usize::from(bits) % count].clone()] } else { some }
        };
        let role = |role: usize| present[role].then(|| carried(roles[role]));
        let [dns, balancer, web, app, database] = std::array::from_fn(role);
        let primary = primary.get(&names).clone();
        Design {
            site: Site { domain: format!("{label}.com"), hosts: vec![format!("www.{label}.com")], maintenance_page: None, maintenance_allow: Vec::new() },
            servers: names.iter().enumerate().map(|(index, name)| any_server(index, name, flags[0])).collect(),
            dns: dns.map(|servers| Dns { servers, ttl_s: 30 }),
            balancer: balancer.map(|servers| any_balancer(servers, carried(roles[2] ^ roles[4]))),
            web: web.map(|servers| Web { servers, root: None }),
            app: app.map(any_app),
            database: database.map(|mut replicas| {
                replicas.retain(|name| *name != primary);
                Database { primary, replicas, name: "app".to_owned(), user: "app".to_owned() }
            }),
            tls: flags[1].then_some(Tls::internal()),
            firewall: flags[2].then(|| Firewall { ssh_from: vec![], ssh_port: 22 }),
            monitor: flags[3].then(|| Monitor { metrics_from: vec![] }),
            ..example(DesignKind::Simple)
        }
    }
}

fn any_server(index: usize, name: &ServerName, six: bool) -> Server {
    let last = u16::try_from(index).unwrap() + 0x1111;
    let address = |first| {
        if six {
            Ipv6Addr::new(first, 0x1111, 0x1111, 0x1111, 0x1111, 0x1111, 0x1111, last).into()
        } else {
            Ipv4Addr::new(203, 0, 113, last.to_be_bytes()[1]).into()
        }
    };
    Server {
        name: name.clone(),
        public: (0..index % 4).map(|n| address(0x2000 + u16::try_from(n).unwrap())).collect(),
        private: Some(address(0xfd00)),
    }
}

fn any_balancer(servers: Vec<ServerName>, backends: Vec<ServerName>) -> Balancer {
    let backend = |(index, server)| Backend { server, weight: 256, backup: index % 3 == 1, max_connections: 0 };
    Balancer::new(servers, backends.into_iter().enumerate().map(backend).collect(), HealthCheck::new("/up", 500, 500))
}

fn any_app(servers: Vec<ServerName>) -> App {
    App {
        servers,
        build: None,
        directory: "app".into(),
        command: "./app".to_owned(),
        instances: 2,
        max_connections: 0,
        health: "/up".to_owned(),
        environment: BTreeMap::new(),
        proxy_protocol: None,
        protocol: Default::default(),
    }
}

/// Edges of an area, in pixels.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn meets(self, other: Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn contains(self, other: Self) -> bool {
        self.left <= other.left && other.right <= self.right && self.top <= other.top && other.bottom <= self.bottom
    }

    fn grown(self, by: f64) -> Self {
        Self { left: self.left - by, top: self.top - by, right: self.right + by, bottom: self.bottom + by }
    }
}

#[derive(Debug)]
struct Text {
    text: String,
    area: Area,
    /// Its place in the file.
    at: usize,
}

#[derive(Debug)]
struct Outline {
    area: Area,
    at: usize,
}

/// A straight piece of a line between servers, or of a sign.
#[derive(Debug)]
struct Segment {
    area: Area,
    /// Which group it is in.
    group: usize,
    traffic: bool,
}

/// A picture as it was written: what a viewer would see of it.
struct Picture {
    canvas: Area,
    texts: Vec<Text>,
    boxes: Vec<Outline>,
    segments: Vec<Segment>,
    /// Frames of servers.
    servers: Vec<Area>,
}

impl Picture {
    /// Reads what `draw` writes: an element a line.
    fn read(svg: &str) -> Self {
        let canvas: Vec<f64> =
            attribute(svg, "viewBox").unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
        let canvas =
            Area { left: canvas[0], top: canvas[1], right: canvas[0] + canvas[2], bottom: canvas[1] + canvas[3] };
        let mut picture = Self { canvas, texts: vec![], boxes: vec![], segments: vec![], servers: vec![] };
        let body = svg.split("</defs>").nth(1).unwrap();
        let (mut group, mut class, mut framed) = (0, "", true);
        // The first element is the page.
        for (at, line) in body.lines().enumerate().skip(2) {
            if line.starts_with("<g ") {
                group += 1;
                class = attribute(line, "class").unwrap();
                framed = false;
            } else if line.starts_with("<rect") {
                let area = rect(line);
                if class == "server" && !framed {
                    picture.servers.push(area);
                    framed = true;
                }
                picture.boxes.push(Outline { area, at });
            } else if line.starts_with("<text") {
                picture.texts.push(text(line, at));
            } else if line.starts_with("<path") && line.contains("stroke=") {
                let traffic = ["encrypted", "plain"].contains(&class);
                let pieces = pieces(attribute(line, "d").unwrap()).into_iter();
                picture.segments.extend(pieces.map(|area| Segment { area, group, traffic }));
            }
        }
        picture
    }

    fn check(&self) {
        assert!(!self.texts.is_empty() && !self.boxes.is_empty() && !self.segments.is_empty());
        self.check_texts();
        self.check_lines();
    }

    fn check_texts(&self) {
        for (index, text) in self.texts.iter().enumerate() {
            assert!(self.canvas.contains(text.area), "off the canvas: {text:?}");
            for other in &self.texts[index + 1..] {
                assert!(!text.area.meets(other.area), "text upon text: {text:?} {other:?}");
            }
            for area in self.boxes.iter().filter(|area| area.area.meets(text.area)) {
                assert!(area.area.contains(text.area), "text across an edge: {text:?} {area:?}");
                assert!(area.at < text.at, "text below a box: {text:?} {area:?}");
            }
            for segment in &self.segments {
                assert!(!segment.area.meets(text.area), "a line through text: {text:?} {segment:?}");
            }
        }
    }

    fn check_lines(&self) {
        for segment in &self.segments {
            assert!(self.canvas.contains(segment.area), "off the canvas: {segment:?}");
        }
        let traffic: Vec<&Segment> = self.segments.iter().filter(|segment| segment.traffic).collect();
        for (index, segment) in traffic.iter().enumerate() {
            for server in &self.servers {
                assert!(!segment.area.meets(server.grown(-1.0)), "a line through a server: {segment:?} {server:?}");
            }
            for other in traffic[index + 1..].iter().filter(|other| other.group != segment.group) {
                assert!(!along(segment.area, other.area), "two lines look like one: {segment:?} {other:?}");
            }
        }
        for (index, server) in self.servers.iter().enumerate() {
            for other in &self.servers[index + 1..] {
                assert!(!server.meets(*other), "a server upon a server: {server:?} {other:?}");
            }
        }
    }
}

/// Whether two straight pieces lie upon each other for more than a crossing.
fn along(a: Area, b: Area) -> bool {
    let width = a.right.min(b.right) - a.left.max(b.left);
    let height = a.bottom.min(b.bottom) - a.top.max(b.top);
    width > 0.0 && height > 0.0 && width.max(height) > 6.0
}

/// The value of the attribute `name`.
fn attribute<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    let start = element.find(&format!(" {name}=\""))? + name.len() + 3;
    element[start..].split('"').next()
}

fn number(element: &str, name: &str) -> f64 {
    attribute(element, name).unwrap_or_else(|| panic!("no {name}: {element}")).parse().unwrap()
}

fn rect(line: &str) -> Area {
    let (left, top) = (number(line, "x"), number(line, "y"));
    Area { left, top, right: left + number(line, "width"), bottom: top + number(line, "height") }
}

fn text(line: &str, at: usize) -> Text {
    let content = line.split_once('>').unwrap().1.strip_suffix("</text>").unwrap();
    let text = content.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let size = number(line, "font-size");
    #[allow(clippy::cast_possible_truncation)]
    let width = f64::from(text_width(&text, size as i32, attribute(line, "font-weight").is_some()));
    let (x, y) = (number(line, "x"), number(line, "y"));
    let left = match attribute(line, "text-anchor") {
        Some("middle") => x - width / 2.0,
        Some("end") => x - width,
        _ => x,
    };
    // From capitals to descenders, of DejaVu Sans.
    Text { text, area: Area { left, top: y - 0.76 * size, right: left + width, bottom: y + 0.24 * size }, at }
}

/// Pieces of a path of M, H, V and Q, as wide as it is drawn; a curve is where its control points are.
fn pieces(path: &str) -> Vec<Area> {
    let mut pieces = Vec::new();
    let mut from = (0.0, 0.0);
    let starts: Vec<usize> = path.match_indices(|c: char| c.is_ascii_alphabetic()).map(|(at, _)| at).collect();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(path.len());
        let numbers: Vec<f64> = path[start + 1..end].split_whitespace().map(|number| number.parse().unwrap()).collect();
        let points = match (&path[*start..=*start], &numbers[..]) {
            ("M", [x, y]) => {
                from = (*x, *y);
                continue;
            }
            ("H", [x]) => vec![(*x, from.1)],
            ("V", [y]) => vec![(from.0, *y)],
            ("Q", [cx, cy, x, y]) => vec![(*cx, *cy), (*x, *y)],
            other => panic!("{other:?} in {path}"),
        };
        for to in points {
            let (left, top) = (from.0.min(to.0), from.1.min(to.1));
            let (right, bottom) = (from.0.max(to.0), from.1.max(to.1));
            pieces.push(Area { left, top, right, bottom }.grown(1.0));
            from = to;
        }
    }
    pieces
}
