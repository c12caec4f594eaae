//! The general texts: true of any design.

use triad_model::Code;

use super::Part;

/// What `part` is.
pub(super) fn part(part: Part) -> &'static str {
    PARTS.iter().find(|(of, _)| *of == part).map_or("", |(_, text)| text)
}

/// What each part is.
static PARTS: &[(Part, &str)] = &[
    (
        Part::Server,
        "A computer that is always on and answers requests: a machine in a data centre, or a share of one that a \
         provider rents out (a virtual machine). It has an operating system, here Linux, and addresses at which others \
         reach it. It may carry several roles: name server, balancer, web server, application, database.",
    ),
    (
        Part::Domain,
        "A name that people can remember, such as foobar.com, rented by the year from a registrar. Computers find each \
         other by addresses; the domain name system (DNS) turns the name into them, so that a site can move to another \
         server without its users noticing.",
    ),
    (
        Part::Www,
        "www in www.foobar.com is a name below the domain, by custom the web site's. Here its record is a CNAME, an \
         alias: it says \"ask for foobar.com instead\". The domain itself cannot be an alias (RFC 1034 section 3.6.2), \
         so it has A records, the IPv4 addresses, and AAAA records for IPv6. One list of addresses serves both names.",
    ),
    (
        Part::Dns,
        "Name servers answer the question at which addresses a name is found, over UDP and TCP port 53. The domain's \
         registrar points at them. A user's computer asks a resolver, mostly the Internet provider's; the resolver \
         asks the name servers and keeps the answer for its time to live (TTL). If one name server is silent, the \
         resolver asks another.",
    ),
    (
        Part::Web,
        "A web server speaks HTTP with browsers and answers with files as they are: pages, pictures, style sheets. \
         What must be made for each request, such as a page with today's entries, it passes to an application server. \
         It is fast because it runs none of the team's code.",
    ),
    (
        Part::App,
        "An application server runs the team's code: it reads the request, asks the database, and makes the page. \
         Several processes of it, instances, run side by side, so that one that is slow or dies does not stop the \
         others.",
    ),
    (
        Part::Database,
        "A database keeps the data in tables on disk and answers queries in SQL. It makes changes in transactions: all \
         of one happens or nothing of it, and what was confirmed survives a crash. Here it is MariaDB, the MySQL-type \
         database of Debian, port 3306.",
    ),
    (
        Part::Balancer,
        "A load balancer takes all requests and spreads them over several servers, the backends. It asks each backend \
         again and again whether it is healthy and sends nothing to one that is not. Users know one address; behind it \
         servers can die, be added or be maintained.",
    ),
    (
        Part::Algorithm,
        "The rule by which a balancer chooses the next backend. Round robin takes one after the other, in turn. With \
         weights, a backend of weight 5 gets five turns where one of weight 1 gets one: of any six requests in a row, \
         five go to the first and one to the second.",
    ),
    (
        Part::ActiveActive,
        "All backends work all the time and share the requests. Nothing idles, and when one dies, the others are known \
         to work; but they must have room for its share, or they all become slow together.",
    ),
    (
        Part::ActivePassive,
        "One backend works, the other waits and takes over when the first fails its health checks; when the first is \
         back, it gets the requests again. The passive one costs a server that idles, but the load after a failure is \
         the load before.",
    ),
    (
        Part::Replica,
        "The primary is the one database that accepts writes. It sends each change to the replicas, which repeat it: \
         they hold a copy of the data. With semi-synchronous replication the primary confirms a write to the \
         application only once a replica has received it, so that a confirmed write is on two disks.",
    ),
    (
        Part::Failover,
        "When the primary dies, a replica becomes the primary. It is safe only if the replica has every confirmed write, \
         and if the old primary can confirm none any more. Who is the primary, and which replicas have everything (the \
         in-sync set), is therefore written down where a majority of three servers agrees; here that is etcd. A server that \
         is cut off alone is no majority, so there are never two primaries. Two servers have no majority without each \
         other: there an operator decides, with `triad promote`.",
    ),
    (
        Part::Firewall,
        "A firewall decides for each packet whether it may pass. A good one admits only what is needed and drops the \
         rest, so that a service which listens by mistake is not reached. Each server has its own, in the Linux kernel \
         (nftables).",
    ),
    (
        Part::Https,
        "HTTPS is HTTP through TLS: nobody on the way can read or change what passes, and the certificate proves that \
         the server belongs to the name in the address bar. A certificate is signed by an authority that browsers \
         trust, and expires. Port 443; plain HTTP, port 80, only says to come back over HTTPS.",
    ),
    (
        Part::Monitoring,
        "Monitoring collects numbers from the servers, keeps them, draws them and calls somebody when they go wrong. \
         On each server an agent reads them: from the kernel (processor, memory, disk, network), from the edge \
         (requests, answers by status, time taken), from the database (queries, replication). Here a collector such as \
         Prometheus fetches them as text over HTTP every few seconds.",
    ),
    (
        Part::Qps,
        "Queries, or requests, per second: how much a server has to do. It is not measured but counted: the edge adds \
         one to a counter for every request that it has answered, and whoever wants the rate takes the difference of \
         two readings and divides it by the seconds between them.",
    ),
];

