//! What is broken, and what ends that.

use triad_model::{Backend, BackendMode};

use super::line::{Line, Parsed};
use crate::scenario::{Action, Fault, Flood, Netem, PortFault, Process, Quoted, SlowPart};

const FAULTS: &str = "kill, restart, keep killing, pause, cut, delay, lose, limit, drop, refuse, reset, change, spoil, \
                      swap, upgrade, fill, set, slow clients, flood, switch over, move, hold, saturate \
                      or make; or what ends \
                      one: stop, resume, start, join, calm, open, restore, mend, empty, release or relieve";

/// Most connections of an attack: one address has about 28,000 ports for them.
const ATTACKERS_MAX: u32 = 25_000;

pub(super) fn action(line: &mut Line<'_>) -> Parsed<Action> {
    use Action::{Begin, End};
    let verb = line.word(FAULTS)?;
    Ok(match verb.text {
        "kill" if line.skip("server") => Begin(Fault::KillServer(line.place()?)),
        "start" => {
            line.expect("server")?;
            End(Fault::KillServer(line.place()?))
        }
        "kill" => Begin(Fault::Kill(process(line)?)),
        "restart" => Begin(Fault::Restart(process(line)?)),
        "keep" => {
            line.expect("killing")?;
            Begin(Fault::KeepKilling(process(line)?))
        }
        "stop" => End(stop(line)?),
        "pause" if line.skip("server") => Begin(Fault::PauseServer(line.place()?)),
        "resume" if line.skip("server") => End(Fault::PauseServer(line.place()?)),
        "pause" => Begin(Fault::Pause(process(line)?)),
        "resume" => End(Fault::Pause(process(line)?)),
        "cut" => Begin(cut(line, "from")?),
        "join" => End(cut(line, "to")?),
        "delay" | "lose" | "limit" => Begin(slow(verb.text, line)?),
        "calm" => End(Fault::Slow { server: line.place()?, netem: Netem::DelayMs(0) }),
        "drop" => Begin(port(line, PortFault::Drop)?),
        "refuse" | "reset" => Begin(some_connections(verb.text, line)?),
        "open" => End(port(line, PortFault::Drop)?),
        "slow" => {
            line.expect("clients")?;
            Begin(slow_clients(line)?)
        }
        "flood" => Begin(flood(line)?),
        "upgrade" => Begin(Fault::Upgrade(line.place()?)),
        "swap" => {
            certificate_on(line)?;
            Begin(Fault::SwapCertificate(line.place()?))
        }
        "change" => Begin(change(line)?),
        "restore" => {
            line.expect("file")?;
            line.expect("on")?;
            let nothing = Quoted { text: String::new(), line: line.number, column: verb.column };
            End(Fault::Change { server: line.place()?, old: nothing.clone(), new: nothing })
        }
        "set" => set(line)?,
        "fill" => Begin(disk(line)?),
        "empty" => End(disk(line)?),
        "spoil" => Begin(certificate(line)?),
        "mend" => End(certificate(line)?),
        "make" => Begin(unsafe_database(line)?),
        "switch" => {
            line.expect("over")?;
            Begin(Fault::SwitchOver(if line.skip("to") { Some(line.place()?) } else { None }))
        }
        "move" => {
            for word in ["etcd", "leader", "to"] {
                line.expect(word)?;
            }
            Begin(Fault::MoveLeader(line.place()?))
        }
        "hold" => Begin(applier(line)?),
        "release" => End(applier(line)?),
        "saturate" => Begin(saturation(line)?),
        "relieve" => End(saturation(line)?),
        other => return Err(line.wrong(verb, format!("{other} is no fault; write {FAULTS}"))),
    })
}

/// `database lossy on srv3`, `database asynchronous on srv3`
fn unsafe_database(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("database")?;
    let how = line.one_of(&["lossy", "asynchronous"])?;
    line.expect("on")?;
    let server = line.place()?;
    Ok(if how == "lossy" { Fault::Lossy(server) } else { Fault::Asynchronous(server) })
}

/// `applier of srv2`
fn applier(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("applier")?;
    line.expect("of")?;
    Ok(Fault::HoldApplier(line.place()?))
}

/// `all servers`
fn saturation(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("all")?;
    line.expect("servers")?;
    Ok(Fault::Saturate)
}

/// `app-1 on srv2`
fn process(line: &mut Line<'_>) -> Parsed<Process> {
    let name = line.word("a process: edge, dns, mariadbd, etcd, app-1 or agent")?;
    line.expect("on")?;
    Ok(Process { name: name.text.to_owned(), column: name.column, server: line.place()? })
}

/// `srv2`, `srv2 from srv3`, `srv2 from srv3 one way`, `srv2 from public network`, `private network`; to end it, `to`
/// stands for `from`.
fn cut(line: &mut Line<'_>, preposition: &str) -> Parsed<Fault> {
    if let Some(network) = line.network() {
        return Ok(Fault::CutNetwork { server: None, network });
    }
    let server = line.place()?;
    if !line.skip(preposition) {
        return Ok(Fault::Cut(server));
    }
    if let Some(network) = line.network() {
        return Ok(Fault::CutNetwork { server: Some(server), network });
    }
    let from = line.place()?;
    let one_way = line.skip("one");
    if one_way {
        line.expect("way")?;
    }
    Ok(Fault::CutFrom { server, from, one_way })
}

