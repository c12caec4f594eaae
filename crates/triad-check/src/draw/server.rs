//! A server: its firewall around it, its name and addresses, and its roles one above the other.

use std::fmt::Display;

use triad_model::{Design, Role, Server, ServerName};

use super::scene::{Font, Paint, Rect, Scene};
use super::text::{shorten, wrap};
use super::{WeakPoint, mark, topology};

const NAME: Font = Font::new(17, Paint::Ink).bold();
const ADDRESS: Font = Font::new(12, Paint::Soft);
const ROLE: Font = Font::new(13, Paint::Ink);
const DETAIL: Font = Font::new(12, Paint::Soft).end();
const WEAK: Font = Font::new(12, Paint::Weak);
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
/// A role without weak points.
const CHIP: i32 = 30;
/// Between roles that have nothing to do with each other.
const GAP: i32 = 8;
/// Between a role and the one it passes requests to.
const GAP_PASSING: i32 = 26;
/// Lines of weak points are wrapped at this width.
const WEAK_WIDTH: i32 = 184;
/// Longest text of a weak point, in characters.
const WEAK_CHARS_MAX: usize = 120;
/// Most public addresses shown.
const ADDRESSES_MAX: usize = 2;
/// Longest detail of a role, in characters.
const DETAIL_CHARS_MAX: usize = 24;

/// A server as it is drawn.
pub struct Card {
    name: String,
    addresses: Vec<String>,
    roles: Vec<Chip>,
    weak: Vec<WeakLine>,
    walled: bool,
    monitored: bool,
}

/// A role on a server.
struct Chip {
    title: &'static str,
    detail: String,
    weak: Vec<WeakLine>,
    /// Whether the next role on the server gets requests from this one.
    passes_on: bool,
    /// Which part of them.
    share: Option<String>,
}

/// A line about a weak point.
struct WeakLine {
    text: String,
    /// Whether it is the first about this point: then it is marked.
    first: bool,
}

impl Card {
    /// `server` and what of `weak` is about it.
    pub fn of(design: &Design, server: &Server, weak: &[WeakPoint]) -> Self {
        let own: Vec<&WeakPoint> = weak.iter().filter(|point| point.server.as_ref() == Some(&server.name)).collect();
        let roles = design.roles(&server.name);
        let carried = |point: &WeakPoint| point.role.is_some_and(|role| roles.contains(&role));
        Self {
            name: server.name.to_string(),
            addresses: addresses(server),
            roles: chips(design, server, &own),
            weak: weak_lines(own.iter().copied().filter(|point| !carried(point))),
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
        walls + head + 10 + roles + gaps + weak_height(&self.weak) + PADDING - GAP
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
        draw_weak(&self.weak, left, y, scene);
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

impl Chip {
    fn height(&self) -> i32 {
        CHIP + weak_height(&self.weak)
    }

    fn gap(&self) -> i32 {
        if self.passes_on { GAP_PASSING } else { GAP }
    }

    fn draw(&self, area: Rect, scene: &mut Scene) {
        let (fill, stroke) =
            if self.weak.is_empty() { (Paint::Chip, Paint::Chip) } else { (Paint::WeakChip, Paint::Weak) };
        scene.rect(area, 6, fill, stroke);
        scene.text(area.x + 10, area.y + 20, ROLE, self.title);
        scene.text(area.right() - 10, area.y + 20, DETAIL, &self.detail);
        draw_weak(&self.weak, area.x + 10, area.y + CHIP - 4, scene);
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

fn chips(design: &Design, server: &Server, weak: &[&WeakPoint]) -> Vec<Chip> {
    let roles = design.roles(&server.name);
    let next = roles.iter().skip(1).copied().map(Some).chain([None]);
    let chip = |(role, next): (&Role, Option<Role>)| Chip {
        title: title(*role),
        detail: shorten(&detail(design, &server.name, *role), DETAIL_CHARS_MAX),
        weak: weak_lines(weak.iter().copied().filter(|point| point.role == Some(*role))),
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
            design.balancer.as_ref().map_or("", |balancer| topology::algorithm(balancer.algorithm)).to_owned()
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

/// The labels of `points` in lines, each label once.
fn weak_lines<'w>(points: impl Iterator<Item = &'w WeakPoint>) -> Vec<WeakLine> {
    let mut labels: Vec<&str> = Vec::new();
    for point in points {
        if !labels.contains(&point.label.as_str()) {
            labels.push(&point.label);
        }
    }
    let mut lines = Vec::new();
    for label in labels {
        let texts = wrap(&shorten(label, WEAK_CHARS_MAX), WEAK.size, WEAK_WIDTH);
        lines.extend(texts.into_iter().enumerate().map(|(index, text)| WeakLine { text, first: index == 0 }));
    }
    lines
}

fn weak_height(lines: &[WeakLine]) -> i32 {
    if lines.is_empty() { 0 } else { LINE * count(lines) + 2 }
}

/// Lines below `top`.
fn draw_weak(lines: &[WeakLine], x: i32, top: i32, scene: &mut Scene) {
    let mut y = top - 4;
    for line in lines {
        y += LINE;
        if line.first {
            mark::warning(scene, x + 7, y - 5);
        }
        scene.text(x + 22, y, WEAK, &line.text);
    }
}

fn count<T>(lines: &[T]) -> i32 {
    i32::try_from(lines.len()).expect("a handful of lines")
}
