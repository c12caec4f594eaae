//! Reports as one page that needs nothing else: a table, and a timeline for each drill.

use std::fmt::Write;

use crate::judge::{Report, seconds};
use crate::sample::Sample;

/// Width of a step of the timeline, in milliseconds.
const BUCKET_MS: u64 = 250;
/// The picture, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 24.0;
/// Height of a row of events' names above the curve.
const ROW: f64 = 15.0;
/// Width of a letter of an event's name, about.
const LETTER: f64 = 6.4;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --paper: #ffffff; --line: #d9dee7; --good: #2f7d5b;
  --good-fill: #2f7d5b33; --bad: #c4372c; --mark: #3b5bdb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --paper: #14181f; --line: #2d3442;
  --good: #5fc79a; --good-fill: #5fc79a33; --bad: #ff7a6e; --mark: #8ea6ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .2rem; } p { margin: .2rem 0 .8rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--dim); } td.n, th.n { text-align: right; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; display: block; } svg text { font: 11px system-ui, sans-serif; fill: var(--dim); }
.answers { fill: var(--good-fill); stroke: var(--good); stroke-width: 1.5; } .failures { fill: var(--bad); }
.axis { stroke: var(--line); } .event { stroke: var(--mark); stroke-dasharray: 3 3; } svg .name { fill: var(--mark); }
a { color: var(--mark); } .legend { color: var(--dim); font-size: .9rem; }
";

/// A page of all reports.
pub fn page(reports: &[Report]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Drills</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>Drills</h1>\n"
    );
    page.push_str(&overview(reports));
    for (index, report) in reports.iter().enumerate() {
        page.push_str(&section(index, report));
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn overview(reports: &[Report]) -> String {
    let mut text = String::from(
        "<table>\n<tr><th>drill</th><th class=\"n\">requests</th><th class=\"n\">failed</th><th class=\"n\">longest \
         gap</th><th class=\"n\">lost writes</th><th>verdict</th></tr>\n",
    );
    for (index, report) in reports.iter().enumerate() {
        let Report { name, measures, writes, .. } = report;
        add(
            &mut text,
            format_args!(
                "<tr><td><a href=\"#drill-{index}\">{}</a></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td>{}</tr>\n",
                escape(name),
                measures.requests,
                measures.failed,
                seconds(measures.gap_ms),
                writes.lost,
                mark(report.verdict.is_good(), report.verdict.as_str())
            ),
        );
    }
    text.push_str("</table>\n");
    text
}

fn mark(good: bool, word: &str) -> String {
    format!("<td class=\"{}\">{word}</td>", if good { "good" } else { "bad" })
}

fn section(index: usize, report: &Report) -> String {
    let (name, title) = (escape(&report.name), escape(&report.title));
    let mut text = format!("<h2 id=\"drill-{index}\">{name}</h2>\n<p>{title}</p>\n");
    text.push_str(&timeline(report));
    text.push_str(
        "<p class=\"legend\">Area: answers a second. Bars: failed requests a second, by when they were due.</p>\n",
    );
    text.push_str("<table>\n<tr><th>fault</th><th>promise</th><th>measured</th><th>verdict</th></tr>\n");
    for check in &report.checks {
        let fault = if check.fault.is_empty() { "the whole run" } else { &check.fault };
        let cells = [fault, &check.promise, &check.measured].map(|cell| format!("<td>{}</td>", escape(cell)));
        let verdict = mark(check.holds, if check.holds { "holds" } else { "broken" });
        add(&mut text, format_args!("<tr>{}{verdict}</tr>\n", cells.concat()));
    }
    text.push_str("</table>\n");
    text.push_str(&predicted(report));
    text.push_str(&phases(report));
    text
}

fn predicted(report: &Report) -> String {
    if report.comparisons.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "<table>\n<tr><th>fault</th><th>predicted by <code>triad check</code></th><th>measured</th><th>verdict</th></tr>\n",
    );
    for comparison in &report.comparisons {
        let cells = [&comparison.fault, &comparison.predicted, &comparison.measured];
        let cells = cells.map(|cell| format!("<td>{}</td>", escape(cell)));
        let verdict = mark(comparison.agrees != Some(false), comparison.as_str());
        add(&mut text, format_args!("<tr>{}{verdict}</tr>\n", cells.concat()));
    }
    text.push_str("</table>\n");
    text
}

fn phases(report: &Report) -> String {
    let mut text = String::from("<table>\n<tr><th></th>");
    for head in ["requests", "failed", "p50 ms", "p95 ms", "p99 ms", "max ms"] {
        add(&mut text, format_args!("<th class=\"n\">{head}</th>"));
    }
    text.push_str("</tr>\n");
    for phase in &report.measures.phases {
        let us = phase.latency.map(|latency| [latency.p50_us, latency.p95_us, latency.p99_us, latency.max_us]);
        let times = us.map_or([const { String::new() }; 4], |us| us.map(|us| format!("{:.1}", us as f64 / 1_000.0)));
        let numbers = [phase.requests.to_string(), phase.failed.to_string()].into_iter().chain(times);
        let cells: Vec<String> = numbers.map(|number| format!("<td class=\"n\">{number}</td>")).collect();
        add(&mut text, format_args!("<tr><td>{}</td>{}</tr>\n", phase.name, cells.concat()));
    }
    text.push_str("</table>\n");
    text
}

/// Where things are in a picture.
struct Scale {
    end_ms: f64,
    top: f64,
    most: f64,
}

impl Scale {
    fn x(&self, ms: u64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * ms as f64 / self.end_ms
    }

    fn y(&self, rate: f64) -> f64 {
        let floor = HEIGHT + self.top - BOTTOM;
        floor - (HEIGHT - BOTTOM) * (rate / self.most).min(1.0)
    }
}

