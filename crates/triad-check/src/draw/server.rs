//! A server: its firewall around it, its name and addresses, and its roles one above the other.

use std::fmt::Display;

use triad_model::{Design, Role, Server, ServerName};

use super::findings::Mark;
use super::scene::{Font, Paint, Rect, Scene};
use super::text::shorten;
use super::{mark, topology};

const NAME: Font = Font::new(17, Paint::Ink).bold();
const ADDRESS: Font = Font::new(12, Paint::Soft);
const ROLE: Font = Font::new(13, Paint::Ink);
const DETAIL: Font = Font::new(12, Paint::Soft).end();
const SMALL: Font = Font::new(11, Paint::Soft);
const MONITORED: &str = "monitoring agent";
const FIREWALL: &str = "firewall";

/// Narrowest server: the lines that can arrive at one side, each with its share, find room beside each other.
const WIDTH_MIN: i32 = 270;
/// Between a server's edge and what is in it.
const PADDING: i32 = 14;
/// Thickness of a firewall, at the sides and below; above it has [`BAND`], for its name.
const WALL: i32 = 9;
const BAND: i32 = 26;
/// From one line of addresses to the next.
const LINE: i32 = 18;
/// A role without findings.
const CHIP: i32 = 30;
/// Between roles that have nothing to do with each other.
const GAP: i32 = 8;
/// Between a role and the one it passes requests to.
const GAP_PASSING: i32 = 26;
/// Findings beside each other: the narrowest role has room for them.
const FINDINGS_PER_LINE: usize = 4;
/// Most public addresses shown.
const ADDRESSES_MAX: usize = 2;
/// Longest detail of a role, in characters.
const DETAIL_CHARS_MAX: usize = 24;

/// A server as it is drawn.
pub struct Card<'m> {
    name: String,
    addresses: Vec<String>,
    roles: Vec<Chip<'m>>,
    findings: Vec<&'m Mark>,
    walled: bool,
    monitored: bool,
}

/// A role on a server.
struct Chip<'m> {
    title: &'static str,
    detail: String,
    findings: Vec<&'m Mark>,
    /// Whether the next role on the server gets requests from this one.
    passes_on: bool,
    /// Which part of them.
    share: Option<String>,
}

impl<'m> Card<'m> {
    /// `server` and what of `marks` is about it.
    pub fn of(design: &Design, server: &Server, marks: &'m [Mark]) -> Self {
        Self {
            name: server.name.to_string(),
            addresses: addresses(server),
            roles: chips(design, server, marks),
            findings: marks.iter().filter(|mark| mark.is_at(&server.name, None)).collect(),
            walled: design.firewall.is_some(),
            monitored: design.monitor.is_some(),
        }
    }

    /// Whether one of its roles passes requests to another.
    pub fn passes_within(&self) -> bool {
        self.roles.iter().any(|chip| chip.passes_on)
    }

    /// The width it needs, firewall included.
    pub fn width(&self) -> i32 {
        let monitored = if self.monitored { SMALL.width(MONITORED) + 40 } else { 0 };
        let lines = self.addresses.iter().map(|line| ADDRESS.width(line));
        let roles = self.roles.iter().map(|chip| ROLE.width(chip.title) + DETAIL.width(&chip.detail) + 50);
        let content = lines.chain(roles).fold(NAME.width(&self.name) + monitored, i32::max);
        (content + 2 * (PADDING + WALL)).max(WIDTH_MIN)
    }

    /// The height it needs, firewall included.
    pub fn height(&self) -> i32 {
        let head = PADDING + 20 + LINE * count(&self.addresses);
        let roles: i32 = self.roles.iter().map(Chip::height).sum();
        let gaps: i32 = self.roles.iter().map(Chip::gap).sum();
        let walls = if self.walled { BAND + WALL } else { 0 };
        walls + head + 10 + roles + gaps + findings_height(&self.findings) + PADDING - GAP
    }

    /// Draws it into `frame`, which is at least as large as it needs.
    pub fn draw(&self, frame: Rect, scene: &mut Scene) {
        scene.open("server");
        let inner = self.draw_outline(frame, scene);
        let (left, right) = (inner.x + PADDING, inner.right() - PADDING);
        let mut y = inner.y + PADDING + 15;
        scene.text(left, y, NAME, &self.name);
        if self.monitored {
            scene.text(right, y, SMALL.end(), MONITORED);
            scene.dot(right - SMALL.width(MONITORED) - 9, y - 4, 5, Paint::Alive);
        }
        y += 5;
        for line in &self.addresses {
            y += LINE;
            scene.text(left, y, ADDRESS, line);
        }
        y += 10;
        for chip in &self.roles {
            chip.draw(Rect { x: left, y, width: right - left, height: chip.height() }, scene);
            y += chip.height() + chip.gap();
        }
        draw_findings(&self.findings, left, y, scene);
        scene.close();
    }

    /// The firewall and the server's own edge; what is within the latter.
    fn draw_outline(&self, frame: Rect, scene: &mut Scene) -> Rect {
        if !self.walled {
            scene.rect(frame, 8, Paint::Card, Paint::Edge);
            return frame;
        }
        scene.bricks(frame, 4);
        let plate = Rect { x: frame.center_x() - 38, y: frame.y + 5, width: 76, height: BAND - 9 };
        scene.rect(plate, 3, Paint::Page, Paint::Brick);
        scene.text(plate.center_x(), plate.y + 12, SMALL.middle(), FIREWALL);
        let inner = Rect {
            x: frame.x + WALL,
            y: frame.y + BAND,
            width: frame.width - 2 * WALL,
            height: frame.height - BAND - WALL,
        };
        scene.rect(inner, 4, Paint::Card, Paint::Edge);
        inner
    }
}

