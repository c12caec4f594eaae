use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use triad_check::{Reported, Topic};
use triad_config::Loaded;
use triad_firewall::Ruleset;
use triad_model::Design;

use super::{DesignFile, Unusable, check, live};
use crate::print;

/// Explain a part of this design, a finding, or the way of a request
///
/// Without a topic: what can be explained. Without a file: what is true of any design. With --live, exit code 0 where
/// the request was answered, 1 where not, 3 where no lab runs.
#[derive(Args)]
pub struct Explain {
    /// A part (`balancer`), a finding (`single-balancer`), or `request`
    topic: Option<String>,
    /// With `request`: what a browser asks for, such as https://www.foobar.com/
    #[arg(value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    design: DesignFile,
    /// With `request`: send it for real in a running lab, and say what each hop did and how long it took
    #[arg(long)]
    live: bool,
    /// With --live: name of the lab [default: that of the design's folder, or the only one there is]
    #[arg(long, value_name = "NAME", requires = "live")]
    lab: Option<String>,
    /// With --live, on a server: where its agent's sockets are
    #[arg(long, value_name = "DIR", default_value = "/run/triad", requires = "live")]
    run: PathBuf,
    /// With --live: print everything as JSON
    #[arg(long, requires = "live")]
    json: bool,
    /// With `firewall`: only this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// With `firewall`: only the ruleset itself, as nft reads it
    #[arg(long)]
    nft: bool,
}

/// The topic that takes a URL.
const REQUEST: &str = "request";

impl Explain {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Some(topic) = &self.topic else {
            print::out(&topics());
            return Ok(ExitCode::SUCCESS);
        };
        let is_request = topic == REQUEST;
        anyhow::ensure!(is_request || self.url.is_none(), "only {REQUEST} takes a URL");
        anyhow::ensure!(is_request || !self.live, "only {REQUEST} takes --live");
        let topic: Option<Topic> = if is_request { None } else { Some(topic.parse()?) };
        let loaded = match super::read(self.design.file.as_deref()) {
            Ok(loaded) => Some(loaded),
            // Nothing was named and nothing is there: the general part needs no file.
            Err(Unusable::NotFound(_)) if self.design.file.is_none() && !is_request && !self.nft => None,
            Err(unusable) => {
                eprint!("{}", unusable.text(print::color()));
                return Ok(ExitCode::from(print::UNUSABLE));
            }
        };
        if let Some(loaded) = loaded.as_ref().filter(|_| self.live) {
            return live::explain(loaded, &self.url(&loaded.design), self.lab.as_deref(), &self.run, self.json);
        }
        print::out(&match (topic, &loaded) {
            (Some(topic), loaded) => self.topic(topic, loaded.as_ref())?,
            (None, Some(loaded)) => self.request(&loaded.design)?,
            (None, None) => String::new(),
        });
        Ok(ExitCode::SUCCESS)
    }

    fn request(&self, design: &Design) -> anyhow::Result<String> {
        let url = self.url(design);
        Ok(format!("{url}\n\n{}", triad_check::walk(design, &url)?))
    }

    fn url(&self, design: &Design) -> String {
        self.url.clone().unwrap_or_else(|| super::lab::site_url(design))
    }

    fn topic(&self, topic: Topic, loaded: Option<&Loaded>) -> anyhow::Result<String> {
        let rules = match loaded {
            Some(loaded) if topic.as_str() == "firewall" => self.rules(&loaded.design)?,
            _ => String::new(),
        };
        if self.nft {
            return Ok(rules);
        }
        let found: Vec<Reported> = loaded
            .map(|loaded| triad_check::findings(&loaded.design, &check::surroundings(loaded)))
            .unwrap_or_default();
        let text = triad_check::explain(topic, loaded.map(|loaded| (&loaded.design, &found[..])));
        Ok(if rules.is_empty() { text } else { format!("{text}\n{rules}") })
    }

    /// The firewalls' rules, each with its reason.
    fn rules(&self, design: &Design) -> anyhow::Result<String> {
        let wanted = |name: &str| self.server.as_deref().is_none_or(|server| server == name);
        let servers: Vec<_> = design.servers.iter().filter(|server| wanted(server.name.as_str())).collect();
        anyhow::ensure!(!servers.is_empty(), "the design has no server {}", self.server.as_deref().unwrap_or_default());
        let rulesets = servers.into_iter().filter_map(|server| Ruleset::of(design, &server.name));
        let texts: Vec<String> =
            rulesets.map(|ruleset| if self.nft { ruleset.render() } else { ruleset.explain() }).collect();
        Ok(texts.join("\n"))
    }
}

/// What can be explained.
fn topics() -> String {
    let mut text = "Parts of a design:\n".to_owned();
    let (parts, findings): (Vec<Topic>, Vec<Topic>) = Topic::all().partition(|topic| matches!(topic, Topic::Part(_)));
    let rows = |topics: &[Topic]| -> Vec<Vec<String>> {
        topics.iter().map(|topic| vec![format!("  {}", topic.as_str()), topic.title().to_owned()]).collect()
    };
    text.push_str(&print::table(&rows(&parts)));
    text.push_str("\nFindings of triad check:\n");
    text.push_str(&print::table(&rows(&findings)));
    text.push_str("\nThe way of one request:\n  request https://www.foobar.com/\n");
    text
}
