//! Lines between servers. The space between two rows is a *channel*; traffic of one kind runs there on a horizontal
//! *track*, and a *stem* joins the track to each server it comes from or leads to. Traffic between rows that are not
//! neighbours takes a track in several channels, joined by a *trunk* beside all servers.
//!
//! Invariants: a channel's stems stay within the width of their servers and its trunks are right of all of them, so no
//! line passes through a server; labels stand where no stem passes, so no line passes through text.

use std::collections::{BTreeMap, BTreeSet};

use super::line::share_width;
use super::scene::Rect;
use super::topology::{Net, Node};

/// From a row to the first track below it, its label included.
const ABOVE: i32 = 42;
/// From one track to the next.
const PITCH: i32 = 38;
/// From the last track to the next row.
const BELOW: i32 = 40;
/// What a channel is higher where shares stand on a side of it.
const SHARE_LANE: i32 = 26;
/// A channel without traffic.
const EMPTY: i32 = 40;
/// Between a server's edge and the first place for a stem.
const SIDE: i32 = 16;
/// Room for a stem without a share.
const STEM: i32 = 16;
/// From all servers to the first trunk, and from one trunk to the next.
const TRUNK_FIRST: i32 = 30;
const TRUNK_PITCH: i32 = 22;
/// Stems of different traffic that are nearer than this look like one line.
const TOO_NEAR: i32 = 8;
/// A stem that looks like another is moved by this.
const MOVE: i32 = 11;

/// Where nodes stand: filled in row by row, `y` and `height` once they are known.
pub type Frames = BTreeMap<Node, Rect>;

/// Whether a stem is below its server or above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It starts at the server's lower edge.
    Below,
    /// It ends at the server's upper edge.
    Above,
}

/// A line from a server to a track.
#[derive(Clone, Debug)]
pub struct Stem {
    net: usize,
    /// The server.
    pub node: Node,
    /// Where it meets the server.
    pub side: Side,
    /// Whether traffic arrives here.
    pub arrives: bool,
    /// Which part of the traffic arrives.
    pub share: Option<String>,
    /// Where it stands.
    pub x: i32,
}

impl Stem {
    /// Room it takes at its server.
    fn room(&self) -> i32 {
        self.share.as_deref().map_or(STEM, share_width)
    }
}

/// The space below one row and above the next.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// Nets with a track here, the uppermost first.
    order: Vec<usize>,
    stems: Vec<Stem>,
    /// Where the nets' trunks are, for those that have one.
    trunks: BTreeMap<usize, i32>,
    /// Where the first trunk of all is, if there is one: it may pass without joining a track here.
    pub first_trunk: Option<i32>,
}

/// A channel below each row.
pub fn channels(rows: &[Vec<Node>], nets: &[Net], frames: &Frames) -> Vec<Channel> {
    let row_of = |node: Node| rows.iter().position(|row| row.contains(&node)).unwrap_or_default();
    let used: Vec<BTreeSet<usize>> = nets.iter().map(|net| crossed(&net.nodes().map(row_of).collect())).collect();
    let mut trunk_x = frames.values().map(|frame| frame.right()).max().unwrap_or_default() + TRUNK_FIRST;
    let first_trunk = used.iter().any(|used| used.len() > 1).then_some(trunk_x);
    let mut channels: Vec<Channel> = rows.iter().map(|_| Channel { first_trunk, ..Channel::default() }).collect();
    for (index, (net, used)) in nets.iter().zip(&used).enumerate() {
        for row in used {
            channels[*row].order.push(index);
            if used.len() > 1 {
                channels[*row].trunks.insert(index, trunk_x);
            }
        }
        trunk_x += if used.len() > 1 { TRUNK_PITCH } else { 0 };
        for (node, arrives, share) in net.ends() {
            let row = row_of(node);
            let side = side(row, arrives, used);
            let channel = if side == Side::Below { row } else { row - 1 };
            channels[channel].stems.push(Stem { net: index, node, side, arrives, share, x: 0 });
        }
    }
    for channel in &mut channels {
        channel.arrange(frames);
    }
    channels
}

/// The fewest channels that touch all `rows`, each by the row above it.
fn crossed(rows: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut channels = BTreeSet::new();
    for row in rows {
        let above = row.checked_sub(1);
        if above.is_some_and(|above| channels.contains(&above)) {
            continue;
        }
        // Up, where the net already is; down, where it starts or goes on.
        let below = channels.is_empty() || rows.contains(&(row + 1));
        channels.insert(above.filter(|_| !below).unwrap_or(*row));
    }
    channels
}

/// Where traffic meets a server of `row`: it leaves below and arrives above, if its net has a track there.
fn side(row: usize, arrives: bool, used: &BTreeSet<usize>) -> Side {
    let above = row > 0 && used.contains(&(row - 1));
    if above && (arrives || !used.contains(&row)) { Side::Above } else { Side::Below }
}

