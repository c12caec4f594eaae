//! The forms a string in the file can have: how each is checked, and how a schema describes it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path};

use triad_model::{
    App, HEADER_VALUE_BYTES_MAX, IpNet, LogField, RedirectTarget, RequestPattern, ServerName, Statuses,
    is_header_value, reserved_header,
};

use crate::suggest::{and_list, suggest};

/// The form of a string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The site's domain.
    Domain,
    /// A host name.
    Host,
    /// A server's name.
    ServerName,
    /// A pool's name, of the form of a server's.
    PoolName,
    /// Address and port of something that listens.
    Endpoint,
    /// An IP address that a host can have.
    Address,
    /// A network in CIDR notation, or an address alone.
    Network,
    /// A path inside the file's folder.
    Path,
    /// A folder below the file's folder.
    Folder,
    /// The path of a URL.
    UrlPath,
    /// Statuses that pass a check.
    Statuses,
    /// A part of a text that is looked for.
    Excerpt,
    /// The same, or `grpc`.
    AppHealth,
    /// A name of a header or cookie.
    Token,
    /// A name of a header field that rules can name.
    FieldName,
    /// A value of a header field.
    FieldValue,
    /// A field of the access log.
    LogField,
    /// Which requests a redirect or a route is for.
    RequestPattern,
    /// Where a redirect leads.
    RedirectTarget,
    /// A shell command.
    Command,
    /// A line of prose.
    Sentence,
    /// Name of a schema in the database.
    Schema,
    /// Name of an account in the database.
    Account,
}

/// What is wrong with a value, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}

/// Longest host name, in characters (RFC 1035 section 2.3.4, less the root's empty label and its length).
const HOST_LENGTH_MAX: usize = 253;
/// Longest domain, so that `www.` and `ns1.` under it are host names.
const DOMAIN_LENGTH_MAX: usize = HOST_LENGTH_MAX - 4;
/// Longest label of a host name, in characters (RFC 1035 section 2.3.4).
const LABEL_LENGTH_MAX: usize = 63;
/// Longest name of a header or cookie.
const TOKEN_LENGTH_MAX: usize = 64;
/// Longest text that is looked for in an answer, in bytes.
const EXCERPT_BYTES_MAX: usize = 256;
/// Longest identifier; MariaDB allows 64 for a schema and 80 for an account.
pub(crate) const IDENTIFIER_LENGTH_MAX: usize = 32;

/// Schemas that are MariaDB's own.
const SYSTEM_SCHEMAS: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];
/// Accounts that are MariaDB's own, `mariadb.sys` aside: its dot makes it no identifier.
const SYSTEM_ACCOUNTS: [&str; 2] = ["mysql", "root"];
/// Accounts under this prefix are Triad's own.
const TRIAD_ACCOUNTS: &str = "triad_";

impl Format {
    /// What is wrong with `text`, if anything is.
    pub(crate) fn check(self, text: &str) -> Result<(), Fault> {
        match self {
            Format::Domain => check_host(text, DOMAIN_LENGTH_MAX),
            Format::Host => check_host(text, HOST_LENGTH_MAX),
            Format::ServerName => check_server_name(text),
            Format::PoolName => check_pool_name(text),
            Format::Endpoint => check_endpoint(text),
            Format::Address => check_address(text),
            Format::Network => check_network(text),
            Format::Path => check_path(text),
            Format::Folder => check_folder(text),
            Format::UrlPath => check_url_path(text, ""),
            Format::AppHealth if text == App::GRPC_HEALTH => Ok(()),
            Format::AppHealth => check_url_path(text, ", or \"grpc\""),
            Format::Statuses => check_statuses(text),
            Format::Excerpt => check_excerpt(text),
            Format::Token => check_token(text),
            Format::FieldName => check_field_name(text),
            Format::FieldValue => check_field_value(text),
            Format::LogField => check_log_field(text),
            Format::RequestPattern => check_request_pattern(text),
            Format::RedirectTarget => check_redirect_target(text),
            Format::Command => check_command(text),
            Format::Sentence => check_sentence(text),
            Format::Schema => check_schema(text),
            Format::Account => check_account(text),
        }
    }

