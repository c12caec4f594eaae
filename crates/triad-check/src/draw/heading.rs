//! The top of the picture: title and legend, the user, and DNS beside.

use std::net::IpAddr;

use triad_model::{DNS, Design, Role};

use super::mark;
use super::scene::{Font, Paint, Rect, Scene};
use super::text::{shorten, wrap};

const TITLE: Font = Font::new(20, Paint::Ink).bold();
const SUBTITLE: Font = Font::new(13, Paint::Soft);
const ENTRY: Font = Font::new(12, Paint::Ink);
const LABEL: Font = Font::new(12, Paint::Plain).middle();
const DNS_TITLE: Font = Font::new(15, Paint::Ink).bold();
const DNS_LINE: Font = Font::new(12, Paint::Soft);

/// From a line of the legend to the next.
const ENTRY_PITCH: i32 = 22;
/// Where the legend starts below the title.
const LEGEND_TOP: i32 = 56;
/// Width of a sign in the legend, space after it included.
const SIGN: i32 = 44;
/// The user, name included.
const USER_WIDTH: i32 = 60;
const USER_HEIGHT: i32 = 76;
/// Between the user and what stands left of it.
const LEGEND_SPACE: i32 = 48;
/// Between the user and the arrow to DNS.
const ARROW_SPACE: i32 = 10;
/// Longest name shown, in characters.
const NAME_CHARS_MAX: usize = 32;
/// Most addresses shown.
const ADDRESSES_MAX: usize = 3;
/// The names of name servers are wrapped at this width.
const DNS_WIDTH: i32 = 250;

/// What the legend explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A solid line with a lock.
    Encrypted,
    /// A dashed line.
    Plain,
    /// An arrow between roles.
    Within,
    /// A wall.
    Firewall,
    /// A dot.
    Monitored,
    /// A triangle.
    Weak,
    /// A circle with an i.
    Note,
}

impl Sign {
    fn text(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Plain => "plain: can be read on its way",
            Self::Within => "within one server",
            Self::Firewall => "firewall around a server",
            Self::Monitored => "monitoring agent",
            Self::Weak => "weak point, numbered below",
            Self::Note => "price of a choice, numbered below",
        }
    }
}

/// The top of the picture.
pub struct Heading {
    title: String,
    subtitle: String,
    legend: Vec<Sign>,
    question: String,
    dns: Vec<String>,
}

impl Heading {
    /// For `design`, with a legend of these signs.
    pub fn of(design: &Design, legend: Vec<Sign>) -> Self {
        let host = shorten(host(design), NAME_CHARS_MAX);
        let count = design.servers.len();
        Self {
            subtitle: if count == 1 { "1 server".to_owned() } else { format!("{count} servers") },
            legend,
            question: format!("{host}?"),
            dns: records(design),
            title: host,
        }
    }

    /// The height it takes.
    pub fn height(&self) -> i32 {
        let legend = i32::try_from(self.legend.len()).expect("a handful of signs");
        (LEGEND_TOP + ENTRY_PITCH * legend).max(self.dns_height()).max(USER_HEIGHT)
    }

    /// Where the user stands, if the picture starts at y 0 and its middle is at x 0.
    pub fn user(&self) -> Rect {
        let y = (self.height() - USER_HEIGHT) / 2;
        Rect { x: -USER_WIDTH / 2, y, width: USER_WIDTH, height: USER_HEIGHT }
    }

    /// Draws it; title and legend start at `left` or farther left, as far from the user as DNS ends on the right.
    pub fn draw(&self, left: i32, scene: &mut Scene) {
        scene.open("heading");
        let dns = self.dns();
        let entries = self.legend.iter().map(|sign| SIGN + ENTRY.width(sign.text()));
        let width = entries.fold(TITLE.width(&self.title), i32::max);
        let left = left.min(self.user().x - LEGEND_SPACE - width).min(-dns.right());
        scene.text(left, 18, TITLE, &self.title);
        scene.text(left, 38, SUBTITLE, &self.subtitle);
        let mut y = LEGEND_TOP;
        for sign in &self.legend {
            draw_sign(*sign, left, y + ENTRY_PITCH / 2, scene);
            scene.text(left + SIGN, y + ENTRY_PITCH / 2 + 4, ENTRY, sign.text());
            y += ENTRY_PITCH;
        }
        draw_user(self.user(), scene);
        self.draw_question(dns, scene);
        self.draw_dns(dns, scene);
        scene.close();
    }

    fn dns_height(&self) -> i32 {
        44 + 18 * i32::try_from(self.dns.len()).expect("a handful of lines")
    }