impl Channel {
    /// The height it needs.
    pub fn height(&self) -> i32 {
        let Ok(tracks @ 1..) = i32::try_from(self.order.len()) else { return EMPTY };
        self.lane(Side::Below) + ABOVE + (tracks - 1) * PITCH + BELOW + self.lane(Side::Above)
    }

    /// Room for shares next to the servers on that side of their stems.
    fn lane(&self, side: Side) -> i32 {
        let shares = self.stems.iter().any(|stem| stem.side == side && stem.share.is_some());
        if shares { SHARE_LANE } else { 0 }
    }

    /// Puts tracks into the order in which lines cross the least, and every stem at its place.
    fn arrange(&mut self, frames: &Frames) {
        let mut best: Option<(usize, Self)> = None;
        for order in permutations(&self.order) {
            let mut candidate = Self { order, ..self.clone() };
            candidate.place_stems(frames);
            let cost = candidate.crossings();
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, candidate));
            }
        }
        if let Some((_, best)) = best {
            *self = best;
            self.straighten();
            self.part_stems(frames);
        }
    }

    fn track(&self, net: usize) -> usize {
        self.order.iter().position(|other| *other == net).unwrap_or_default()
    }

    /// Spreads the stems of each side of each server so that they do not cross on their way to their tracks.
    fn place_stems(&mut self, frames: &Frames) {
        let mut sides: BTreeMap<(Node, Side), Vec<usize>> = BTreeMap::new();
        for (index, stem) in self.stems.iter().enumerate() {
            sides.entry((stem.node, stem.side)).or_default().push(index);
        }
        for ((node, _), mut indexes) in sides {
            let frame = frames[&node];
            indexes.sort_by_key(|index| self.nesting(&self.stems[*index], frames));
            let rooms: i32 = indexes.iter().map(|index| self.stems[*index].room()).sum();
            let gaps = i32::try_from(indexes.len()).expect("a handful of stems") + 1;
            let gap = (frame.width - 2 * SIDE - rooms) / gaps;
            let mut x = frame.x + SIDE;
            for index in indexes {
                let room = self.stems[index].room();
                self.stems[index].x = x + gap + room / 2;
                x += gap + room;
            }
            self.center_alone(node, frame);
        }
    }

    /// A stem alone on its side stands in the middle, to the pixel.
    fn center_alone(&mut self, node: Node, frame: Rect) {
        for side in [Side::Below, Side::Above] {
            let mut stems = self.stems.iter_mut().filter(|stem| stem.node == node && stem.side == side);
            if let (Some(stem), None) = (stems.next(), stems.next()) {
                stem.x = frame.center_x();
            }
        }
    }

    /// Order of stems on one side of a server, from left to right: lines that turn left, those that do not turn, those
    /// that turn right; of those that turn the same way, the one with the nearest track outermost.
    fn nesting(&self, stem: &Stem, frames: &Frames) -> (i32, i32) {
        let own = frames[&stem.node].center_x();
        let others = self.stems_of(stem.net).filter(|other| other.node != stem.node);
        let toward = others.map(|other| frames[&other.node].center_x()).chain(self.trunk(stem.net));
        let turn = toward.map(|x| x - own).sum::<i32>().signum();
        let track = i32::try_from(self.track(stem.net)).expect("a handful of tracks");
        let distance = if stem.side == Side::Below { track } else { -track };
        (turn, if turn > 0 { -distance } else { distance })
    }

    /// Whether `net` has a track here.
    pub fn carries(&self, net: usize) -> bool {
        self.order.contains(&net)
    }

    /// The stems of `net`.
    pub fn stems_of(&self, net: usize) -> impl Iterator<Item = &Stem> {
        self.stems.iter().filter(move |stem| stem.net == net)
    }

    /// Where the trunk of `net` is, if it has one.
    pub fn trunk(&self, net: usize) -> Option<i32> {
        self.trunks.get(&net).copied()
    }

    /// Stems that pass the space just above the track of `net`, where its label is, from left to right.
    pub fn beside_label(&self, net: usize) -> Vec<i32> {
        let track = self.track(net);
        let passes = |stem: &&Stem| match stem.side {
            Side::Below => self.track(stem.net) >= track,
            Side::Above => self.track(stem.net) < track,
        };
        let mut passing: Vec<i32> = self.stems.iter().filter(passes).map(|stem| stem.x).collect();
        passing.sort_unstable();
        passing
    }

    /// Leftmost and rightmost place where the track of `net` is joined.
    pub fn extent(&self, net: usize) -> (i32, i32) {
        let joined: Vec<i32> = self.stems_of(net).map(|stem| stem.x).chain(self.trunk(net)).collect();
        (joined.iter().copied().min().unwrap_or_default(), joined.iter().copied().max().unwrap_or_default())
    }

    /// How often stems cross tracks; stems that would look like one line count as many.
    fn crossings(&self) -> usize {
        let mut count = 0;
        for (index, stem) in self.stems.iter().enumerate() {
            let own = self.track(stem.net);
            for (track, net) in self.order.iter().enumerate() {
                let passed = if stem.side == Side::Below { track < own } else { track > own };
                let (left, right) = self.extent(*net);
                count += usize::from(passed && left <= stem.x && stem.x <= right);
            }
            count += 100 * usize::from(self.covers_another(index, stem.x));
        }
        count
    }

    /// Whether the stem, at `x`, would lie upon one of other traffic that comes from the other side.
    fn covers_another(&self, index: usize, x: i32) -> bool {
        let stem = &self.stems[index];
        self.stems.iter().any(|other| {
            let (above, below) = if stem.side == Side::Below { (stem, other) } else { (other, stem) };
            other.side != stem.side
                && other.net != stem.net
                && (other.x - x).abs() < TOO_NEAR
                && self.track(above.net) > self.track(below.net)
        })
    }

    /// Makes one straight line of two stems of one net that almost are.
    fn straighten(&mut self) {
        for index in 0..self.stems.len() {
            let stem = &self.stems[index];
            let near = |other: &&Stem| other.side == Side::Below && (other.x - stem.x).abs() < TOO_NEAR;
            let straight = self.stems_of(stem.net).find(near).map(|other| other.x);
            if let (Side::Above, Some(x)) = (stem.side, straight) {
                self.stems[index].x = x;
            }
        }
    }

    /// Moves stems that lie upon others to the side.
    fn part_stems(&mut self, frames: &Frames) {
        for index in 0..self.stems.len() {
            let x = self.stems[index].x;
            if !self.covers_another(index, x) {
                continue;
            }
            let frame = frames[&self.stems[index].node];
            let free = |moved: &i32| {
                (frame.x + SIDE..frame.right() - SIDE).contains(moved) && !self.covers_another(index, *moved)
            };
            if let Some(moved) = [x + MOVE, x - MOVE, x + 2 * MOVE, x - 2 * MOVE].into_iter().find(free) {
                self.stems[index].x = moved;
            }
        }
    }

    /// Where the track of `net` is, in a channel that starts at `top`.
    pub fn track_y(&self, net: usize, top: i32) -> i32 {
        let track = i32::try_from(self.track(net)).expect("a handful of tracks");
        top + self.lane(Side::Below) + ABOVE + track * PITCH
    }
}