    /// A regular expression (ECMA 262) all well-formed strings match, for the schema.
    pub(crate) fn pattern(self) -> &'static str {
        match self {
            Format::Domain | Format::Host => {
                "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
            }
            Format::Endpoint => "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$",
            Format::ServerName | Format::PoolName => "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$",
            Format::Address => "^[0-9A-Fa-f:.]+$",
            Format::Network => "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
            Format::Path | Format::Folder => "^[^/]",
            Format::UrlPath => "^/[!-~]*$",
            Format::Statuses => "^[0-9x, -]+$",
            Format::Excerpt => "^[^\\u0000-\\u001f\\u007f]+$",
            Format::AppHealth => "^(/[!-~]*|grpc)$",
            Format::Token | Format::FieldName => "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$",
            Format::FieldValue => "^[!-~]([\\t -~]*[!-~])?$",
            Format::LogField => "^[a-z_]+$",
            Format::RequestPattern => "^[a-z0-9.-]*/[!-~]*$",
            Format::RedirectTarget => "^(https?://[a-z0-9.:-]+)?/[!-~]*$",
            Format::Command => "\\S",
            Format::Sentence => "^[^\\u0000-\\u001f\\u007f]*\\S[^\\u0000-\\u001f\\u007f]*$",
            Format::Schema | Format::Account => "^[a-z][a-z0-9_]{0,31}$",
        }
    }

    /// What it is called in a sentence.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Format::Domain => "domain",
            Format::Host => "host name",
            Format::ServerName => "server name",
            Format::PoolName => "pool name",
            Format::Endpoint => "IP address and port",
            Format::Address => "IP address",
            Format::Network => "network",
            Format::Path => "path",
            Format::Folder => "folder",
            Format::UrlPath => "URL path",
            Format::Statuses => "list of statuses",
            Format::Excerpt => "text",
            Format::AppHealth => "URL path, or `grpc`",
            Format::Token => "name of a header or cookie",
            Format::FieldName => "header field name",
            Format::FieldValue => "header field value",
            Format::LogField => "field of the access log",
            Format::RequestPattern => "path, or host and path",
            Format::RedirectTarget => "path or URL",
            Format::Command => "shell command",
            Format::Sentence => "line of prose",
            Format::Schema | Format::Account => "identifier",
        }
    }
}

/// Host names, by RFC 1123 section 2.1 and RFC 3696 section 2: the last label is never all digits, so that an address
/// is no host name.
fn check_host(text: &str, length_max: usize) -> Result<(), Fault> {
    let lower = text.to_lowercase();
    let fixed = lower.trim_end_matches('.');
    if fixed != text && labels_fault(fixed, length_max).is_none() {
        let why = if lower == text { "ends with a dot" } else { "has upper-case letters" };
        return Err(Fault::new(format!("{text:?} {why}"), format!("write {fixed:?}")));
    }
    match labels_fault(text, length_max) {
        Some(why) => Err(Fault::new(
            format!("{text:?} is not a host name: {why}"),
            "write labels of lower-case letters, digits and hyphens, joined by dots: \"foobar.com\"",
        )),
        None => Ok(()),
    }
}

fn labels_fault(text: &str, length_max: usize) -> Option<String> {
    let labels: Vec<&str> = text.split('.').collect();
    if text.len() > length_max {
        return Some(format!("it is longer than {length_max} characters"));
    }
    if let Some(why) = labels.iter().find_map(|label| label_fault(label)) {
        return Some(why);
    }
    if labels.len() < 2 {
        return Some("it has one label; it needs at least two".to_owned());
    }
    let numeric = labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    numeric.then(|| "its last label is a number".to_owned())
}

fn label_fault(label: &str) -> Option<String> {
    if label.is_empty() {
        return Some("it has an empty label".to_owned());
    }
    if label.len() > LABEL_LENGTH_MAX {
        return Some(format!("label {label:?} is longer than {LABEL_LENGTH_MAX} characters"));
    }
    if !label.is_ascii() {
        return Some(format!("label {label:?} is not ASCII; its encoded form (xn--…) stands in DNS"));
    }
    if let Some(odd) = label.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
        return Some(format!("{odd:?} cannot stand in it"));
    }
    (label.starts_with('-') || label.ends_with('-')).then(|| format!("label {label:?} starts or ends with a hyphen"))
}

