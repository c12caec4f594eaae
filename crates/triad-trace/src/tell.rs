//! What was seen, told beside what the design promises. Pure.

use std::net::IpAddr;

use triad_check::{Hop, Step, WalkError};
use triad_model::{Design, ServerName};

use crate::follow::front;
use crate::seen::{Answer, EdgeLine, Exchange, Followed, Lookup, Passed};

/// The steps of a request for `url` along the servers that had it, each with what was seen of it.
///
/// # Errors
/// `url` is not one of `design`'s site.
pub fn tell(design: &Design, url: &str, followed: &Followed) -> Result<Vec<Step>, WalkError> {
    let last = followed.trace.exchanges.last();
    let teller = Teller { design, followed, lines: lines_of(followed, last) };
    let mut steps = triad_check::steps(design, url, &teller.way())?;
    for step in &mut steps {
        step.seen = teller.seen(&step.hop);
    }
    Ok(steps)
}

struct Teller<'f> {
    design: &'f Design,
    followed: &'f Followed,
    /// The lines of the last request, in the order of its way.
    lines: Vec<&'f EdgeLine>,
}

/// What the edges wrote of `exchange`.
fn lines_of<'f>(followed: &'f Followed, exchange: Option<&Exchange>) -> Vec<&'f EdgeLine> {
    let id = exchange.and_then(|exchange| exchange.answer.as_ref()?.request_id.as_deref());
    followed.edges.iter().filter(|line| id == Some(line.request_id.as_str())).collect()
}