/// The findings that touch `part`.
pub(super) fn findings_of(part: Part) -> &'static [Code] {
    use Code::{
        CannotScale, DatabaseExposed, DeployDowntime, InternalCertificate, MonitoringInside, NameServersTogether,
        NoBackup, NoFailover, NoFirewall, NoHttps, NoMonitoring, OnePrivateNetwork, OutsidePool, PlainBehindTls,
        SameComponents, SecretReadable, SingleAppServer, SingleBalancer, SingleDatabase, SingleNameServer,
        SingleServer, SingleWebServer, SingleWriter, SshOpen, UnseenDatabaseLoss, WeakReserve,
    };
    match part {
        Part::Server => &[SingleServer, SameComponents, OnePrivateNetwork],
        Part::Domain | Part::Www | Part::Dns => &[SingleServer, SingleNameServer, NameServersTogether],
        Part::Web => &[SingleServer, SingleWebServer, SameComponents],
        Part::App => &[SingleServer, SingleAppServer, DeployDowntime, UnseenDatabaseLoss, CannotScale, SameComponents],
        Part::Database => &[SingleServer, SingleDatabase, DatabaseExposed, NoBackup, NoFailover, SingleWriter],
        Part::Balancer => &[SingleBalancer, WeakReserve, CannotScale, OutsidePool],
        Part::Algorithm => &[WeakReserve],
        Part::ActiveActive | Part::ActivePassive => &[SingleAppServer, WeakReserve, UnseenDatabaseLoss],
        Part::Replica => &[SingleDatabase, NoFailover, NoBackup, SingleWriter],
        Part::Failover => &[SingleDatabase, NoFailover, OnePrivateNetwork],
        Part::Firewall => &[SshOpen, DatabaseExposed, NoFirewall],
        Part::Https => &[SecretReadable, NoHttps, PlainBehindTls, InternalCertificate],
        Part::Monitoring | Part::Qps => &[NoMonitoring, MonitoringInside],
    }
}

/// What the weakness is.
pub(super) fn finding(code: Code) -> &'static str {
    FINDINGS.iter().find(|(of, _)| *of == code).map_or("", |(_, text)| text)
}

/// What a part is that is there once.
const SINGLE_POINT: &str = "A single point of failure is a part that is there once and that every request needs: when \
     it is down, so is the site. It shows when one removes each part in thought and asks what still works, as the \
     table of triad check does. The cure is a second one, and something that chooses between them.";

