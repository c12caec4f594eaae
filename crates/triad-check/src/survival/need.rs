//! What a request needs, as a tree of parts, and what is left of it when parts are removed. Pure and small: which
//! tree a design has is in `tree`, which parts a fault removes is in `fault`.

use triad_model::{
    DNS_LEAVES_OUT_MS, FAILOVER_SILENT_MS, FAILOVER_TOLD_MS, HEARTBEAT_NOTICED_MS, SEMI_SYNC_TIMEOUT_MS,
};

use super::fault::{Fault, Part};
use super::{Actor, times};

/// A tree of parts.
#[derive(Clone, Debug)]
pub(crate) enum Need {
    /// This part.
    Part(Part),
    /// Every one of them; a pause of the one begins when that of the other is over.
    All(Vec<Need>),
    /// Every one of them; pauses begin with the fault, so the longest counts.
    AllSince(Vec<Need>),
    /// Some requests need the first, others the second, and so on.
    Shares(Vec<Need>),
    /// One of them is enough, and somebody chooses.
    OneOf(Switch, Vec<Candidate>),
    /// Whoever chooses does not look at this: without it requests fail, but they keep coming.
    Unseen(Box<Need>),
    /// Without all of them there is one wait.
    Wanted(Vec<Need>, Wait),
    /// The first of them leads; when it is gone, the next that is up takes over.
    Led(Vec<Member>),
}

/// How long a primary waits for replicas that are gone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Each commit, until semi-synchronous replication turns itself off.
    SemiSync,
    /// Until they have left the in-sync set.
    InSync,
}

/// One of several databases.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Without it, another takes over.
    pub up: Need,
    /// The way to it, which whoever leads does not look at.
    pub way: Need,
}

/// Who chooses between candidates, and how soon it leaves out a silent one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Switch {
    /// A resolver asks another name server.
    Resolver,
    /// A client has the addresses of several fronts; DNS leaves a dead one out, after the time to live in seconds.
    Client { ttl_s: u32 },
    /// An edge: health checks take a silent backend out within this many milliseconds, or heartbeats do sooner; one
    /// whose requests fail is left out if `max_fails` is not 0.
    Edge { silence_ms: u64, max_fails: u32 },
}

/// One of several that do the same.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub need: Need,
    /// Not used while another is up.
    pub passive: bool,
}

/// How a part that is gone behaves towards who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Connections are refused: whoever can choose goes on at once.
    Refuses,
    /// Connections are accepted and wait, since the agent holds the socket of a process that is being restarted.
    Holds,
    /// Requests fail though checks pass.
    Fails,
    /// Nothing comes back, and nobody hears its server's heartbeats.
    Dead,
    /// Nothing comes back, though others may still hear its server.
    Silent,
}

/// Who brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// By itself, within so many milliseconds.
    Within(u64, Actor),
    /// Only an operator does.
    Repaired,
}

/// What becomes of a need under a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It does not notice.
    None,
    /// It goes on after a pause.
    Pause(Pause),
    /// Requests fail, all of them or some, though whoever chooses sees nothing wrong.
    Fails { all: bool, back: Return },
    /// It is gone.
    Gone { manner: Manner, back: Return },
}

/// Which requests under way break, from the fewest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breaks {
    /// None.
    Nothing,
    /// Statements that the database had not answered.
    Statements,
    /// Writes: an edge sends reads again elsewhere, but not what a backend may have acted on (RFC 9110 section 9.2.2).
    Writes,
    /// All that were there.
    All,
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub ms: u64,
    pub by: Actor,
    pub breaks: Breaks,
    /// For clients that keep to the one address they know, in milliseconds.
    pub one_address_ms: Option<u64>,
    /// It is over so long after the fault, whatever a request waited for before.
    pub from_fault: bool,
}

impl Need {
    /// What becomes of it under `fault`.
    pub(crate) fn under(&self, fault: &Fault) -> Effect {
        match self {
            Need::Part(part) => match fault.removes(part) {
                Some((manner, back)) => Effect::Gone { manner, back },
                None => Effect::None,
            },
            Need::All(needs) => needs.iter().map(|need| need.under(fault)).fold(Effect::None, Effect::and),
            Need::AllSince(needs) => needs.iter().map(|need| need.under(fault)).fold(Effect::None, Effect::beside),
            Need::Shares(needs) => shares(&needs.iter().map(|need| need.under(fault)).collect::<Vec<_>>()),
            Need::OneOf(switch, candidates) => one_of(*switch, candidates, fault),
            Need::Unseen(need) => match need.under(fault) {
                Effect::Gone { back, .. } => Effect::Fails { all: true, back },
                other => other,
            },
            Need::Wanted(needs, wait) => wanted(needs, *wait, fault),
            Need::Led(members) => led(members, fault),
        }
    }
}