fn timeline(report: &Report) -> String {
    let answers = rates(report, |sample| sample.outcome.is_ok().then(|| sample.done_us()));
    let failures = rates(report, |sample| (!sample.outcome.is_ok()).then_some(sample.due_us));
    let most = round_up(answers.iter().chain(&failures).copied().fold(1.0, f64::max));
    let mut scale = Scale { end_ms: (answers.len() as u64 * BUCKET_MS) as f64, top: 0.0, most };
    let rows = rows(report, &scale);
    scale.top = ROW * (rows.iter().max().map_or(0, |row| row + 1)) as f64 + 6.0;
    let height = HEIGHT + scale.top;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline of {}\">\n",
        escape(&report.name)
    );
    svg.push_str(&axes(&scale));
    svg.push_str(&area(&answers, &scale));
    svg.push_str(&bars(&failures, &scale));
    svg.push_str(&events(report, &rows, &scale));
    svg.push_str("</svg>\n");
    svg
}

/// To a number that reads well at the end of an axis, and halved.
fn round_up(most: f64) -> f64 {
    let unit = if most > 50.0 { 20.0 } else { 4.0 };
    (most / unit).ceil() * unit
}

/// Requests a second for each step of time, by the moment that `when` gives them.
fn rates(report: &Report, when: impl Fn(&Sample) -> Option<u64>) -> Vec<f64> {
    let mut counts = vec![0_u32; (report.load_ms.div_ceil(BUCKET_MS)).max(1) as usize];
    for at_us in report.samples.iter().filter_map(when) {
        // Answers after the end of the load have no place in its picture.
        if let Some(count) = counts.get_mut((at_us / 1_000 / BUCKET_MS) as usize) {
            *count += 1;
        }
    }
    counts.into_iter().map(|count| f64::from(count) * 1_000.0 / BUCKET_MS as f64).collect()
}

fn axes(scale: &Scale) -> String {
    let mut text = String::new();
    for rate in [0.0, scale.most / 2.0, scale.most] {
        let y = scale.y(rate);
        add(
            &mut text,
            format_args!("<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\n", WIDTH - RIGHT),
        );
        add(
            &mut text,
            format_args!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{rate:.0}</text>\n", LEFT - 6.0, y + 4.0),
        );
    }
    let step_s = ((scale.end_ms / 1_000.0) / 12.0).ceil().max(1.0) as u64;
    for second in (0..=(scale.end_ms / 1_000.0) as u64).step_by(step_s as usize) {
        let (x, y) = (scale.x(second * 1_000), scale.y(0.0) + 16.0);
        add(&mut text, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{second} s</text>\n"));
    }
    text
}

fn area(rates: &[f64], scale: &Scale) -> String {
    let mut path = format!("M{:.1} {:.1}", scale.x(0), scale.y(0.0));
    for (index, rate) in rates.iter().enumerate() {
        let (from, to) = (index as u64 * BUCKET_MS, (index as u64 + 1) * BUCKET_MS);
        let y = scale.y(*rate);
        add(&mut path, format_args!("L{:.1} {y:.1}L{:.1} {y:.1}", scale.x(from), scale.x(to)));
    }
    add(&mut path, format_args!("L{:.1} {:.1}Z", scale.x(rates.len() as u64 * BUCKET_MS), scale.y(0.0)));
    format!("<path class=\"answers\" d=\"{path}\"/>\n")
}

fn bars(rates: &[f64], scale: &Scale) -> String {
    let mut text = String::new();
    for (index, rate) in rates.iter().enumerate().filter(|(_, rate)| **rate > 0.0) {
        let from = index as u64 * BUCKET_MS;
        let (x, y) = (scale.x(from) + 0.5, scale.y(*rate));
        let (width, height) = (scale.x(from + BUCKET_MS) - x - 0.5, scale.y(0.0) - y);
        add(
            &mut text,
            format_args!(
                "<rect class=\"failures\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n"
            ),
        );
    }
    text
}

/// In which row each event's name stands, so that none is written over another.
fn rows(report: &Report, scale: &Scale) -> Vec<usize> {
    let mut ends: Vec<f64> = Vec::new();
    let mut rows = Vec::new();
    for happened in &report.happened {
        let width = happened.what.chars().count() as f64 * LETTER;
        let (start, _) = name_at(scale.x(happened.at_ms), width);
        let row = ends.iter().position(|end| *end < start).unwrap_or(ends.len());
        if row == ends.len() {
            ends.push(0.0);
        }
        ends[row] = start + width + LETTER;
        rows.push(row);
    }
    rows
}

/// Where a name of that width begins, and on which side of its line: to the right, unless there is no room.
fn name_at(x: f64, width: f64) -> (f64, &'static str) {
    if x + width + 4.0 > WIDTH { (x - 4.0 - width, "end") } else { (x + 4.0, "start") }
}

fn events(report: &Report, rows: &[usize], scale: &Scale) -> String {
    let mut text = String::new();
    for (happened, row) in report.happened.iter().zip(rows) {
        let x = scale.x(happened.at_ms);
        let y = ROW * (*row as f64 + 1.0) - 3.0;
        let (start, anchor) = name_at(x, happened.what.chars().count() as f64 * LETTER);
        let at = if anchor == "end" { x - 4.0 } else { start };
        let floor = scale.y(0.0);
        add(
            &mut text,
            format_args!(
                "<line class=\"event\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{floor:.1}\"/>\n",
                y - 9.0
            ),
        );
        add(
            &mut text,
            format_args!(
                "<text class=\"name\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
                escape(&happened.what)
            ),
        );
    }
    text
}

fn add(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