impl Chip<'_> {
    fn height(&self) -> i32 {
        CHIP + findings_height(&self.findings)
    }

    fn gap(&self) -> i32 {
        if self.passes_on { GAP_PASSING } else { GAP }
    }

    fn draw(&self, area: Rect, scene: &mut Scene) {
        let weak = self.findings.iter().any(|mark| !mark.is_note());
        let (fill, stroke) = if weak { (Paint::WeakChip, Paint::Weak) } else { (Paint::Chip, Paint::Chip) };
        scene.rect(area, 6, fill, stroke);
        scene.text(area.x + 10, area.y + 20, ROLE, self.title);
        scene.text(area.right() - 10, area.y + 20, DETAIL, &self.detail);
        draw_findings(&self.findings, area.x + 10, area.y + CHIP - 4, scene);
        if self.passes_on {
            let (x, top, tip) = (area.x + 24, area.bottom(), area.bottom() + GAP_PASSING);
            scene.line(&format!("M{x} {top}V{}", tip - 8), Paint::Soft);
            mark::arrow_down(scene, x, tip, Paint::Soft);
            if let Some(share) = &self.share {
                scene.text(x + 12, top + 17, SMALL, share);
            }
        }
    }
}

/// Lines of addresses: "public 203.0.113.11".
fn addresses(server: &Server) -> Vec<String> {
    let line = |kind: &str, address: &dyn Display| format!("{kind} {address}");
    let mut lines: Vec<String> =
        server.public.iter().take(ADDRESSES_MAX).map(|address| line("public", address)).collect();
    if let more @ 1.. = server.public.len().saturating_sub(ADDRESSES_MAX) {
        lines.push(format!("and {more} more"));
    }
    lines.extend(server.private.iter().map(|address| line("private", address)));
    lines
}

fn chips<'m>(design: &Design, server: &Server, marks: &'m [Mark]) -> Vec<Chip<'m>> {
    let roles = design.roles(&server.name);
    let next = roles.iter().skip(1).copied().map(Some).chain([None]);
    let chip = |(role, next): (&Role, Option<Role>)| Chip {
        title: title(*role),
        detail: shorten(&detail(design, &server.name, *role), DETAIL_CHARS_MAX),
        findings: marks.iter().filter(|mark| mark.is_at(&server.name, Some(*role))).collect(),
        passes_on: next.is_some_and(|next| passes(design, &server.name, *role, next)),
        share: if *role == Role::Balancer { topology::share(design, &server.name) } else { None },
    };
    roles.iter().zip(next).map(chip).collect()
}

/// Whether requests go from `role` to `next` without leaving `server`.
fn passes(design: &Design, server: &ServerName, role: Role, next: Role) -> bool {
    match (role, next) {
        (Role::Balancer, Role::Web | Role::App) => topology::share(design, server).is_some(),
        (Role::Web, Role::App) => true,
        (Role::App, Role::Database) => design.database.as_ref().is_some_and(|database| database.primary == *server),
        _ => false,
    }
}

/// What people call a role.
fn title(role: Role) -> &'static str {
    match role {
        Role::Dns => "DNS server",
        Role::Balancer => "Load balancer",
        Role::Web => "Web server",
        Role::App => "Application",
        Role::Database => "MariaDB",
    }
}

/// What is particular about `role` on `server`.
fn detail(design: &Design, server: &ServerName, role: Role) -> String {
    match role {
        Role::Dns => {
            let index = design.carriers(Role::Dns).iter().position(|name| *name == server).unwrap_or_default();
            design.name_server_name(index)
        }
        Role::Balancer => {
            design.balancer.as_ref().map_or("", |balancer| topology::algorithm(balancer.balancing.algorithm)).to_owned()
        }
        Role::Web => {
            let files = design.web.as_ref().is_some_and(|web| web.root.is_some());
            if files { "static files" } else { "" }.to_owned()
        }
        Role::App => match design.app.as_ref().map_or(0, |app| app.instances) {
            1 => "1 instance".to_owned(),
            instances => format!("{instances} instances"),
        },
        Role::Database => {
            let primary = design.database.as_ref().is_some_and(|database| database.primary == *server);
            if primary { "primary" } else { "replica" }.to_owned()
        }
    }
}

fn findings_height(findings: &[&Mark]) -> i32 {
    if findings.is_empty() { 0 } else { LINE * count(&findings.chunks(FINDINGS_PER_LINE).collect::<Vec<_>>()) + 2 }
}

/// Signs and numbers below `top`.
fn draw_findings(findings: &[&Mark], x: i32, top: i32, scene: &mut Scene) {
    let mut y = top + 9;
    for line in findings.chunks(FINDINGS_PER_LINE) {
        for (found, place) in line.iter().zip(0..) {
            mark::number(scene, x + place * mark::NUMBER_WIDTH, y, found);
        }
        y += LINE;
    }
}

fn count<T>(lines: &[T]) -> i32 {
    i32::try_from(lines.len()).expect("a handful of lines")
}
