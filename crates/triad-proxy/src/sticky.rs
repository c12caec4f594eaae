//! Users that stay where they were answered first, by a cookie.
//!
//! Where that is may take several stations: a server, an application server behind it, an instance. Fronts keep them in
//! the cookie, a pseudonym each. An edge behind a front is told in [`STICKY`] which stations are left, and answers in
//! the same field with those that were gone to, so that it needs neither key nor configuration.
//!
//! Invariants: neither users nor applications see that field, or have a say in it; no application sees the cookie, or
//! sets it.

use std::sync::Arc;

use triad_http1::{Fields, HeadWriter};
use triad_model::Secret;
use triad_tls::{KeyPair, PSEUDONYM_BYTES, Pseudonym, Pseudonyms, TlsError};

use crate::balance::cookie;
use crate::plan::StickyPlan;

/// Between edges only.
pub(crate) const STICKY: &str = "triad-sticky";
/// What stands there where there is no station to name.
const ANYWHERE: &str = "*";
/// The longest way: a server with the web role, an application server, an instance.
const STATIONS_MAX: usize = 3;
const DIGITS: usize = 2 * PSEUDONYM_BYTES;
/// Only over HTTPS, not for scripts, not with what other sites embed; until the browser's session ends.
const ATTRIBUTES: &[u8] = b"; Path=/; HttpOnly; Secure; SameSite=Lax";

/// The stations of a way, the nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail(Vec<Arc<str>>);

/// What a front knows.
#[derive(Debug)]
pub(crate) struct Sticky {
    cookie: String,
    /// Every station of the design.
    names: Vec<(Arc<str>, Pseudonym)>,
}

/// How one request sticks.
#[derive(Debug)]
pub(crate) struct Sticking<'a> {
    /// `None` behind a front.
    front: Option<&'a Sticky>,
    /// Where the user belongs, as seen from here.
    home: Trail,
}

impl Trail {
    /// Adds a station, if it can be one.
    pub fn push(&mut self, name: Arc<str>) {
        if self.0.len() < STATIONS_MAX {
            self.0.push(name);
        }
    }

    /// Adds those that another edge names.
    fn push_told(&mut self, value: &[u8]) {
        let names = std::str::from_utf8(value).unwrap_or_default().split(',').map(str::trim);
        names.filter(|name| !name.is_empty() && *name != ANYWHERE).for_each(|name| self.push(name.into()));
    }

    /// What is left of it behind the stations `gone`; nothing if it goes elsewhere.
    pub fn behind<'t>(&'t self, gone: impl Iterator<Item = &'t Arc<str>>) -> &'t [Arc<str>] {
        let mut left = self.0.as_slice();
        for station in gone {
            left = left.split_first().filter(|(first, _)| *first == station).map_or(&[], |(_, left)| left);
        }
        left
    }
}

impl Sticky {
    /// By `plan`, signed with what follows from the site's key.
    pub fn of(plan: &StickyPlan, pair: Option<&KeyPair>) -> Result<Self, TlsError> {
        let none = || KeyPair { certificate_pem: String::new(), key_pem: Secret::new("") };
        let pseudonyms = Pseudonyms::new(pair.unwrap_or(&none()))?;
        let names = plan.stations.iter().map(|name| (name.as_str().into(), pseudonyms.of(name)));
        Ok(Self { cookie: plan.cookie.clone(), names: names.collect() })
    }

    /// Where the user belongs whose request has `fields`: as far as the cookie is ours and the design as it was.
    fn home(&self, fields: &Fields, bytes: &[u8]) -> Trail {
        let value = cookies(fields, bytes).find_map(|value| cookie(value, &self.cookie)).unwrap_or_default();
        let names = value.chunks(DIGITS).take(STATIONS_MAX).map_while(|digits| self.name(digits));
        Trail(names.cloned().collect())
    }

    fn name(&self, digits: &[u8]) -> Option<&Arc<str>> {
        let wanted = pseudonym(digits)?;
        self.names.iter().find(|(_, pseudonym)| *pseudonym == wanted).map(|(name, _)| name)
    }

    /// Whether a request's `fields` have the cookie.
    pub fn is_in(&self, fields: &Fields, bytes: &[u8]) -> bool {
        cookies(fields, bytes).any(|value| cookie(value, &self.cookie).is_some())
    }

