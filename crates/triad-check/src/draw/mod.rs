//! The whiteboard as a picture: [`draw`] makes an SVG of a design.
//!
//! From top to bottom: the user with DNS beside, the servers users reach, those behind them, the data. `topology` says
//! what stands in which row and what is joined to what; `server` and `heading` know how large things are and draw them;
//! `route` finds a way for every line and `line` draws it; `scene` is the file.
//!
//! Invariants: no text lies upon another text, an edge or a line, in any font up to the width of DejaVu Sans;
//! colour is never the only sign; the file refers to nothing outside itself and contains no script.

mod findings;
mod heading;
mod line;
mod mark;
mod route;
mod scene;
mod server;
mod text;
mod topology;
mod words;

use triad_model::Design;

use crate::findings::Reported;
use findings::Mark;
use heading::{Heading, Sign};
use route::{Channel, Frames};
use scene::{Rect, Scene};
use server::Card;
use topology::{Net, Node};

pub use text::text_width;

/// Around the picture, in pixels.
const MARGIN: i32 = 32;
/// Between servers of a row.
const SERVER_GAP: i32 = 56;
/// The picture of `design` with `found` marked in it, less what the design allows: a whole SVG file, UTF-8, for light
/// and dark pages. Each finding has a number, at its places and in a list below.
pub fn draw(design: &Design, found: &[Reported]) -> String {
    let (rows, nets, marks) = (topology::rows(design), topology::nets(design), findings::marks(design, found));
    let cards: Vec<Card<'_>> = design.servers.iter().map(|server| Card::of(design, server, &marks)).collect();
    let heading = Heading::of(design, legend(design, &nets, &cards, &marks));
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
    findings::draw_list(&marks, &mut scene);
    scene.finish(&words::title(design), &words::description(design, &nets, &marks), MARGIN)
}

/// What stands in the picture and wants a word.
fn legend(design: &Design, nets: &[Net], cards: &[Card<'_>], marks: &[Mark]) -> Vec<Sign> {
    let shown = [
        (Sign::Encrypted, nets.iter().any(|net| net.encrypted)),
        // DNS is always there, and always plain.
        (Sign::Plain, true),
        (Sign::Within, cards.iter().any(Card::passes_within)),
        (Sign::Firewall, design.firewall.is_some()),
        (Sign::Monitored, design.monitor.is_some()),
        (Sign::Weak, marks.iter().any(|mark| !mark.is_note())),
        (Sign::Note, marks.iter().any(Mark::is_note)),
    ];
    shown.into_iter().filter(|(_, shown)| *shown).map(|(sign, _)| sign).collect()
}

/// Every server beside its neighbours, rows centred on x 0: all of one width, those of a row of one height.
fn columns(rows: &[Vec<Node>], cards: &[Card<'_>]) -> Frames {
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