    /// Where DNS stands: right of the user, the question between them.
    fn dns(&self) -> Rect {
        let question = LABEL.width(&self.question).max(LABEL.width(&transport()));
        let lines = self.dns.iter().map(|line| DNS_LINE.width(line));
        let width = lines.fold(DNS_TITLE.width("DNS"), i32::max) + 32;
        let (user, height) = (self.user(), self.dns_height());
        Rect { x: user.right() + ARROW_SPACE + question + 40, y: user.center_y() - height / 2, width, height }
    }

    fn draw_question(&self, dns: Rect, scene: &mut Scene) {
        let (y, start, end) = (dns.center_y(), self.user().right() + ARROW_SPACE, dns.x);
        scene.line(&format!("M{start} {y}H{}", end - mark::LENGTH + 1), Paint::Plain);
        mark::arrow_right(scene, end, y, Paint::Plain);
        scene.text((start + end) / 2, y - 8, LABEL, &self.question);
        scene.text((start + end) / 2, y + 18, LABEL, &transport());
    }

    fn draw_dns(&self, frame: Rect, scene: &mut Scene) {
        scene.rect(frame, 14, Paint::Card, Paint::Edge);
        scene.text(frame.x + 16, frame.y + 24, DNS_TITLE, "DNS");
        let mut y = frame.y + 28;
        for line in &self.dns {
            y += 18;
            scene.text(frame.x + 16, y, DNS_LINE, line);
        }
    }
}

/// How users' resolvers ask.
fn transport() -> String {
    format!("UDP/TCP {DNS}, plain")
}

/// The name users call the site by.
pub fn host(design: &Design) -> &str {
    design.site.hosts.first().unwrap_or(&design.site.domain)
}

/// What DNS says of the site, and who says it.
fn records(design: &Design) -> Vec<String> {
    let short = |name: &str| shorten(name, NAME_CHARS_MAX);
    let (host, domain) = (host(design), short(&design.site.domain));
    let mut lines = Vec::new();
    if host != design.site.domain {
        lines.push(format!("{} CNAME {domain}", short(host)));
    }
    let fronts = design.fronts().into_iter().filter_map(|name| design.server(name));
    let addresses: Vec<IpAddr> = fronts.flat_map(|server| &server.public).copied().collect();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        lines.push(format!("{domain} {} {address}", if address.is_ipv4() { "A" } else { "AAAA" }));
    }
    if let more @ 1.. = addresses.len().saturating_sub(ADDRESSES_MAX) {
        lines.push(format!("and {more} more"));
    }
    let names: Vec<&str> = design.carriers(Role::Dns).into_iter().map(|name| name.as_str()).collect();
    let answered = if names.is_empty() {
        "answered elsewhere: not in this design".to_owned()
    } else {
        format!("answered by {}", names.join(", "))
    };
    lines.extend(wrap(&answered, DNS_LINE.size, DNS_WIDTH));
    lines
}

/// A person, with a name below.
fn draw_user(frame: Rect, scene: &mut Scene) {
    let (x, y) = (frame.center_x(), frame.y);
    scene.dot(x, y + 12, 11, Paint::Soft);
    let (left, right, shoulders, bottom) = (x - 21, x + 21, y + 27, y + 52);
    scene.area(
        &format!(
            "M{left} {bottom}V{}Q{left} {shoulders} {} {shoulders}H{}Q{right} {shoulders} {right} {}V{bottom}Z",
            y + 43,
            x - 7,
            x + 7,
            y + 43
        ),
        Paint::Soft,
    );
    scene.text(x, frame.bottom() - 8, Font::new(13, Paint::Ink).bold().middle(), "User");
}

/// `sign` in the legend, its middle at height `y`.
fn draw_sign(sign: Sign, x: i32, y: i32, scene: &mut Scene) {
    match sign {
        Sign::Encrypted => {
            scene.line(&format!("M{x} {y}H{}", x + 18), Paint::Sealed);
            mark::lock(scene, x + 23, y + 5);
        }
        Sign::Plain => scene.line(&format!("M{x} {y}H{}", x + 33), Paint::Plain),
        Sign::Within => {
            scene.line(&format!("M{} {}V{}", x + 16, y - 8, y), Paint::Soft);
            mark::arrow_down(scene, x + 16, y + 8, Paint::Soft);
        }
        Sign::Firewall => scene.bricks(Rect { x, y: y - 7, width: 33, height: 14 }, 2),
        Sign::Monitored => scene.dot(x + 16, y, 5, Paint::Alive),
        Sign::Weak => mark::warning(scene, x + 16, y),
        Sign::Note => mark::note(scene, x + 16, y),
    }
}