/// What each weakness is.
static FINDINGS: &[(Code, &str)] = &[
    (
        Code::SshOpen,
        "SSH is how administrators log in to a server. If the whole Internet may open SSH connections, machines try \
         stolen and common passwords on it day and night.",
    ),
    (
        Code::DatabaseExposed,
        "A database must be reached by the application and by its replicas, and by nobody else. Its port is open to \
         strangers when its address is one of the Internet's and no firewall stands before it.",
    ),
    (
        Code::SecretReadable,
        "A private key proves who one is. A file that holds it must be readable by its owner alone (mode 600): any \
         other account, also one that a burglar took over, could copy it.",
    ),
    (
        Code::NoHttps,
        "Without HTTPS, pages and passwords travel as readable text through every network between user and server, and \
         each of those networks can change them.",
    ),
    (Code::SingleServer, SINGLE_POINT),
    (
        Code::SingleNameServer,
        "Before anything else, a browser needs the site's address. If one name server alone knows it, its death takes \
         the site away from everybody whose resolver has no fresh copy of the answer.",
    ),
    (
        Code::NameServersTogether,
        "Two name servers in one network share its faults: a router, an uplink, an attack. RFC 2182 section 3.1 asks \
         for name servers in different places and networks for this reason.",
    ),
    (Code::SingleBalancer, SINGLE_POINT),
    (Code::SingleWebServer, SINGLE_POINT),
    (Code::SingleAppServer, SINGLE_POINT),
    (
        Code::SingleDatabase,
        "With one database there is one copy of the data. A disk that dies takes it all, and until the server is \
         repaired, nothing that needs data works.",
    ),
    (
        Code::NoFailover,
        "Failover is when a replica becomes the primary because the primary has died. Doing it by itself needs a \
         majority of votes, of three servers with private addresses: with two, neither can know whether the other is dead \
         or only out of reach, and both would accept writes. Without it, the site waits for an operator to bring the primary \
         back.",
    ),
    (
        Code::DeployDowntime,
        "Each new version of the application, and each update of the system, stops the processes of a server for a \
         moment. With one application server, that moment is downtime.",
    ),
    (
        Code::WeakReserve,
        "What is left after a death must carry the whole load. Weights say how strong the backends are: if those that \
         are left have less weight than the one that died had, they were not meant for so much.",
    ),
    (
        Code::UnseenDatabaseLoss,
        "A balancer that counts no failures (max_fails = 0) knows of a backend only what its health check tells. If the \
         check is answered without asking the database, a backend that lost its way to the database looks healthy, gets \
         requests and fails them.",
    ),
    (
        Code::PlainBehindTls,
        "TLS protects a connection from end to end of that connection, no further. Where it is ended, at a balancer or \
         at an application server, the data goes on in the clear unless the next hop is encrypted too.",
    ),
    (
        Code::NoFirewall,
        "Without a firewall, everything that listens on a server can be reached from wherever its address can, also \
         what was started by mistake or listens on all addresses by default.",
    ),
    (
        Code::NoMonitoring,
        "What nobody measures is noticed when it is too late. Most outages announce themselves: a disk that fills, a \
         replica that falls behind, a share of errors that grows.",
    ),
    (
        Code::MonitoringInside,
        "An alarm in the house that burns does not ring. Who collects the numbers and calls people must not die with \
         what it watches: it belongs in another network, best with another provider.",
    ),
    (
        Code::NoBackup,
        "A replica protects from a disk that dies, not from a mistake: it repeats a DELETE faithfully. A backup is a \
         copy from before, kept elsewhere, and it is one only once restoring it was tried.",
    ),
    (
        Code::InternalCertificate,
        "Browsers trust certificates of some hundred public authorities. A design's own authority is fine where all \
         users are told to trust it, in a company or a lab.",
    ),
    (
        Code::SingleWriter,
        "In primary-replica replication all writes go to one server. Reads can be spread, writes cannot. It is the \
         price of having no conflicts: there is one order of all changes.",
    ),
    (
        Code::SameComponents,
        "When web server, application and database share a server, they share its memory, processor and disk. One that \
         takes too much starves the others, a break-in in one is next door to the others, and none can be given more \
         room alone.",
    ),
    (
        Code::CannotScale,
        "A server can be made larger only so far. More traffic than that needs more servers, and something before them \
         that spreads the requests.",
    ),
    (
        Code::OnePrivateNetwork,
        "Servers that are all on one network depend on it: its failure cuts all their ways to each other at once, \
         however many servers there are.",
    ),
    (
        Code::OutsidePool,
        "A pool can lead to what something else runs: an old site, a service of another team. The balancers check it and \
         choose among its backends, and leave out those that fail. What it needs itself, who starts it again, and what \
         it loses, Triad cannot know: no prediction and no drill speaks of it.",
    ),
    (
        Code::UnusedAllow,
        "An entry of check.allow names a finding that the design does not have. It hides nothing today, and would hide \
         the finding if it came back.",
    ),
];
