//! Which of our crates may use which. A new edge is a decision: it is made here, in the open.

use cargo_metadata::Metadata;

use super::Finding;
use super::sources::{Source, crates};

/// Every crate with all it may use of ours, top to bottom: a crate uses only what stands below it.
pub const LAYERS: &[(&str, &[&str])] = &[
    // The binary: one verb a file, over everything.
    (
        "triad",
        &[
            "triad-agent",
            "triad-api",
            "triad-check",
            "triad-config",
            "triad-drill",
            "triad-firewall",
            "triad-golden",
            "triad-lab",
            "triad-model",
            "triad-tls",
            "triad-trace",
        ],
    ),
    // A server's reconcile loop: it alone sees every service.
    (
        "triad-agent",
        &[
            "triad-api",
            "triad-app",
            "triad-cluster",
            "triad-database",
            "triad-dns",
            "triad-failover",
            "triad-firewall",
            "triad-model",
            "triad-monitor",
            "triad-proxy",
            "triad-tls",
            "triad-web",
        ],
    ),
    // Breaks labs under load, and reports, beside what was predicted.
    ("triad-drill", &["triad-api", "triad-check", "triad-lab", "triad-model", "triad-tls"]),
    // Sends one request into a lab; its tests read the examples as files.
    ("triad-trace", &["triad-api", "triad-check", "triad-config", "triad-lab", "triad-model", "triad-tls"]),
    // Talks to agents from outside, over their mutual TLS.
    ("triad-lab", &["triad-api", "triad-golden", "triad-model", "triad-tls"]),
    // Between agents, always over mutual TLS.
    ("triad-api", &["triad-model", "triad-tls"]),
    // Services. They do not know each other; the edge's are one service in layers.
    (
        "triad-proxy",
        &["triad-http", "triad-http1", "triad-http2", "triad-model", "triad-mysql", "triad-tls", "triad-web"],
    ),
    ("triad-web", &["triad-golden", "triad-http", "triad-model"]),
    ("triad-http", &["triad-golden", "triad-http1", "triad-model"]),
    // Strangers' bytes: these two know nothing of Triad.
    ("triad-http2", &["triad-golden", "triad-http1"]),
    ("triad-http1", &[]),
    // An application's bytes and its database's: knows nothing of Triad either.
    ("triad-mysql", &[]),
    ("triad-dns", &["triad-golden", "triad-model"]),
    ("triad-app", &["triad-model"]),
    ("triad-database", &["triad-golden", "triad-model"]),
    // Pure: from what a server knows to what it does.
    ("triad-failover", &["triad-golden", "triad-model"]),
    ("triad-firewall", &["triad-golden", "triad-model"]),
    // What servers know of each other; whoever acts by it stands above.
    ("triad-cluster", &["triad-golden", "triad-model", "triad-tls"]),
    ("triad-tls", &["triad-golden", "triad-model"]),
    ("triad-monitor", &["triad-golden", "triad-model"]),
    // What a design survives; its tests read the examples as files.
    ("triad-check", &["triad-config", "triad-golden", "triad-model"]),
    // The file to the model.
    ("triad-config", &["triad-golden", "triad-model"]),
    // The vocabulary, for everybody.
    ("triad-model", &[]),
    // Golden files, for everybody's tests and nothing else.
    ("triad-golden", &[]),
    // An example for users, and these chores: nothing of ours.
    ("guestbook", &[]),
    ("xtask", &[]),
];

/// `from` names `to` among its dependencies, for its tests or for itself.
#[derive(Debug)]
pub struct Edge {
    from: String,
    to: String,
}

/// All edges between our own crates.
pub fn edges(metadata: &Metadata) -> Vec<Edge> {
    let packages = metadata.workspace_packages();
    let own = packages.iter().flat_map(|package| package.dependencies.iter().map(move |to| (package, to)));
    own.filter(|(_, to)| to.path.is_some())
        .map(|(from, to)| Edge { from: from.name.to_string(), to: to.name.clone() })
        .collect()
}

/// Edges that the table does not allow, and crates that it lacks or that are gone.
pub fn check(sources: &[Source], edges: &[Edge], layers: &[(&str, &[&str])]) -> Vec<Finding> {
    let table = "xtask/src/tidy/layers.rs";
    let mut findings: Vec<Finding> = edges.iter().filter_map(|edge| check_edge(sources, edge, layers)).collect();
    for name in crates(sources).into_iter().filter(|name| !layers.iter().any(|(known, _)| known == name)) {
        findings.push(Finding::new(table, 0, format!("{name} is not in the table of layers: say what it may use")));
    }
    for (index, (name, below)) in layers.iter().enumerate() {
        if manifest(sources, name).is_none() {
            findings.push(Finding::new(
                table,
                0,
                format!("{name} is in the table of layers, but not in the workspace"),
            ));
        }
        for used in below.iter().filter(|used| !layers[index + 1..].iter().any(|(lower, _)| lower == *used)) {
            findings.push(Finding::new(table, 0, format!("{name} may not use {used}, which does not stand below it")));
        }
    }
    findings
}

fn check_edge(sources: &[Source], edge: &Edge, layers: &[(&str, &[&str])]) -> Option<Finding> {
    let (_, allowed) = layers.iter().find(|(name, _)| *name == edge.from)?;
    if allowed.contains(&edge.to.as_str()) {
        return None;
    }
    let Edge { from, to } = edge;
    let message = format!("{from} may not use {to}: the table in xtask/src/tidy/layers.rs does not allow it");
    let manifest = manifest(sources, from)?;
    Some(Finding::new(&manifest.path, manifest.line_of(&format!("{to}.")), message))
}

fn manifest<'a>(sources: &'a [Source], name: &str) -> Option<&'a Source> {
    let paths =
        [format!("crates/{name}/Cargo.toml"), format!("examples/{name}/Cargo.toml"), format!("{name}/Cargo.toml")];
    sources.iter().find(|source| paths.contains(&source.path))
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::source;
    use super::{Edge, check};

    fn messages(edges: &[(&str, &str)], layers: &[(&str, &[&str])]) -> Vec<String> {
        let manifest = "[dependencies]\nlow.workspace = true\nhigh.workspace = true\n";
        let sources = [source("crates/high/Cargo.toml", manifest), source("crates/low/Cargo.toml", manifest)];
        let edge = |(from, to): &(&str, &str)| Edge { from: from.to_string(), to: to.to_string() };
        let edges: Vec<Edge> = edges.iter().map(edge).collect();
        check(&sources, &edges, layers).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_edges_of_the_table_are_allowed() {
        let layers: &[(&str, &[&str])] = &[("high", &["low"]), ("low", &[])];
        assert_eq!(messages(&[("high", "low")], layers), [""; 0]);
        assert_eq!(
            messages(&[("low", "high")], layers),
            ["crates/low/Cargo.toml:3: low may not use high: the table in xtask/src/tidy/layers.rs does not allow it"]
        );
    }

    #[test]
    fn the_table_is_complete_and_points_downward() {
        let table = "xtask/src/tidy/layers.rs";
        assert_eq!(
            messages(&[], &[("high", &["gone"]), ("gone", &["high"])]),
            [
                format!("{table}: low is not in the table of layers: say what it may use"),
                format!("{table}: gone is in the table of layers, but not in the workspace"),
                format!("{table}: gone may not use high, which does not stand below it"),
            ]
        );
    }
}
