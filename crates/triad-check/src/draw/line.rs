//! Traffic of one kind, drawn: its tracks with stems and label, its trunk.
//!
//! Encrypted traffic is a solid line with a lock at its label; plain traffic is dashed and its label says so.

use super::mark;
use super::route::{Channel, Frames, Side, Stem};
use super::scene::{Font, Paint, Rect, Scene};
use super::topology::Net;

const SHARE: Font = Font::new(11, Paint::Ink).middle();

/// Radius of a corner.
const CORNER: i32 = 9;
/// Height of a share's plate, and its distance from the server.
const SHARE_HEIGHT: i32 = 18;
const SHARE_DISTANCE: i32 = 16;
/// Between a label and the lines beside it.
const LABEL_SPACE: i32 = 10;
/// A label farther than this from its track has a line that leads to it.
const LABEL_APART: i32 = 16;
/// From a label's baseline to its track.
const LABEL_RISE: i32 = 7;
/// Free space where nothing bounds it.
const FAR: i32 = 100_000;

/// Room a share takes, its plate included.
pub fn share_width(share: &str) -> i32 {
    SHARE.width(share) + 14
}

/// Draws all of `net`, the `index`-th; `tops` says where each channel starts.
pub fn draw(channels: &[Channel], tops: &[i32], (index, net): (usize, &Net), frames: &Frames, scene: &mut Scene) {
    let mut tracks: Vec<Track<'_>> = channels
        .iter()
        .zip(tops)
        .filter(|(channel, _)| channel.carries(index))
        .map(|(channel, top)| Track::new(channel, *top, index, net))
        .collect();
    let last = tracks.len().saturating_sub(1);
    scene.open(if net.encrypted { "encrypted" } else { "plain" });
    for (at, track) in tracks.iter_mut().enumerate() {
        if at == 0 && last > 0 {
            track.trunk_turns = 1;
        } else if at == last {
            track.trunk_turns = -1;
        }
        track.draw_label(&net.label, scene);
        track.draw(frames, scene);
    }
    if let [first, .., last] = &tracks[..]
        && let Some(x) = first.channel.trunk(index)
    {
        scene.line(&format!("M{x} {}V{}", first.y + CORNER, last.y - CORNER), first.paint);
        scene.cover(Rect { x, y: first.y, width: 1, height: last.y - first.y });
    }
    scene.close();
}

/// The part of a net that is in one channel.
struct Track<'c> {
    channel: &'c Channel,
    net: usize,
    stems: Vec<&'c Stem>,
    paint: Paint,
    left: i32,
    right: i32,
    y: i32,
    /// Where the trunk goes from here: 1 down, -1 up, 0 both ways.
    trunk_turns: i32,
}

impl<'c> Track<'c> {
    fn new(channel: &'c Channel, top: i32, index: usize, net: &Net) -> Self {
        let (left, right) = channel.extent(index);
        Self {
            channel,
            net: index,
            stems: channel.stems_of(index).collect(),
            paint: if net.encrypted { Paint::Sealed } else { Paint::Plain },
            left,
            right,
            y: channel.track_y(index, top),
            trunk_turns: 0,
        }
    }

    /// Puts the label into the free space nearest to the middle of the track.
    fn draw_label(&mut self, label: &str, scene: &mut Scene) {
        let font = Font::new(12, self.paint);
        let lock = if self.paint == Paint::Sealed { mark::LOCK_WIDTH } else { 0 };
        let width = font.width(label) + lock;
        let left = self.label_left(width);
        if left > self.right + LABEL_APART {
            self.right = left + width;
        } else if left + width < self.left - LABEL_APART {
            self.left = left;
        }
        let y = self.y - LABEL_RISE;
        if lock > 0 {
            mark::lock(scene, left, y);
        }
        scene.text(left + lock, y, font, label);
    }