impl Effect {
    /// One request meets both.
    fn and(self, other: Effect) -> Effect {
        self.with(other, Pause::then)
    }

    /// One request meets the one, another the other; or one meets both, which began at the same time.
    fn beside(self, other: Effect) -> Effect {
        self.with(other, Pause::longer)
    }

    /// The worse of them.
    fn with(self, other: Effect, pauses: fn(Pause, Pause) -> Pause) -> Effect {
        use Effect::{Fails, Gone, None, Pause};
        match (self, other) {
            (Gone { manner, back }, Gone { manner: other_manner, back: other_back }) => {
                Gone { manner: manner.max(other_manner), back: back.later(other_back) }
            }
            (Gone { manner, back }, Fails { back: other, .. }) | (Fails { back: other, .. }, Gone { manner, back }) => {
                Gone { manner, back: back.later(other) }
            }
            (gone @ Gone { .. }, _) | (_, gone @ Gone { .. }) => gone,
            (Fails { all, back }, Fails { all: other_all, back: other_back }) => {
                Fails { all: all || other_all, back: back.later(other_back) }
            }
            (fails @ Fails { .. }, _) | (_, fails @ Fails { .. }) => fails,
            (Pause(first), Pause(second)) => Pause(pauses(first, second)),
            (pause @ Pause(_), None) | (None, pause @ Pause(_)) => pause,
            (None, None) => None,
        }
    }
}

impl Return {
    fn later(self, other: Return) -> Return {
        match (self, other) {
            (Return::Within(first_ms, _), Return::Within(second_ms, _)) if first_ms >= second_ms => self,
            (Return::Repaired, _) => self,
            _ => other,
        }
    }

    fn sooner(self, other: Return) -> Return {
        if self.later(other) == self { other } else { self }
    }
}

impl Pause {
    /// One request meets both, one after the other.
    fn then(self, other: Pause) -> Pause {
        let longer = self.longer(other);
        if self.from_fault || other.from_fault { longer } else { Pause { ms: self.ms + other.ms, ..longer } }
    }

    /// Two that begin together, of which the longer counts.
    fn longer(self, other: Pause) -> Pause {
        let weight = |pause: &Pause| (pause.ms, pause.breaks);
        let longer = if weight(&self) >= weight(&other) { self } else { other };
        Pause {
            breaks: self.breaks.and(other.breaks),
            one_address_ms: self.one_address_ms.max(other.one_address_ms),
            ..longer
        }
    }
}

impl Breaks {
    fn and(self, other: Breaks) -> Breaks {
        match (self, other) {
            (Breaks::Statements, Breaks::Writes) | (Breaks::Writes, Breaks::Statements) => Breaks::All,
            _ => self.max(other),
        }
    }
}

/// A wait, if all of `needs` are gone.
fn wanted(needs: &[Need], wait: Wait, fault: &Fault) -> Effect {
    let gone = |need: &Need| match need.under(fault) {
        Effect::Gone { manner, .. } => Some(manner),
        _ => None,
    };
    let manners: Option<Vec<Manner>> = needs.iter().map(gone).collect();
    let Some(manner) = manners.and_then(|manners| manners.into_iter().max()) else { return Effect::None };
    let (ms, from_fault) = match wait {
        Wait::SemiSync => (SEMI_SYNC_TIMEOUT_MS, false),
        Wait::InSync => (noticed_by_all_ms(manner), true),
    };
    Effect::Pause(Pause { ms, by: Actor::Primary, breaks: Breaks::Nothing, one_address_ms: None, from_fault })
}

/// What becomes of who needs the one that leads.
fn led(members: &[Member], fault: &Fault) -> Effect {
    let is_up = |member: &&Member| !matches!(member.up.under(fault), Effect::Gone { .. });
    let Some(first) = members.first() else { return Effect::None };
    let Effect::Gone { manner, .. } = first.up.under(fault) else { return first.way.under(fault) };
    let Some(next) = members.iter().find(is_up) else {
        return members.iter().map(|member| member.up.under(fault)).reduce(either).unwrap_or(Effect::None);
    };
    let pause = Pause {
        ms: noticed_by_all_ms(manner),
        by: Actor::Replica,
        breaks: Breaks::Statements,
        one_address_ms: None,
        from_fault: true,
    };
    Effect::Pause(pause).and(next.way.under(fault))
}