impl Teller<'_> {
    /// The servers that had the request, as `triad_check::steps` takes them.
    fn way(&self) -> Vec<ServerName> {
        let first = self.exchange().and_then(|exchange| front(self.design, exchange.address?));
        let logged = self.lines.iter().filter_map(|line| line.server.clone());
        let mut way: Vec<ServerName> =
            if self.lines.is_empty() { first.cloned().into_iter().collect() } else { logged.collect() };
        let Some(last) = self.lines.last() else { return way };
        let backend = last.backend.as_deref();
        let servers = self.design.servers.iter().map(|server| &server.name);
        let pools = self.design.pools.iter().flat_map(|pool| &pool.backends).map(|backend| &backend.name);
        let named = servers.chain(pools).find(|name| backend == Some(name.as_str()));
        match (named, way.last().cloned()) {
            // Chosen, and silent about it.
            (Some(server), Some(_)) => way.push(server.clone()),
            // An instance of its own: the balancer chose the server it runs on.
            (None, Some(own)) if backend.is_some() && way.len() == 1 => way.push(own),
            _ => {}
        }
        way
    }

    /// The request that was not redirected.
    fn exchange(&self) -> Option<&Exchange> {
        self.followed.trace.exchanges.last()
    }

    fn answer(&self) -> Option<&Answer> {
        self.exchange()?.answer.as_ref()
    }

    fn line(&self, server: &ServerName) -> Option<&EdgeLine> {
        self.lines.iter().copied().find(|line| line.server.as_ref() == Some(server))
    }

    fn seen(&self, hop: &Hop) -> Vec<String> {
        match hop {
            Hop::Name => self.name(),
            Hop::Redirect { server } => self.redirected(server),
            Hop::Arrive { .. } => self.arrived(),
            Hop::Files { server } => self.files(server),
            Hop::Balance { server } => self.balanced(server),
            Hop::Between { from, to } => self.passed_on(from, to),
            Hop::Application { server } | Hop::Outside { from: server, .. } => self.application(server),
            Hop::Database { server } => self.database(server),
            Hop::Back { .. } => self.back(),
        }
    }

    fn name(&self) -> Vec<String> {
        let Some(Lookup { server, passed, aliases, addresses, ttl_s, took_us }) = &self.followed.trace.lookup else {
            return self.failure();
        };
        let silent = |passed: &Passed| format!("{}: {}.", self.name_server(passed.address), passed.why);
        let mut seen: Vec<String> = passed.iter().map(silent).collect();
        let who = match server {
            Some(address) => format!("{} answered", self.name_server(*address)),
            None => "found without a name server".to_owned(),
        };
        let aliases: String = aliases.iter().map(|alias| format!("CNAME {alias}, ")).collect();
        let kept = ttl_s.map(|ttl_s| format!(", to be kept for {ttl_s} s")).unwrap_or_default();
        seen.push(format!("{who} in {}: {aliases}{}{kept}.", ms(*took_us), list(addresses)));
        seen
    }

    /// A name server by its name, server and address.
    fn name_server(&self, address: IpAddr) -> String {
        let servers = self.design.dns.iter().flat_map(|dns| dns.servers.iter().enumerate());
        let carries = |name: &ServerName| front(self.design, address) == Some(name);
        match servers.into_iter().find(|(_, name)| carries(name)) {
            Some((index, name)) => format!("{} ({name}, {address})", self.design.name_server_name(index)),
            None => address.to_string(),
        }
    }

    fn redirected(&self, server: &ServerName) -> Vec<String> {
        let Some(first) = self.followed.trace.exchanges.first() else { return not_reached() };
        let Some(answer) = &first.answer else { return self.failure() };
        let took = lines_of(self.followed, Some(first)).first().map(|line| line_ms(line));
        let edge = took.map(|took| format!("; {server}'s edge took {took}")).unwrap_or_default();
        let to = answer.location.as_ref().map(|url| format!(", to {url}")).unwrap_or_default();
        vec![format!(
            "connected in {}; answered {} in {}{to}{edge}.",
            ms(first.connect_us),
            answer.status,
            ms(answer.took_us)
        )]
    }

    fn arrived(&self) -> Vec<String> {
        let Some(exchange) = self.exchange() else { return not_reached() };
        let silent = |passed: &Passed| format!("{}: {}.", passed.address, passed.why);
        let mut seen: Vec<String> = exchange.passed.iter().map(silent).collect();
        if let Some(address) = exchange.address {
            seen.push(format!("connected to {address} in {}.", ms(exchange.connect_us)));
        }
        if let Some(tls) = &exchange.tls {
            let names = list(&tls.names);
            seen.push(format!("{} handshake in {}, with the certificate of {names}.", tls.protocol, ms(tls.took_us)));
        }
        match self.answer() {
            Some(Answer { request_id: Some(id), .. }) => seen.push(format!("the request's id is {id}.")),
            Some(_) => {}
            None => seen.extend(self.failure()),
        }
        seen
    }

    fn files(&self, server: &ServerName) -> Vec<String> {
        let Some(line) = self.line(server) else { return self.unlogged(server) };
        vec![match (&line.backend, line.status) {
            (Some(_), _) => "there is no such file.".to_owned(),
            (None, 0..400) => format!("answered from here: {}, in {}.", line.status, line_ms(line)),
            (None, status) => format!("{status}, in {}{}.", line_ms(line), fault(line)),
        }]
    }

    fn balanced(&self, server: &ServerName) -> Vec<String> {
        let Some(line) = self.line(server) else { return self.unlogged(server) };
        let Some(backend) = &line.backend else { return vec![format!("no backend was asked{}.", fault(line))] };
        vec![format!(
            "chose {backend}, {}; answered {} after {}{}.",
            attempts(line),
            line.status,
            line_ms(line),
            fault(line)
        )]
    }

    /// What `to` wrote, and how much of what `from` saw that leaves.
    fn passed_on(&self, from: &ServerName, to: &ServerName) -> Vec<String> {
        let Some(line) = self.line(to) else { return self.unlogged(to) };
        let between = self.line(from).map(|sent| {
            let rest_ms = (sent.duration_ms - line.duration_ms).max(0.0);
            format!("; the way there and {from}'s own part took the other {rest_ms:.1} ms")
        });
        let between = between.unwrap_or_default();
        vec![format!("{to}'s edge has the same id: {} after {}{between}.", line.status, line_ms(line))]
    }

    fn application(&self, server: &ServerName) -> Vec<String> {
        let Some(line) = self.line(server) else { return self.unlogged(server) };
        let Some(instance) = &line.backend else { return not_reached() };
        let after = self.line_before(server).map_or_else(|| format!(" after {}", line_ms(line)), |_| String::new());
        let mut seen = vec![format!("{instance} answered {}{after}, {}{}.", line.status, attempts(line), fault(line))];
        if let Some(served) = self.answer().and_then(|answer| answer.served_by.as_ref()) {
            seen.push(format!("the answer says that {}, instance {} made it.", served.server, served.instance));
        }
        seen
    }

    /// The edge that passed the request to `server`'s.
    fn line_before(&self, server: &ServerName) -> Option<&EdgeLine> {
        self.lines.iter().copied().find(|line| line.backend.as_deref() == Some(server.as_str()))
    }

    fn database(&self, server: &ServerName) -> Vec<String> {
        match self.line(server) {
            Some(line) if line.backend.is_some() => {
                vec![format!("not seen by itself: what was asked of it is within the instance's {}.", line_ms(line))]
            }
            _ => not_reached(),
        }
    }

    fn back(&self) -> Vec<String> {
        let trace = &self.followed.trace;
        let Some(answer) = self.answer() else { return self.failure() };
        vec![format!(
            "{}, {} bytes: the first after {}, the last after {}; {} since the name was asked for.",
            answer.status,
            answer.bytes,
            ms(answer.head_us),
            ms(answer.took_us),
            ms(trace.took_us)
        )]
    }

    fn failure(&self) -> Vec<String> {
        self.followed.trace.failure.iter().map(|why| format!("failed: {why}.")).collect()
    }

    /// Why there is no line of `server`'s edge.
    fn unlogged(&self, server: &ServerName) -> Vec<String> {
        let chosen = self.line_before(server).is_some() || (self.lines.is_empty() && self.answer().is_some());
        match (chosen, self.design.log.hides_requests()) {
            (true, None) => vec![format!("{server}'s edge wrote nothing of it.")],
            (true, Some(_)) => vec![format!("what {server}'s edge did is not in its log.")],
            (false, _) => not_reached(),
        }
    }
}