/// `delay srv2 by 50 ms`, `lose 5 % at srv2`, `limit srv2 to 2000 kbit/s`
fn slow(verb: &str, line: &mut Line<'_>) -> Parsed<Fault> {
    if verb == "lose" {
        let percent = line.number("a percentage")?;
        line.expect("%")?;
        line.expect("at")?;
        let netem = Netem::LossPercent(line.bounded(percent, 1, 100)?);
        return Ok(Fault::Slow { server: line.place()?, netem });
    }
    let server = line.place()?;
    line.expect(if verb == "delay" { "by" } else { "to" })?;
    let netem = if verb == "delay" {
        let ms = line.number("milliseconds")?;
        line.expect("ms")?;
        Netem::DelayMs(line.bounded(ms, 1, 60_000)?)
    } else {
        let rate = line.number("kbit/s")?;
        line.expect("kbit/s")?;
        Netem::RateKbit(line.bounded(rate, 8, 10_000_000)?)
    };
    Ok(Fault::Slow { server, netem })
}

/// `"weight = 5" to "weight = 1" on srv1`
fn change(line: &mut Line<'_>) -> Parsed<Fault> {
    let old = line.quoted()?;
    line.expect("to")?;
    let new = line.quoted()?;
    line.expect("on")?;
    Ok(Fault::Change { server: line.place()?, old, new })
}

/// `srv2 drain`, `srv2 maintenance`, `srv2 weight 3`; `srv2 ready` ends them.
fn set(line: &mut Line<'_>) -> Parsed<Action> {
    let server = line.place()?;
    let (mode, weight) = match line.one_of(&["ready", "drain", "maintenance", "weight"])? {
        "weight" => {
            let weight = line.number("a weight")?;
            let weight = line.bounded(weight, 0, Backend::WEIGHT_MAX.into())?;
            (BackendMode::Ready, Some(u16::try_from(weight).expect("checked above")))
        }
        "drain" => (BackendMode::Drain, None),
        "maintenance" => (BackendMode::Maintenance, None),
        _ => return Ok(Action::End(Fault::SetBackend { server, mode: BackendMode::Ready, weight: None })),
    };
    Ok(Action::Begin(Fault::SetBackend { server, mode, weight }))
}

/// `disk of srv1`
fn disk(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("disk")?;
    line.expect("of")?;
    Ok(Fault::FillDisk(line.place()?))
}

/// `certificate on srv1`
fn certificate(line: &mut Line<'_>) -> Parsed<Fault> {
    certificate_on(line)?;
    Ok(Fault::SpoilCertificate(line.place()?))
}

fn certificate_on(line: &mut Line<'_>) -> Parsed<()> {
    line.expect("certificate")?;
    line.expect("on")
}

/// `port 8443 on srv2`
fn port(line: &mut Line<'_>, how: PortFault) -> Parsed<Fault> {
    line.expect("port")?;
    let port = line.number("a port")?;
    let port = u16::try_from(line.bounded(port, 1, 65_535)?).expect("checked above");
    line.expect("on")?;
    Ok(Fault::Port { server: line.place()?, port, how })
}

/// `50 % of connections to port 8443 on srv2`
fn some_connections(verb: &str, line: &mut Line<'_>) -> Parsed<Fault> {
    let percent = line.number("a percentage")?;
    let percent = line.bounded(percent, 1, 100)?;
    for word in ["%", "of", "connections", "to"] {
        line.expect(word)?;
    }
    port(line, if verb == "refuse" { PortFault::RefusePercent(percent) } else { PortFault::ResetPercent(percent) })
}

/// `killing app-1 on srv2`, `slow clients`, `flood`
fn stop(line: &mut Line<'_>) -> Parsed<Fault> {
    Ok(match line.one_of(&["killing", "slow", "flood"])? {
        "killing" => Fault::KeepKilling(process(line)?),
        "slow" => {
            line.expect("clients")?;
            Fault::SlowClients { count: 0, part: SlowPart::Headers }
        }
        _ => Fault::Flood(Flood::New),
    })
}

/// `200 with headers`
fn slow_clients(line: &mut Line<'_>) -> Parsed<Fault> {
    let count = line.number("a number of connections")?;
    let count = line.bounded(count, 1, ATTACKERS_MAX)?;
    line.expect("with")?;
    let part = match line.one_of(&["headers", "body", "read"])? {
        "headers" => SlowPart::Headers,
        "body" => SlowPart::Body,
        _ => SlowPart::Read,
    };
    Ok(Fault::SlowClients { count, part })
}

/// `with 5000 idle connections`, `with new connections`
fn flood(line: &mut Line<'_>) -> Parsed<Fault> {
    line.expect("with")?;
    let flood = if line.skip("new") {
        Flood::New
    } else {
        let count = line.number("new connections, or a number of idle connections")?;
        let count = line.bounded(count, 1, ATTACKERS_MAX)?;
        line.expect("idle")?;
        Flood::Idle(count)
    };
    line.expect("connections")?;
    Ok(Fault::Flood(flood))
}