/// How long it takes those that keep the record to act on a database that is gone.
fn noticed_by_all_ms(manner: Manner) -> u64 {
    if manner == Manner::Refuses { FAILOVER_TOLD_MS } else { FAILOVER_SILENT_MS }
}

/// What becomes of all requests together: where some can be answered, not all fail.
fn shares(effects: &[Effect]) -> Effect {
    let fails_all = |effect: &Effect| matches!(effect, Effect::Gone { .. } | Effect::Fails { all: true, .. });
    let all = effects.iter().all(fails_all);
    let part = |effect: Effect| match effect {
        Effect::Gone { back, .. } | Effect::Fails { back, .. } if !all => Effect::Fails { all: false, back },
        other => other,
    };
    effects.iter().copied().map(part).fold(Effect::None, Effect::beside)
}

/// What becomes of a choice. Candidates that are gone are left out, at the cost of noticing it if they were in use;
/// those that are left get the requests, and what fails behind them fails.
fn one_of(switch: Switch, candidates: &[Candidate], fault: &Fault) -> Effect {
    let effects: Vec<(bool, Effect)> = candidates.iter().map(|it| (it.passive, it.need.under(fault))).collect();
    let effects = if switch.leaves_failing_out() { without_failing(effects) } else { effects };
    let is_gone = |effect: &Effect| matches!(effect, Effect::Gone { .. });
    let active_left = effects.iter().any(|(passive, effect)| !passive && !is_gone(effect));
    let used: Vec<Effect> = effects
        .iter()
        .filter(|(passive, effect)| !is_gone(effect) && *passive != active_left)
        .map(|(_, effect)| *effect)
        .collect();
    if used.is_empty() {
        return effects.iter().map(|(_, effect)| *effect).reduce(either).unwrap_or(Effect::None);
    }
    let noticing = effects
        .iter()
        .filter(|(passive, _)| !passive)
        .filter_map(|(_, effect)| switch.pause(*effect))
        .reduce(Pause::longer)
        .map_or(Effect::None, Effect::Pause);
    let all_fail = used.iter().all(|effect| matches!(effect, Effect::Fails { all: true, .. }));
    match used.into_iter().fold(Effect::None, Effect::beside) {
        Effect::Fails { back, .. } => Effect::Fails { all: all_fail, back },
        effect => effect.and(noticing),
    }
}

/// Where somebody else can have its requests, one that fails is left out, as if it were gone.
fn without_failing(effects: Vec<(bool, Effect)>) -> Vec<(bool, Effect)> {
    let is_bad = |effect: &Effect| matches!(effect, Effect::Gone { .. } | Effect::Fails { all: true, .. });
    if effects.iter().all(|(_, effect)| is_bad(effect)) {
        return effects;
    }
    let left_out = |effect| match effect {
        Effect::Fails { all: true, back } => Effect::Gone { manner: Manner::Fails, back },
        other => other,
    };
    effects.into_iter().map(|(passive, effect)| (passive, left_out(effect))).collect()
}

/// All candidates are gone: the first to come back is enough.
fn either(first: Effect, second: Effect) -> Effect {
    match (first, second) {
        (Effect::Gone { manner, back }, Effect::Gone { manner: other, back: other_back }) => {
            Effect::Gone { manner: manner.max(other), back: back.sooner(other_back) }
        }
        (first, _) => first,
    }
}

impl Switch {
    /// How long it takes to leave out a candidate that is gone; `None` for one that is not.
    fn pause(self, effect: Effect) -> Option<Pause> {
        let Effect::Gone { manner, back } = effect else { return None };
        let noticed = self.notices(manner);
        // What is back before anybody has noticed needs no notice.
        Some(match (back, noticed) {
            (Return::Within(ms, by), None) => self.after(ms, by),
            (Return::Within(ms, by), Some(noticed)) if ms < noticed.ms => self.after(ms, by),
            (Return::Within(ms, _), Some(noticed)) => {
                Pause { one_address_ms: noticed.one_address_ms.map(|longest| longest.min(ms)), ..noticed }
            }
            (Return::Repaired, noticed) => noticed?,
        })
    }

    fn leaves_failing_out(self) -> bool {
        matches!(self, Switch::Edge { max_fails, .. } if max_fails > 0)
    }