fn check_server_name(text: &str) -> Result<(), Fault> {
    ServerName::new(text).map(|_| ()).map_err(|_| {
        Fault::new(
            format!("{text:?} is not a server's name"),
            format!(
                "write 1 to {} lower-case letters, digits and hyphens, starting with a letter: \"srv1\"",
                ServerName::LENGTH_MAX
            ),
        )
    })
}

fn check_pool_name(text: &str) -> Result<(), Fault> {
    let help = format!(
        "write 1 to {} lower-case letters, digits and hyphens, starting with a letter: \"api\"",
        ServerName::LENGTH_MAX
    );
    ServerName::new(text).map(drop).map_err(|_| Fault::new(format!("{text:?} is not a pool's name"), help))
}

/// Loopback is right here: something may listen beside each balancer.
fn check_endpoint(text: &str) -> Result<(), Fault> {
    let help = "write IP address and port: \"10.77.0.20:8080\" or \"[2001:db8::20]:8080\"";
    let Ok(endpoint) = text.parse::<SocketAddr>() else {
        return Err(Fault::new(format!("{text:?} is no IP address with a port"), help));
    };
    let address = endpoint.ip().to_canonical();
    match unusable(address).filter(|_| !address.is_loopback()) {
        Some(why) => Err(Fault::new(format!("{text} is at {why}: nothing can be reached there"), help)),
        None if endpoint.port() == 0 => Err(Fault::new(format!("{text} has port 0, where nothing listens"), help)),
        None => Ok(()),
    }
}

fn check_address(text: &str) -> Result<(), Fault> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(Fault::new(
            format!("{text:?} is not an IP address"),
            "write IPv4 or IPv6, without a port or a prefix length: \"203.0.113.11\" or \"2001:db8::11\"",
        ));
    };
    match unusable(address.to_canonical()) {
        Some(why) => Err(Fault::new(
            format!("{text} is {why}: no other host can reach a server there"),
            "write the address the server has on its network",
        )),
        None => Ok(()),
    }
}

/// Why no host can be reached at `address`.
fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

/// The network `text` names; a bare address is a network of one.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn check_network(text: &str) -> Result<(), Fault> {
    let Some(network) = network(text) else {
        return Err(Fault::new(
            format!("{text:?} is not a network"),
            "write CIDR notation, or an address alone: \"198.51.100.0/24\", \"2001:db8::/32\", \"198.51.100.7\"",
        ));
    };
    if network != network.trunc() {
        let help = format!("write \"{}\", or the address alone: \"{}\"", network.trunc(), network.addr());
        return Err(Fault::new(format!("{text} has bits set beyond its prefix length"), help));
    }
    Ok(())
}

fn check_path(text: &str) -> Result<(), Fault> {
    let inside = |component: Component<'_>| matches!(component, Component::CurDir | Component::Normal(_));
    let why = if text.is_empty() {
        "is empty"
    } else if text.contains('\0') {
        "has a NUL in it"
    } else if Path::new(text).is_absolute() {
        "is absolute"
    } else if !Path::new(text).components().all(inside) {
        "leaves the file's folder"
    } else {
        return Ok(());
    };
    Err(Fault::new(
        format!("path {text:?} {why}"),
        "write a path relative to the folder of this file and inside it, without \"..\"",
    ))
}

fn check_folder(text: &str) -> Result<(), Fault> {
    check_path(text)?;
    if Path::new(text).components().all(|component| component == Component::CurDir) {
        return Err(Fault::new(
            format!("{text:?} is the file's own folder: it would publish this file and the code beside it"),
            "write a folder below it: \"public\"",
        ));
    }
    Ok(())
}

/// `or` tells what else it may be.
fn check_url_path(text: &str, or: &str) -> Result<(), Fault> {
    let why = if !text.starts_with('/') {
        "does not start with /"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has spaces, control or non-ASCII characters, which must be percent-encoded"
    } else if text.contains('#') {
        "has a fragment, which is never sent"
    } else {
        return Ok(());
    };
    Err(Fault::new(format!("{text:?} {why}"), format!("write the path of a URL: \"/up\"{or}")))
}