fn not_reached() -> Vec<String> {
    vec!["not reached.".to_owned()]
}

fn attempts(line: &EdgeLine) -> String {
    if line.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", line.attempts) }
}

fn fault(line: &EdgeLine) -> String {
    line.fault.as_ref().map(|fault| format!("; fault: {fault}")).unwrap_or_default()
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    if items.is_empty() { "nobody".to_owned() } else { items.join(", ") }
}

fn line_ms(line: &EdgeLine) -> String {
    format!("{:.1} ms", line.duration_ms)
}

fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use triad_check::Hop;
    use triad_config::DesignKind;
    use triad_model::{Design, ServerName};

    use super::tell;
    use crate::seen::{Answer, EdgeLine, Exchange, Followed, Lookup, ServedBy, Trace};

    const URL: &str = "https://www.foobar.com/";

    fn example(kind: DesignKind) -> Design {
        triad_config::parse(triad_config::template(kind)).expect("an example is right")
    }

    fn line(server: &str, backend: Option<&str>, duration_ms: f64) -> EdgeLine {
        EdgeLine {
            server: Some(ServerName::new(server).expect("a name")),
            request_id: "1".to_owned(),
            status: 200,
            duration_ms,
            backend: backend.map(str::to_owned),
            attempts: u32::from(backend.is_some()),
            fault: None,
        }
    }

    fn followed(edges: Vec<EdgeLine>) -> Followed {
        let answer = Answer {
            status: 200,
            bytes: 7,
            request_id: Some("1".to_owned()),
            head_us: 6_000,
            took_us: 6_100,
            served_by: Some(ServedBy { server: "srv3".to_owned(), instance: "2".to_owned() }),
            ..Answer::default()
        };
        let exchange = Exchange {
            url: URL.to_owned(),
            address: Some("203.0.113.11".parse().expect("an address")),
            connect_us: 200,
            answer: Some(answer),
            ..Exchange::default()
        };
        let lookup = Lookup {
            server: Some("203.0.113.12".parse().expect("an address")),
            aliases: vec!["foobar.com".to_owned()],
            addresses: vec!["203.0.113.11".parse().expect("an address")],
            ttl_s: Some(30),
            took_us: 400,
            ..Lookup::default()
        };
        let trace = Trace { lookup: Some(lookup), exchanges: vec![exchange], took_us: 9_000, failure: None };
        Followed { trace, edges }
    }

    fn seen(design: &Design, followed: &Followed) -> Vec<(Hop, String)> {
        let steps = tell(design, URL, followed).expect("a URL of the site");
        steps.into_iter().map(|step| (step.hop, step.seen.join(" "))).collect()
    }

    fn server(name: &str) -> ServerName {
        ServerName::new(name).expect("a name")
    }

    #[test]
    fn a_log_that_hides_requests_is_not_taken_for_a_silent_edge() {
        let mut design = example(DesignKind::Secured);
        let of = |design: &Design| {
            let seen = seen(design, &followed(Vec::new()));
            seen.into_iter().find(|(it, _)| *it == Hop::Balance { server: server("srv1") }).expect("the hop").1
        };
        assert_eq!(of(&design), "srv1's edge wrote nothing of it.");
        design.log.format = triad_model::LogFormat::Combined;
        assert_eq!(of(&design), "what srv1's edge did is not in its log.");
    }

    #[test]
    fn the_way_is_the_one_that_was_taken() {
        let seen = seen(
            &example(DesignKind::Secured),
            &followed(vec![line("srv1", Some("srv3"), 5.5), line("srv3", Some("app-2"), 5.0)]),
        );
        let of = |hop: Hop| seen.iter().find(|(it, _)| *it == hop).map(|(_, text)| text.as_str()).expect("the hop");
        assert_eq!(
            of(Hop::Name),
            "ns2.foobar.com (srv2, 203.0.113.12) answered in 0.4 ms: CNAME foobar.com, 203.0.113.11, to be kept for 30 s."
        );
        assert_eq!(of(Hop::Balance { server: server("srv1") }), "chose srv3, 1 attempt; answered 200 after 5.5 ms.");
        assert_eq!(
            of(Hop::Between { from: server("srv1"), to: server("srv3") }),
            "srv3's edge has the same id: 200 after 5.0 ms; the way there and srv1's own part took the other 0.5 ms."
        );
        assert_eq!(of(Hop::Files { server: server("srv3") }), "there is no such file.");
        assert_eq!(
            of(Hop::Application { server: server("srv3") }),
            "app-2 answered 200, 1 attempt. the answer says that srv3, instance 2 made it."
        );
        assert_eq!(
            of(Hop::Back { server: server("srv1") }),
            "200, 7 bytes: the first after 6.0 ms, the last after 6.1 ms; 9.0 ms since the name was asked for."
        );
    }

    #[test]
    fn a_file_ends_the_way_where_it_is() {
        let seen = seen(
            &example(DesignKind::Secured),
            &followed(vec![line("srv1", Some("srv2"), 2.0), line("srv2", None, 1.0)]),
        );
        let texts: Vec<&str> = seen.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(&texts[4..7], ["answered from here: 200, in 1.0 ms.", "not reached.", "not reached."]);
    }

    #[test]
    fn a_server_that_chose_one_of_its_own_instances_passes_to_nobody() {
        let mut design = example(DesignKind::Secured);
        design.app.iter_mut().for_each(|app| app.servers.insert(0, server("srv1")));
        let seen = seen(&design, &followed(vec![line("srv1", Some("app-1"), 2.0)]));
        assert!(seen.iter().all(|(hop, _)| !matches!(hop, Hop::Between { .. })), "{seen:?}");
        assert!(
            seen.iter().any(|(_, text)| text.starts_with("app-1 answered 200 after 2.0 ms, 1 attempt.")),
            "{seen:?}"
        );
    }

    #[test]
    fn a_request_that_reached_nobody_says_why() {
        let mut followed = followed(Vec::new());
        followed.trace.exchanges[0].answer = None;
        followed.trace.failure = Some("the TLS handshake failed".to_owned());
        let seen = seen(&example(DesignKind::Secured), &followed);
        assert!(seen[1].1.contains("failed: the TLS handshake failed."), "{seen:?}");
        assert_eq!(seen[2].1, "not reached.");
    }
}
