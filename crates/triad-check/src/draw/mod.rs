//! The whiteboard as a picture: [`draw`] makes an SVG of a design.
//!
//! From top to bottom: the user with DNS beside, the servers users reach, those behind them, the data. `topology` says
//! what stands in which row and what is joined to what; `server` and `heading` know how large things are and draw them;
//! `route` finds a way for every line and `line` draws it; `scene` is the file.
//!
//! Invariants: no text lies upon another text, an edge or a line, in any font up to the width of DejaVu Sans;
//! colour is never the only sign; the file refers to nothing outside itself and contains no script.

mod heading;
mod line;
mod mark;
mod route;
mod scene;
mod server;
mod text;
mod topology;
mod words;

use triad_model::{Design, Role, ServerName};

use heading::{Heading, Sign};
use route::{Channel, Frames};
use scene::{Font, Paint, Rect, Scene};
use server::Card;
use topology::{Net, Node};

pub use text::text_width;

/// Around the picture, in pixels.
const MARGIN: i32 = 32;
/// Between servers of a row.
const SERVER_GAP: i32 = 56;
/// Weak points of the whole design are wrapped at this width.
const WHOLE_WIDTH: i32 = 520;
/// From one line about them to the next.
const WHOLE_PITCH: i32 = 20;

/// Something that costs users when it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeakPoint {
    /// The server it is on; `None` for the whole design.
    pub server: Option<ServerName>,
    /// The role it is about; `None` for the whole server or the whole design.
    pub role: Option<Role>,
    /// What it is, in a few words. Long ones are cut.
    pub label: String,
}

/// Roles that only one server carries: when it dies, nobody else does its work.
pub fn single_carriers(design: &Design) -> Vec<WeakPoint> {
    let single = |role| match design.carriers(role)[..] {
        [server] => Some((server, role)),
        _ => None,
    };
    [Role::Dns, Role::Balancer, Role::Web, Role::App, Role::Database]
        .into_iter()
        .filter_map(single)
        .map(|(server, role)| WeakPoint {
            server: Some(server.clone()),
            role: Some(role),
            label: "single point of failure".to_owned(),
        })
        .collect()
}

/// The picture of `design` with `weak` marked in it: a whole SVG file, UTF-8, for light and dark pages.
///
/// A weak point of a server or role that the design does not have is listed below the servers, like one of the whole
/// design.
pub fn draw(design: &Design, weak: &[WeakPoint]) -> String {
    let (rows, nets) = (topology::rows(design), topology::nets(design));
    let cards: Vec<Card> = design.servers.iter().map(|server| Card::of(design, server, weak)).collect();
    let heading = Heading::of(design, legend(design, &nets, &cards, weak));
    let mut frames = columns(&rows, &cards);
    frames.insert(Node::User, heading.user());
    let channels = route::channels(&rows, &nets, &frames);
    let tops = stack(&rows, &channels, heading.height(), &mut frames);

    let mut scene = Scene::new();
    let left = frames.values().map(|frame| frame.x).min().unwrap_or_default();
    heading.draw(left, &mut scene);
    for net in nets.iter().enumerate() {
        line::draw(&channels, &tops, net, &frames, &mut scene);
    }
    for (index, card) in cards.iter().enumerate() {
        card.draw(frames[&Node::Server(index)], &mut scene);
    }
    draw_whole(design, weak, &mut scene);
    scene.finish(&words::title(design), &words::description(design, &nets, weak), MARGIN)
}

/// What stands in the picture and wants a word.
fn legend(design: &Design, nets: &[Net], cards: &[Card], weak: &[WeakPoint]) -> Vec<Sign> {
    let shown = [
        (Sign::Encrypted, nets.iter().any(|net| net.encrypted)),
        // DNS is always there, and always plain.
        (Sign::Plain, true),
        (Sign::Within, cards.iter().any(Card::passes_within)),
        (Sign::Firewall, design.firewall.is_some()),
        (Sign::Monitored, design.monitor.is_some()),
        (Sign::Weak, !weak.is_empty()),
    ];
    shown.into_iter().filter(|(_, shown)| *shown).map(|(sign, _)| sign).collect()
}

/// Every server beside its neighbours, rows centred on x 0: all of one width, those of a row of one height.
fn columns(rows: &[Vec<Node>], cards: &[Card]) -> Frames {
    let width = cards.iter().map(Card::width).max().unwrap_or_default();
    let width = width + width % 2;
    let mut frames = Frames::new();
    for row in rows {
        let servers = || row.iter().filter_map(|node| if let Node::Server(index) = node { Some(*index) } else { None });
        let height = servers().map(|index| cards[index].height()).max().unwrap_or_default();
        let count = i32::try_from(servers().count()).expect("a handful of servers");
        let mut x = -(count * (width + SERVER_GAP) - SERVER_GAP) / 2;
        for index in servers() {
            frames.insert(Node::Server(index), Rect { x, y: 0, width, height });
            x += width + SERVER_GAP;
        }
    }
    frames
}

/// Puts rows below each other, a channel after each; where the channels start.
fn stack(rows: &[Vec<Node>], channels: &[Channel], first_height: i32, frames: &mut Frames) -> Vec<i32> {
    let mut tops = Vec::new();
    let mut y = 0;
    for (row, channel) in rows.iter().zip(channels) {
        let mut height = first_height;
        for node in row.iter().filter(|node| **node != Node::User) {
            let frame = frames.get_mut(node).expect("every node has a frame");
            frame.y = y;
            height = frame.height;
        }
        y += height;
        tops.push(y);
        y += channel.height();
    }
    tops
}

/// Below everything: weak points that belong to no server of the picture.
fn draw_whole(design: &Design, weak: &[WeakPoint], scene: &mut Scene) {
    let on_a_server = |point: &&WeakPoint| point.server.as_ref().is_some_and(|name| design.server(name).is_some());
    let points: Vec<&WeakPoint> = weak.iter().filter(|point| !on_a_server(point)).collect();
    if points.is_empty() {
        return;
    }
    let font = Font::new(12, Paint::Weak);
    let (x, mut y) = (scene.bounds().x, scene.bounds().bottom() + 44);
    scene.text(x, y, Font::new(14, Paint::Ink).bold(), "Of the whole design");
    for point in points {
        let lines = text::wrap(&words::weak_point(point), font.size, WHOLE_WIDTH);
        for (index, line) in lines.iter().enumerate() {
            y += WHOLE_PITCH;
            if index == 0 {
                mark::warning(scene, x + 8, y - 3);
            }
            scene.text(x + 24, y + 2, font, line);
        }
    }
}