/// A token of RFC 9110 section 5.6.2; cookies' names are tokens too (RFC 6265 section 4.1.1).
fn check_token(text: &str) -> Result<(), Fault> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if (1..=TOKEN_LENGTH_MAX).contains(&text.len()) && text.chars().all(is_token) {
        return Ok(());
    }
    let help = format!("write 1 to {TOKEN_LENGTH_MAX} letters, digits and hyphens, such as X-User");
    Err(Fault::new(format!("{text:?} is no name of a header or cookie"), help))
}

fn check_log_field(text: &str) -> Result<(), Fault> {
    if LogField::named(text).is_some() {
        return Ok(());
    }
    let help = match suggest(text, LogField::NAMES.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("write some of {}", and_list(LogField::NAMES.iter().copied())),
    };
    Err(Fault::new(format!("{text:?} is no field of the access log"), help))
}

fn check_field_name(text: &str) -> Result<(), Fault> {
    check_token(text)?;
    match reserved_header(text) {
        Some(why) => Err(Fault::new(format!("{text} {why}"), "remove it: the edge decides about it itself")),
        None => Ok(()),
    }
}

fn check_field_value(text: &str) -> Result<(), Fault> {
    if is_header_value(text) {
        return Ok(());
    }
    let help = format!(
        "write 1 to {HEADER_VALUE_BYTES_MAX} visible ASCII characters, with blanks only between them; to be rid of a \
         field, write its name in `remove`"
    );
    Err(Fault::new(format!("{text:?} is no value of a header field"), help))
}

fn check_request_pattern(text: &str) -> Result<(), Fault> {
    let why = text.parse::<RequestPattern>().map(drop);
    let help =
        "write a path, or a host and a path, with /* at its end for all that begin so: \"/old\", \"foobar.com/*\"";
    why.map_err(|why| Fault::new(format!("{text:?} {why}"), help))
}

fn check_redirect_target(text: &str) -> Result<(), Fault> {
    let why = text.parse::<RedirectTarget>().map(drop);
    let help = "write a path, or a URL with its path: \"/new\", \"https://www.foobar.com/*\"";
    why.map_err(|why| Fault::new(format!("{text:?} {why}"), help))
}

fn check_statuses(text: &str) -> Result<(), Fault> {
    text.parse::<Statuses>().map(drop).map_err(|_| {
        let most = Statuses::LISTED_MAX;
        let help = format!("write up to {most} statuses from 200 to 599, or ranges: \"200-399\", \"200,204\", \"2xx\"");
        Fault::new(format!("{text:?} does not say which statuses"), help)
    })
}

fn check_excerpt(text: &str) -> Result<(), Fault> {
    let why = if text.is_empty() {
        "the text is empty: it stands in every answer".to_owned()
    } else if text.len() > EXCERPT_BYTES_MAX {
        format!("the text is longer than {EXCERPT_BYTES_MAX} bytes")
    } else if text.contains(char::is_control) {
        "the text has line breaks or other control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(Fault::new(why, "write a short text from one line of the answer: \"all is well\""))
}

fn check_command(text: &str) -> Result<(), Fault> {
    let why = if text.trim().is_empty() {
        "the command is empty"
    } else if text.contains('\0') {
        "the command has a NUL in it"
    } else {
        return Ok(());
    };
    Err(Fault::new(why, "write a shell command: \"./foobar-app\""))
}

fn check_sentence(text: &str) -> Result<(), Fault> {
    let why = if text.trim().is_empty() {
        "the text is empty"
    } else if text.contains(char::is_control) {
        "the text has line breaks or other control characters"
    } else {
        return Ok(());
    };
    Err(Fault::new(why, "write a sentence on one line"))
}

fn check_identifier(text: &str) -> Result<(), Fault> {
    let well_formed = text.len() <= IDENTIFIER_LENGTH_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if well_formed {
        return Ok(());
    }
    Err(Fault::new(
        format!("{text:?} is not an identifier"),
        format!(
            "write 1 to {IDENTIFIER_LENGTH_MAX} lower-case letters, digits and underscores, starting with a letter: \
             \"foobar\""
        ),
    ))
}