    /// What it costs to notice, `None` if connections that wait are not noticed at all.
    fn notices(self, manner: Manner) -> Option<Pause> {
        match (self, manner) {
            (Switch::Resolver, Manner::Refuses) => Some(self.after(0, Actor::Resolver)),
            (Switch::Resolver, _) => Some(self.after(times::RESOLVER_RETRY_MS, Actor::Resolver)),
            (Switch::Client { .. }, Manner::Holds) => None,
            (Switch::Client { ttl_s }, _) => {
                let one_address_ms = Some(DNS_LEAVES_OUT_MS + u64::from(ttl_s) * 1000);
                Some(Pause { one_address_ms, ..self.after(0, Actor::Client) })
            }
            (Switch::Edge { .. }, Manner::Fails) => {
                Some(Pause { breaks: Breaks::All, ..self.after(times::FAILING_MS, Actor::Balancer) })
            }
            (Switch::Edge { .. }, Manner::Refuses) => Some(self.after(0, Actor::Balancer)),
            (Switch::Edge { silence_ms, .. }, Manner::Dead) => {
                Some(self.after(silence_ms.min(HEARTBEAT_NOTICED_MS), Actor::Balancer))
            }
            (Switch::Edge { silence_ms, .. }, _) => Some(self.after(silence_ms, Actor::Balancer)),
        }
    }

    fn after(self, ms: u64, by: Actor) -> Pause {
        let breaks = match self {
            Switch::Resolver => Breaks::Nothing,
            Switch::Edge { .. } => Breaks::Writes,
            Switch::Client { .. } => Breaks::All,
        };
        Pause { ms, by, breaks, one_address_ms: None, from_fault: false }
    }
}

#[cfg(test)]
mod tests {
    use triad_model::{
        DNS_LEAVES_OUT_MS, FAILOVER_SILENT_MS, FAILOVER_TOLD_MS, HEARTBEAT_NOTICED_MS, SEMI_SYNC_TIMEOUT_MS, ServerName,
    };

    use super::{Breaks, Candidate, Effect, Manner, Member, Need, Pause, Return, Switch, Wait};
    use crate::survival::fault::{Fault, Part, Process};
    use crate::survival::{Actor, times};

    fn server(name: &str) -> ServerName {
        ServerName::new(name).expect("a name")
    }

    fn edge(name: &str, passive: bool) -> Candidate {
        Candidate { need: Need::Part(Part::Edge(server(name))), passive }
    }

    fn kill_edge(name: &str) -> Fault {
        Fault::Process { process: Process::Edge, server: server(name) }
    }

    const BALANCER: Switch = Switch::Edge { silence_ms: 1500, max_fails: 0 };

    fn pause(ms: u64, by: Actor, breaks: Breaks) -> Effect {
        Effect::Pause(Pause { ms, by, breaks, one_address_ms: None, from_fault: false })
    }

    #[test]
    fn a_silent_candidate_costs_its_detection_and_one_that_is_restarted_sooner_costs_the_restart() {
        let pool = Need::OneOf(BALANCER, vec![edge("a", false), edge("b", false)]);
        assert_eq!(
            pool.under(&Fault::Server(server("a"))),
            pause(HEARTBEAT_NOTICED_MS, Actor::Balancer, Breaks::Writes)
        );
        assert_eq!(pool.under(&kill_edge("a")), pause(times::EDGE_RESTART_MS, Actor::Supervisor, Breaks::Writes));
        assert_eq!(pool.under(&Fault::Server(server("c"))), Effect::None);
    }

    #[test]
    fn heartbeats_notice_a_dead_server_before_slow_checks_and_after_quick_ones() {
        let noticed = |silence_ms| {
            let switch = Switch::Edge { silence_ms, max_fails: 0 };
            let on = |fault| Need::OneOf(switch, vec![edge("a", false), edge("b", false)]).under(&fault);
            on(Fault::Server(server("a")))
        };
        assert_eq!(noticed(9_000), pause(HEARTBEAT_NOTICED_MS, Actor::Balancer, Breaks::Writes));
        assert_eq!(noticed(300), pause(300, Actor::Balancer, Breaks::Writes));
        let link = Need::Part(Part::link(&server("x"), &server("a")));
        let cut = Need::OneOf(BALANCER, vec![Candidate { need: link, passive: false }, edge("b", false)]);
        let fault = Fault::Link(server("a"), server("x"));
        assert_eq!(cut.under(&fault), pause(1500, Actor::Balancer, Breaks::Writes), "others hear it: checks judge");
    }

