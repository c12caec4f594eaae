//! Refusing this server's own connections to a database that is dead.

use std::net::IpAddr;

use triad_model::DATABASE;

use crate::FirewallError;
use crate::apply::nft;

/// The table; it is there only while something is refused.
const TABLE: &str = "triad_refused";

/// From now on, connections of this server to the database at `address` are refused, open ones as well; those to any
/// other are not. `None` ends it.
pub async fn refuse_database(address: Option<IpAddr>) -> Result<(), FirewallError> {
    nft(&["--file", "-"], &script(address)).await.map(drop)
}

fn script(address: Option<IpAddr>) -> String {
    // Naming the table first creates it where it is missing, so that there is something to delete.
    let gone = format!("table inet {TABLE}\ndelete table inet {TABLE}\n");
    let Some(address) = address else { return gone };
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    format!(
        "{gone}table inet {TABLE} {{\n\tchain output {{\n\t\ttype filter hook output priority filter - 10\n\t\t\
         {family} daddr {address} tcp dport {DATABASE} reject with tcp reset\n\t}}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn one_database_is_refused_or_none() {
        let refused = "\
table inet triad_refused
delete table inet triad_refused
table inet triad_refused {
\tchain output {
\t\ttype filter hook output priority filter - 10
\t\tip daddr 10.77.0.13 tcp dport 3306 reject with tcp reset
\t}
}
";
        assert_eq!(script(Some([10, 77, 0, 13].into())), refused);
        assert_eq!(script(None), "table inet triad_refused\ndelete table inet triad_refused\n");
    }
}
