//! `explain request --live`: the request, sent for real.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;
use triad_config::Loaded;
use triad_lab::{Lab, LabName};

use crate::print;

/// Where a real server's agent listens.
const AGENT_SOCKET: &str = "/run/triad/agent.sock";

/// Sends a request for `url` into the lab called `name`, else the design's own or the only one, and prints its way
/// with what was seen of it.
pub fn explain(loaded: &Loaded, url: &str, name: Option<&str>, as_json: bool) -> anyhow::Result<ExitCode> {
    // What is wrong with the URL is said before anything is sent.
    triad_check::walk(&loaded.design, url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(lab) = find(loaded, name).await? else {
            eprintln!("triad: {}", no_lab(loaded, name));
            return Ok(ExitCode::from(print::NOT_RUNNING));
        };
        if lab.design()? != loaded.design {
            bail!(
                "lab {} runs another design than {}: name its file with -c, or another lab with --lab",
                lab.name(),
                loaded.file.display()
            );
        }
        let executable = std::env::current_exe().context("cannot find this program's own file")?;
        let followed = triad_trace::follow(&lab, &loaded.design, url, &executable).await?;
        let steps = triad_trace::tell(&loaded.design, url, &followed)?;
        if as_json {
            let triad_trace::Followed { trace, edges } = &followed;
            print::json(&json!({ "url": url, "lab": lab.name(), "steps": steps, "trace": trace, "edges": edges }))?;
        } else {
            print::out(&format!("{url}, sent in lab {}\n\n{}", lab.name(), triad_check::told(&steps)));
        }
        Ok(ExitCode::from(if followed.trace.failure.is_none() { print::DONE } else { print::FAILED }))
    })
}

/// The lab to ask, if it runs.
async fn find(loaded: &Loaded, name: Option<&str>) -> anyhow::Result<Option<Lab>> {
    let named = match name {
        Some(name) => Some(LabName::new(name)?),
        None => LabName::of_folder(&loaded.folder).ok(),
    };
    if let Some(lab) = named.map(Lab::named).transpose()?
        && lab.is_running().await
    {
        return Ok(Some(lab));
    }
    let mut running: Vec<_> = Lab::list().await?.into_iter().filter(|entry| entry.running).collect();
    match (name, running.pop()) {
        (None, Some(only)) if running.is_empty() => Lab::named(only.name).map(Some),
        _ => Ok(None),
    }
}

/// What to do where there is no lab.
fn no_lab(loaded: &Loaded, name: Option<&str>) -> String {
    let up = match name {
        Some(name) => format!("triad lab up --name {name} {}", loaded.file.display()),
        None => format!("triad lab up {}", loaded.file.display()),
    };
    let what = match name {
        Some(name) => format!("lab {name} does not run"),
        None => "no lab runs this design".to_owned(),
    };
    if Path::new(AGENT_SOCKET).exists() {
        return format!(
            "{what}, and --live needs a lab for now, though an agent runs on this server: `{up}` starts one"
        );
    }
    format!("{what}, and --live needs one for now: `{up}` starts it")
}