    #[test]
    fn a_passive_candidate_is_missed_only_when_it_is_needed() {
        let pool = Need::OneOf(BALANCER, vec![edge("a", false), edge("b", true)]);
        assert_eq!(pool.under(&Fault::Server(server("b"))), Effect::None);
        assert_eq!(
            pool.under(&Fault::Server(server("a"))),
            pause(HEARTBEAT_NOTICED_MS, Actor::Balancer, Breaks::Writes)
        );
        let alone = Need::OneOf(BALANCER, vec![edge("a", false)]);
        let gone = Effect::Gone { manner: Manner::Dead, back: Return::Repaired };
        assert_eq!(alone.under(&Fault::Server(server("a"))), gone);
    }

    #[test]
    fn what_the_chooser_does_not_see_fails_a_share() {
        let behind = |name: &str| Need::Unseen(Box::new(Need::Part(Part::Database(server(name)))));
        let candidate = |front: &str, database: &str| Candidate {
            need: Need::All(vec![edge(front, false).need, behind(database)]),
            passive: false,
        };
        let pool = Need::OneOf(BALANCER, vec![candidate("a", "x"), candidate("b", "y")]);
        let fails = |all| Effect::Fails { all, back: Return::Repaired };
        assert_eq!(pool.under(&Fault::Server(server("x"))), fails(false));
        let shared = Need::OneOf(BALANCER, vec![candidate("a", "x"), candidate("b", "x")]);
        assert_eq!(shared.under(&Fault::Server(server("x"))), fails(true));
    }

    #[test]
    fn what_some_requests_need_fails_a_share() {
        let alone = |name: &str| Need::OneOf(BALANCER, vec![edge(name, false)]);
        let both = Need::Shares(vec![alone("a"), alone("b")]);
        let fails = Effect::Fails { all: false, back: Return::Repaired };
        assert_eq!(both.under(&Fault::Server(server("b"))), fails);
        assert_eq!(both.under(&Fault::Server(server("c"))), Effect::None);
        let same = Need::Shares(vec![alone("a"), alone("a")]);
        let gone = Effect::Gone { manner: Manner::Dead, back: Return::Repaired };
        assert_eq!(same.under(&Fault::Server(server("a"))), gone);
        let safe = Need::OneOf(BALANCER, vec![edge("a", false), edge("b", true)]);
        let pause = pause(HEARTBEAT_NOTICED_MS, Actor::Balancer, Breaks::Writes);
        assert_eq!(Need::Shares(vec![safe, alone("c")]).under(&Fault::Server(server("a"))), pause);
    }

    #[test]
    fn a_balancer_that_counts_failures_leaves_out_who_fails_alone() {
        let counting = Switch::Edge { silence_ms: 1500, max_fails: 5 };
        let behind = |name: &str| Need::Unseen(Box::new(Need::Part(Part::Database(server(name)))));
        let candidate = |front: &str, database: &str, passive| Candidate {
            need: Need::All(vec![edge(front, false).need, behind(database)]),
            passive,
        };
        let pool = Need::OneOf(counting, vec![candidate("a", "x", false), candidate("b", "y", true)]);
        let expected = pause(times::FAILING_MS, Actor::Balancer, Breaks::All);
        assert_eq!(pool.under(&Fault::Server(server("x"))), expected, "the passive one takes over");
        let shared = Need::OneOf(counting, vec![candidate("a", "x", false), candidate("b", "x", true)]);
        let fails = Effect::Fails { all: true, back: Return::Repaired };
        assert_eq!(shared.under(&Fault::Server(server("x"))), fails, "what fails is behind both");
    }

    #[test]
    fn clients_that_know_one_address_wait_for_dns() {
        let fronts = Need::OneOf(Switch::Client { ttl_s: 30 }, vec![edge("a", false), edge("b", false)]);
        let one_address_ms = Some(DNS_LEAVES_OUT_MS + 30_000);
        let expected = Pause { ms: 0, by: Actor::Client, breaks: Breaks::All, one_address_ms, from_fault: false };
        let expected = Effect::Pause(expected);
        assert_eq!(fronts.under(&Fault::Server(server("a"))), expected);
        assert_eq!(fronts.under(&kill_edge("a")), pause(times::EDGE_RESTART_MS, Actor::Supervisor, Breaks::All));
    }