fn check_schema(text: &str) -> Result<(), Fault> {
    check_identifier(text)?;
    if SYSTEM_SCHEMAS.contains(&text) {
        return Err(Fault::new(
            format!("schema \"{text}\" is MariaDB's own"),
            "write a name of your own: name = \"foobar\"",
        ));
    }
    Ok(())
}

fn check_account(text: &str) -> Result<(), Fault> {
    let whose = if SYSTEM_ACCOUNTS.contains(&text) || text == "mariadb.sys" {
        "MariaDB's"
    } else if text.starts_with(TRIAD_ACCOUNTS) {
        "Triad's"
    } else {
        return check_identifier(text);
    };
    Err(Fault::new(format!("account \"{text}\" is {whose} own"), "write a name of your own: user = \"foobar\""))
}

#[cfg(test)]
mod tests {
    use super::Format;

    fn verdict(format: Format, text: &str) -> String {
        format.check(text).map_or_else(|fault| fault.what, |()| "ok".to_owned())
    }

    #[test]
    fn hosts() {
        let long_label = format!("{}.com", "a".repeat(64));
        let long = ["a"; 128].join(".");
        let expected = [
            ("foobar.com", "ok"),
            ("xn--bcher-kva.example", "ok"),
            ("1and1.co.uk", "ok"),
            ("Foobar.com", "\"Foobar.com\" has upper-case letters"),
            ("foobar.com.", "\"foobar.com.\" ends with a dot"),
            ("foobar", "\"foobar\" is not a host name: it has one label; it needs at least two"),
            ("", "\"\" is not a host name: it has an empty label"),
            ("a..com", "\"a..com\" is not a host name: it has an empty label"),
            ("foo_bar.com", "\"foo_bar.com\" is not a host name: '_' cannot stand in it"),
            ("-a.com", "\"-a.com\" is not a host name: label \"-a\" starts or ends with a hyphen"),
            ("203.0.113.1", "\"203.0.113.1\" is not a host name: its last label is a number"),
        ];
        for (text, what) in expected {
            assert_eq!(verdict(Format::Domain, text), what);
        }
        assert!(verdict(Format::Host, &long_label).ends_with("is longer than 63 characters"));
        assert!(verdict(Format::Host, &long).ends_with("it is longer than 253 characters"));
        assert!(verdict(Format::Domain, &long[..251]).ends_with("it is longer than 249 characters"));
    }

    #[test]
    fn addresses() {
        for good in ["203.0.113.1", "10.77.0.11", "2001:db8::1", "169.254.1.1"] {
            assert_eq!(verdict(Format::Address, good), "ok");
        }
        for bad in ["127.0.0.1", "::", "0.0.0.0", "224.0.0.1", "ff02::1", "::ffff:127.0.0.1", "fe80::1", "1.2.3"] {
            assert_ne!(verdict(Format::Address, bad), "ok", "{bad}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for good in ["public", "./public", "a/b.pem", "..a"] {
            assert_eq!(verdict(Format::Folder, good), "ok");
        }
        for bad in ["", "/srv", "..", "a/../../b", "a\0b"] {
            assert_ne!(verdict(Format::Path, bad), "ok", "{bad:?}");
        }
        assert_eq!(verdict(Format::Path, "."), "ok");
        assert_ne!(verdict(Format::Folder, "./"), "ok");
    }

    #[test]
    fn accounts_of_others_are_refused() {
        assert_eq!(verdict(Format::Account, "root"), "account \"root\" is MariaDB's own");
        assert_eq!(verdict(Format::Account, "mariadb.sys"), "account \"mariadb.sys\" is MariaDB's own");
        assert_eq!(verdict(Format::Account, "triad_relay"), "account \"triad_relay\" is Triad's own");
        assert_eq!(verdict(Format::Account, "triad"), "ok");
        assert_eq!(verdict(Format::Schema, "sys"), "schema \"sys\" is MariaDB's own");
        assert_eq!(verdict(Format::Schema, "9lives"), "\"9lives\" is not an identifier");
    }
}