    fn label_left(&self, width: i32) -> i32 {
        let passing = self.channel.beside_label(self.net);
        let starts = std::iter::once(-FAR).chain(passing.iter().copied());
        let ends = passing.iter().copied().chain([self.channel.first_trunk.unwrap_or(FAR)]);
        let wanted = (self.left + self.right - width) / 2;
        let free = starts.zip(ends).map(|(start, end)| (start + LABEL_SPACE, end - LABEL_SPACE - width));
        free.filter(|(first, last)| first <= last)
            .map(|(first, last)| wanted.clamp(first, last))
            .min_by_key(|left| ((left - wanted).abs(), -left))
            .expect("there is no bound on the left")
    }

    fn draw(&self, frames: &Frames, scene: &mut Scene) {
        self.draw_track(scene);
        for stem in &self.stems {
            let rounded = self.radius() > 0
                && ((stem.x == self.left && self.turn_left() != 0) || (stem.x == self.right && self.turn_right() != 0));
            self.draw_stem(stem, if rounded { self.radius() } else { 0 }, frames, scene);
            if !rounded && self.left < self.right {
                scene.dot(stem.x, self.y, 3, self.paint);
            }
        }
    }

    fn draw_track(&self, scene: &mut Scene) {
        let Self { left, right, y, .. } = *self;
        if left == right {
            return;
        }
        let radius = self.radius();
        let start = match self.turn_left() {
            0 => format!("M{left} {y}"),
            turn => format!("M{left} {}Q{left} {y} {} {y}", y + turn * radius, left + radius),
        };
        let end = match self.turn_right() {
            0 => format!("H{right}"),
            turn => format!("H{}Q{right} {y} {right} {}", right - radius, y + turn * radius),
        };
        scene.line(&(start + &end), self.paint);
    }

    fn radius(&self) -> i32 {
        CORNER.min((self.right - self.left) / 2)
    }

    /// Which way the line goes on at the left end: 1 down, -1 up, 0 not at all or both ways.
    fn turn_left(&self) -> i32 {
        self.turn_at(self.left)
    }

    /// The same at the right end, where the trunk is if there is one.
    fn turn_right(&self) -> i32 {
        if self.channel.trunk(self.net) == Some(self.right) { self.trunk_turns } else { self.turn_at(self.right) }
    }

    fn turn_at(&self, x: i32) -> i32 {
        let mut here = self.stems.iter().filter(|stem| stem.x == x);
        match (here.next(), here.next()) {
            (Some(stem), None) if stem.side == Side::Above => 1,
            (Some(_), None) => -1,
            _ => 0,
        }
    }

    /// From the server to the track, or to the corner that leads into it.
    fn draw_stem(&self, stem: &Stem, corner: i32, frames: &Frames, scene: &mut Scene) {
        let frame = frames[&stem.node];
        // From the server towards the track.
        let (edge, away) = if stem.side == Side::Below { (frame.bottom(), 1) } else { (frame.y, -1) };
        let (x, end) = (stem.x, self.y - away * corner);
        let mut start = edge;
        if stem.arrives {
            let arrow = if away > 0 { mark::arrow_up } else { mark::arrow_down };
            arrow(scene, x, edge, self.paint);
            start += away * (mark::LENGTH - 1);
        }
        if let Some(share) = &stem.share {
            let near = edge + away * SHARE_DISTANCE;
            scene.line(&format!("M{x} {start}V{near}"), self.paint);
            self.draw_share(share, x, near.min(near + away * SHARE_HEIGHT), scene);
            start = near + away * SHARE_HEIGHT;
        }
        scene.line(&format!("M{x} {end}V{start}"), self.paint);
    }

    fn draw_share(&self, share: &str, x: i32, y: i32, scene: &mut Scene) {
        let width = share_width(share);
        let plate = Rect { x: x - width / 2, y, width, height: SHARE_HEIGHT };
        scene.rect(plate, SHARE_HEIGHT / 2, Paint::Page, self.paint);
        scene.text(x, y + 13, SHARE, share);
    }
}
