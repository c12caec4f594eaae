use std::process::ExitCode;

use clap::{Args, ValueEnum};
use triad_firewall::Ruleset;

use super::DesignFile;
use crate::print;

/// Explain a part of this design
#[derive(Args)]
pub struct Explain {
    /// What to explain
    topic: Topic,
    #[command(flatten)]
    design: DesignFile,
    /// Only this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The ruleset itself, as nft reads it
    #[arg(long)]
    nft: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Topic {
    /// Each firewall rule with its reason
    Firewall,
}

impl Explain {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match self.design.load() {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let Topic::Firewall = self.topic;
        if loaded.design.firewall.is_none() {
            print::out("This design has no firewalls: add a [firewall] section to give every server one.\n");
            return Ok(ExitCode::SUCCESS);
        }
        let wanted = |name: &str| self.server.as_deref().is_none_or(|server| server == name);
        let servers: Vec<_> = loaded.design.servers.iter().filter(|server| wanted(server.name.as_str())).collect();
        anyhow::ensure!(!servers.is_empty(), "the design has no server {}", self.server.unwrap_or_default());
        let rulesets = servers.into_iter().filter_map(|server| Ruleset::of(&loaded.design, &server.name));
        let texts: Vec<String> =
            rulesets.map(|ruleset| if self.nft { ruleset.render() } else { ruleset.explain() }).collect();
        print::out(&texts.join("\n"));
        Ok(ExitCode::SUCCESS)
    }
}