/// All orders of a handful of things.
fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let others: Vec<usize> = items.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, it)| *it).collect();
        all.extend(permutations(&others).into_iter().map(|mut order| {
            order.insert(0, *item);
            order
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Channel, Frames, channels};
    use crate::draw::scene::Rect;
    use crate::draw::topology::{Arrival, Net, Node};

    fn net(from: usize, to: usize) -> Net {
        let to = vec![Arrival { node: Node::Server(to), share: None }];
        Net { label: String::new(), encrypted: false, from: vec![Node::Server(from)], to }
    }

    /// The channels of `nets` between servers one below the other.
    fn column(servers: usize, nets: &[Net]) -> Vec<Channel> {
        let rows: Vec<Vec<Node>> = (0..servers).map(|index| vec![Node::Server(index)]).collect();
        let frames: Frames = rows.iter().map(|row| (row[0], Rect { x: 0, y: 0, width: 200, height: 100 })).collect();
        channels(&rows, nets, &frames)
    }

    fn carried(channels: &[Channel], net: usize) -> Vec<bool> {
        channels.iter().map(|channel| channel.carries(net)).collect()
    }

    #[test]
    fn neighbours_need_no_trunk() {
        let channels = column(3, &[net(0, 1), net(2, 1)]);
        assert_eq!(carried(&channels, 0), [true, false, false]);
        assert_eq!(carried(&channels, 1), [false, true, false]);
        assert!(channels.iter().all(|channel| channel.first_trunk.is_none()));
    }

    /// Labels end before it everywhere.
    #[test]
    fn a_trunk_passes_channels_in_which_its_net_has_no_track() {
        let channels = column(4, &[net(0, 3), net(1, 2)]);
        assert_eq!(carried(&channels, 0), [true, false, true, false]);
        assert_eq!(channels[1].trunk(0), None);
        assert!(channels.iter().all(|channel| channel.first_trunk == channels[0].trunk(0)));
    }

    /// Going down, the line that turns first is the outer one.
    #[test]
    fn lines_between_neighbours_nest() {
        let nodes = [Node::Server(0), Node::Server(1)];
        let frame = |x| Rect { x, y: 0, width: 200, height: 100 };
        let frames = Frames::from([(nodes[0], frame(0)), (nodes[1], frame(300))]);
        let channels = channels(&[nodes.to_vec()], &[net(0, 1), net(1, 0)], &frames);
        assert_eq!(channels[0].crossings(), 0);
        let (inner, outer) = (channels[0].extent(0), channels[0].extent(1));
        assert!(outer.0 < inner.0 && inner.1 < outer.1, "{inner:?} {outer:?}");
    }
}
