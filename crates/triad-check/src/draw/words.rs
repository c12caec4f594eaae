//! The picture in words, for who cannot see it: its title and description.

use triad_model::{Design, Role};

use super::findings::Mark;
use super::heading::host;
use super::topology::{Net, Node};

/// One line that names the picture.
pub fn title(design: &Design) -> String {
    let count = design.servers.len();
    format!("{} on {count} {}", host(design), if count == 1 { "server" } else { "servers" })
}

/// Servers with their roles, the traffic between them, and what is weak: a sentence each.
pub fn description(design: &Design, nets: &[Net], marks: &[Mark]) -> String {
    let mut sentences = vec![format!("The user asks {} for the address of {}.", name_servers(design), host(design))];
    for net in nets {
        let from: Vec<&str> = net.from.iter().map(|node| name(design, *node)).collect();
        let to: Vec<&str> = net.to.iter().map(|arrival| name(design, arrival.node)).collect();
        let how = if net.encrypted { ", encrypted" } else { "" };
        sentences.push(format!("From {} to {}: {}{how}.", list(&from), list(&to), net.label));
    }
    for server in &design.servers {
        let roles: Vec<&str> = design.roles(&server.name).into_iter().map(Role::as_str).collect();
        let walled = if design.firewall.is_some() { ", behind a firewall" } else { "" };
        let monitored = if design.monitor.is_some() { ", with a monitoring agent" } else { "" };
        sentences.push(format!("{} carries {}{walled}{monitored}.", server.name, list(&roles)));
    }
    sentences.extend(marks.iter().map(|mark| format!("Finding {}, {}.", mark.number, mark.text())));
    sentences.join(" ")
}

fn name_servers(design: &Design) -> String {
    let names: Vec<&str> = design.carriers(Role::Dns).into_iter().map(|name| name.as_str()).collect();
    if names.is_empty() { "DNS elsewhere".to_owned() } else { format!("DNS on {}", list(&names)) }
}

fn name(design: &Design, node: Node) -> &str {
    match node {
        Node::User => "the user",
        Node::Server(index) => design.servers[index].name.as_str(),
    }
}

/// "a, b and c".
fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