    /// Whether a field of a backend's answer sets the cookie, which is for us alone to do.
    pub fn is_set_by(&self, name: &[u8], value: &[u8]) -> bool {
        name.eq_ignore_ascii_case(b"set-cookie") && cookie(value, &self.cookie).is_some()
    }

    /// Writes the other cookies of a request.
    pub fn write_others(&self, writer: &mut HeadWriter<'_>, fields: &Fields, bytes: &[u8]) {
        for value in cookies(fields, bytes) {
            let mut parts: Vec<&[u8]> = Vec::new();
            let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            for pair in pairs.filter(|pair| !pair.is_empty() && cookie(pair, &self.cookie).is_none()) {
                parts.extend((!parts.is_empty()).then_some(b"; ".as_slice()));
                parts.push(pair);
            }
            if !parts.is_empty() {
                writer.field("cookie", &parts);
            }
        }
    }

    /// Writes the cookie for who was answered on `trail`, as far as all its stations are known. Who has it must not be
    /// in an answer that others get as well.
    fn write(&self, writer: &mut HeadWriter<'_>, trail: &Trail) {
        let pseudonym = |station: &Arc<str>| self.names.iter().find(|(name, _)| name == station).map(|(_, it)| it);
        let mut value = Vec::with_capacity(STATIONS_MAX * DIGITS);
        for Pseudonym(bytes) in trail.0.iter().map_while(pseudonym) {
            bytes.iter().for_each(|byte| value.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]));
        }
        writer.field("set-cookie", &[self.cookie.as_bytes(), b"=", &value, ATTRIBUTES]);
        writer.field("cache-control", &[b"private"]);
    }
}

impl<'a> Sticking<'a> {
    /// Of a request from the world, with the `front`'s knowledge, or else of one that another edge sent, if that wants
    /// to know.
    pub fn of(front: Option<&'a Sticky>, is_hop: bool, fields: &Fields, bytes: &[u8]) -> Option<Self> {
        if let Some(sticky) = front {
            return Some(Self { front, home: sticky.home(fields, bytes) });
        }
        let told = fields.find(bytes, STICKY).filter(|_| is_hop)?;
        let mut home = Trail::default();
        home.push_told(told.of_bytes(bytes));
        Some(Self { front, home })
    }

    /// The station that the user belongs to behind those `gone`.
    pub fn next<'t>(&'t self, gone: impl Iterator<Item = &'t Arc<str>>) -> Option<&'t Arc<str>> {
        self.home.behind(gone).first()
    }

    /// The field that tells an edge where the user belongs, which is behind the stations `gone`.
    pub fn tell<'t>(&'t self, gone: impl Iterator<Item = &'t Arc<str>>) -> Vec<u8> {
        line(self.home.behind(gone))
    }

    /// Says in an answer's head where it came from: `gone`, then what the edge there said.
    pub fn write<'t>(
        &self,
        writer: &mut HeadWriter<'_>,
        gone: impl Iterator<Item = &'t Arc<str>>,
        told: Option<&[u8]>,
    ) {
        let mut trail = Trail::default();
        gone.for_each(|station| trail.push(station.clone()));
        trail.push_told(told.unwrap_or_default());
        match self.front {
            Some(_) if trail == self.home => {}
            Some(sticky) => sticky.write(writer, &trail),
            None => writer.line(&line(&trail.0)),
        }
    }
}

fn line(stations: &[Arc<str>]) -> Vec<u8> {
    let stations = if stations.is_empty() { ANYWHERE.to_owned() } else { stations.join(",") };
    format!("{STICKY}: {stations}\r\n").into_bytes()
}

/// The values of all Cookie fields; HTTP/1.1 allows one, and not everybody keeps to that.
fn cookies<'a>(fields: &'a Fields, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let all = fields.iter(bytes).filter(|(_, name, _)| name.eq_ignore_ascii_case(b"cookie"));
    all.map(|(_, _, value)| value)
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

fn pseudonym(digits: &[u8]) -> Option<Pseudonym> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.len() == DIGITS)?;
    let mut bytes = [0; PSEUDONYM_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * index..2 * index + 2).filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Pseudonym(bytes))
}
