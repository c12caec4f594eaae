//! Design → zone file, and which addresses a name server listens on.

use triad_dns::{Zone, listeners};

use crate::support::{goldens, name, secured, zone};

#[test]
fn a_design_becomes_a_zone() {
    goldens("zone", |design| zone(design).to_string());
}

#[test]
fn a_design_without_name_servers_has_no_zone() {
    let mut design = secured();
    design.dns = None;
    assert_eq!(Zone::of(&design), None);
    assert_eq!(listeners(&design, &name("srv1")), []);
}

#[test]
fn a_name_server_listens_on_its_public_addresses_only() {
    let listens = |server| listeners(&secured(), &name(server)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(listens("srv1"), ["203.0.113.11:53", "[2001:db8::11]:53"]);
    assert_eq!(listens("srv2"), ["203.0.113.12:53"]);
    assert_eq!(listens("srv3"), [""; 0]);
}

#[test]
fn the_serial_changes_with_the_content_and_only_then() {
    let first = zone("secured").records(&[]).remove(0);
    assert_eq!(zone("secured").records(&[name("srv1")]).remove(0), first, "health is not content");
    let mut other = secured();
    other.servers[1].public.clear();
    assert_ne!(Zone::of(&other).expect("a zone").records(&[]).remove(0), first);
}
