//! What `triad check` finds, with its place in the picture: the same findings, so that the two cannot disagree.

use triad_model::{Code, Design, Role, ServerName, Severity};

use super::mark::{self, NUMBER_WIDTH};
use super::scene::{Font, Paint, Scene};
use super::text::{shorten, wrap};
use crate::findings::Reported;

const HEADING: Font = Font::new(14, Paint::Ink).bold();
const ENTRY: Font = Font::new(12, Paint::Ink);

/// Above the list.
const SPACE: i32 = 44;
/// From one line of the list to the next.
const PITCH: i32 = 20;
/// Lines of the list are wrapped at the picture's width, but not below this.
const WIDTH_MIN: i32 = 520;
/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 300;

/// A finding that counts, with the number it has in the picture.
pub struct Mark {
    /// From 1, in the order of `triad check`.
    pub number: usize,
    /// Which finding.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What is weak.
    pub title: String,
    /// Where; nowhere in particular if it is of the whole design.
    pub spots: Vec<Spot>,
}

/// A place in the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The server.
    pub server: ServerName,
    /// Its role; `None` for all of it.
    pub role: Option<Role>,
}

impl Mark {
    /// Whether it is only the price of a choice.
    pub fn is_note(&self) -> bool {
        self.severity == Severity::Note
    }

    /// Whether it is at `role` of `server`, or at the server as a whole.
    pub fn is_at(&self, server: &ServerName, role: Option<Role>) -> bool {
        self.spots.iter().any(|spot| spot.server == *server && spot.role == role)
    }

    /// In words: "single-balancer: srv1 is the only balancer".
    pub fn text(&self) -> String {
        format!("{}: {}", self.code, self.title)
    }
}

/// Every one of `found` that `design` does not allow.
pub fn marks(design: &Design, found: &[Reported]) -> Vec<Mark> {
    let counted = found.iter().filter(|reported| reported.allowed.is_none()).map(|reported| &reported.finding);
    counted
        .zip(1..)
        .map(|(finding, number)| Mark {
            number,
            code: finding.code,
            severity: finding.severity,
            title: shorten(&finding.title, TITLE_CHARS_MAX),
            spots: spots(design, &finding.place),
        })
        .collect()
}

/// Where the key `place` is in the picture: a role's section on the servers that carry it, the database's on the
/// primary, a server's on it, that of all servers on one that is alone; anything else is of the whole design.
fn spots(design: &Design, place: &str) -> Vec<Spot> {
    let (section, key) = place.split_once('.').unwrap_or((place, ""));
    let named = design.servers.iter().find(|server| key.split('.').next() == Some(server.name.as_str()));
    let spot = |server: &ServerName, role| Spot { server: server.clone(), role };
    let carriers = |role| design.carriers(role).into_iter().map(|server| spot(server, Some(role))).collect();
    match (section, &design.servers[..]) {
        ("dns", _) => carriers(Role::Dns),
        ("balancer" | "pools" | "routes", _) => carriers(Role::Balancer),
        ("web", _) => carriers(Role::Web),
        ("app", _) => carriers(Role::App),
        ("database", _) => {
            design.database.iter().map(|database| spot(&database.primary, Some(Role::Database))).collect()
        }
        ("servers", [server]) => vec![spot(&server.name, None)],
        ("servers", _) => named.map(|server| spot(&server.name, None)).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Below everything: each number with what it stands for.
pub fn draw_list(marks: &[Mark], scene: &mut Scene) {
    if marks.is_empty() {
        return;
    }
    let (x, mut y) = (scene.bounds().x, scene.bounds().bottom() + SPACE);
    let width = (scene.bounds().width - NUMBER_WIDTH).max(WIDTH_MIN);
    scene.text(x, y, HEADING, "What triad check finds");
    for found in marks {
        for (index, line) in wrap(&found.text(), ENTRY.size, width).iter().enumerate() {
            y += PITCH;
            if index == 0 {
                mark::number(scene, x, y - 3, found);
            }
            scene.text(x + NUMBER_WIDTH, y + 2, ENTRY, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use triad_config::DesignKind;
    use triad_model::{Code, Finding, Severity};

    use super::marks;
    use crate::findings::Reported;

    #[test]
    fn a_finding_is_marked_where_its_key_belongs() {
        let design = triad_config::parse(triad_config::template(DesignKind::Secured)).expect("an example is right");
        let found = |place: &str| {
            let finding = Finding {
                code: Code::SingleBalancer,
                severity: Severity::Warning,
                place: place.to_owned(),
                title: String::new(),
                users: String::new(),
                mend: String::new(),
            };
            let marks = marks(&design, &[Reported { finding, allowed: None }]);
            let spots = marks[0].spots.iter().map(|spot| match spot.role {
                Some(role) => format!("{role}@{}", spot.server),
                None => spot.server.to_string(),
            });
            spots.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("balancer.servers"), "balancer@srv1");
        assert_eq!(found("dns.servers"), "dns@srv1 dns@srv2");
        assert_eq!(found("app.health"), "app@srv2 app@srv3");
        assert_eq!(found("database.primary"), "database@srv3");
        assert_eq!(found("servers.srv2.private"), "srv2");
        assert_eq!(found("tls.certificate"), "");
        assert_eq!(found("servers"), "");
    }
}