    /// A server that is a backend and the only replica: the write waits for the one, then for the other.
    #[test]
    fn pauses_of_one_request_add_up() {
        let pool = Need::OneOf(BALANCER, vec![edge("a", false), edge("b", true)]);
        let wanted = Need::Wanted(vec![Need::Part(Part::Database(server("a")))], Wait::SemiSync);
        let both = Need::All(vec![wanted, pool]);
        assert_eq!(
            both.under(&Fault::Server(server("a"))),
            pause(HEARTBEAT_NOTICED_MS + SEMI_SYNC_TIMEOUT_MS, Actor::Balancer, Breaks::Writes)
        );
    }

    fn member(name: &str) -> Member {
        Member {
            up: Need::Part(Part::Database(server(name))),
            way: Need::Part(Part::link(&server("app"), &server(name))),
        }
    }

    fn takeover(ms: u64, breaks: Breaks) -> Effect {
        Effect::Pause(Pause { ms, by: Actor::Replica, breaks, one_address_ms: None, from_fault: true })
    }

    #[test]
    fn the_next_takes_over_from_the_first_and_only_from_it() {
        let led = Need::Led(vec![member("a"), member("b")]);
        let kill = |name| Fault::Process { process: Process::Primary, server: server(name) };
        assert_eq!(led.under(&kill("a")), takeover(FAILOVER_TOLD_MS, Breaks::Statements));
        assert_eq!(led.under(&Fault::Server(server("a"))), takeover(FAILOVER_SILENT_MS, Breaks::Statements));
        assert_eq!(led.under(&Fault::Disk(server("a"))), takeover(FAILOVER_SILENT_MS, Breaks::Statements));
        assert_eq!(led.under(&Fault::Server(server("b"))), Effect::None);
        let cut = led.under(&Fault::Link(server("a"), server("app")));
        assert_eq!(cut, Effect::Gone { manner: Manner::Silent, back: Return::Repaired }, "the others hear it");
        let all = led.under(&Fault::DatabaseServers(vec![server("a"), server("b")]));
        assert_eq!(all, Effect::Gone { manner: Manner::Dead, back: Return::Repaired });
    }

    /// A server that is a backend and the primary: while the balancer notices, the replica takes over.
    #[test]
    fn a_takeover_goes_on_while_others_notice() {
        let led = Need::Led(vec![Member { way: Need::All(Vec::new()), ..member("a") }, member("b")]);
        let both = Need::All(vec![led, Need::OneOf(BALANCER, vec![edge("a", false), edge("b", true)])]);
        assert_eq!(both.under(&Fault::Server(server("a"))), takeover(FAILOVER_SILENT_MS, Breaks::All));
    }

    #[test]
    fn a_replica_leaves_the_in_sync_set_sooner_if_its_agent_says_that_it_is_gone() {
        let wanted = Need::Wanted(vec![Need::Part(Part::Database(server("a")))], Wait::InSync);
        let waits = |ms| {
            let pause =
                Pause { ms, by: Actor::Primary, breaks: Breaks::Nothing, one_address_ms: None, from_fault: true };
            Effect::Pause(pause)
        };
        let kill = Fault::Process { process: Process::Replica, server: server("a") };
        assert_eq!(wanted.under(&kill), waits(FAILOVER_TOLD_MS));
        assert_eq!(wanted.under(&Fault::Server(server("a"))), waits(FAILOVER_SILENT_MS));
    }

    /// Two balancers before the same backends: a request goes through one of them.
    #[test]
    fn pauses_of_alternatives_do_not_add_up() {
        let pool = || Need::OneOf(BALANCER, vec![edge("a", false), edge("b", false)]);
        let through =
            |front: &str| Candidate { need: Need::All(vec![edge(front, false).need, pool()]), passive: false };
        let fronts = Need::OneOf(Switch::Client { ttl_s: 1 }, vec![through("x"), through("y")]);
        assert_eq!(
            fronts.under(&Fault::Server(server("a"))),
            pause(HEARTBEAT_NOTICED_MS, Actor::Balancer, Breaks::Writes)
        );
    }

    #[test]
    fn what_is_only_wanted_costs_one_wait_when_all_of_it_is_gone() {
        let replica = |name: &str| Need::Part(Part::Database(server(name)));
        let wanted = Need::Wanted(vec![replica("a"), replica("b")], Wait::SemiSync);
        assert_eq!(wanted.under(&Fault::Server(server("a"))), Effect::None);
        let one = Need::Wanted(vec![replica("a")], Wait::SemiSync);
        let expected = pause(SEMI_SYNC_TIMEOUT_MS, Actor::Primary, Breaks::Nothing);
        assert_eq!(one.under(&Fault::Server(server("a"))), expected);
    }
}
