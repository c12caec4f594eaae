//! `explain request --live`: the request, sent for real.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;
use triad_agent::LOCAL_DOOR;
use triad_config::Loaded;
use triad_lab::{Lab, LabName};
use triad_model::Design;
use triad_trace::Site;

use crate::print;

/// Sends a request for `url` into the lab called `name`, else the design's own or the only one, else, on a server whose
/// agent has its sockets in `run`, from there; prints its way with what was seen of it.
pub fn explain(loaded: &Loaded, url: &str, name: Option<&str>, run: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let door = &run.join(LOCAL_DOOR);
    // What is wrong with the URL is said before anything is sent.
    triad_check::walk(&loaded.design, url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let lab = find(loaded, name).await?;
        let (site, place) = match &lab {
            Some(lab) if lab.design()? != loaded.design => bail!(
                "lab {} runs another design than {}: name its file with -c, or another lab with --lab",
                lab.name(),
                loaded.file.display()
            ),
            Some(lab) => (Site::Lab(lab), format!("in lab {}", lab.name())),
            None if name.is_none() && door.exists() => (Site::Servers(door), "from this server".to_owned()),
            None => {
                eprintln!("triad: {}", nobody(loaded, name));
                return Ok(ExitCode::from(print::NOT_RUNNING));
            }
        };
        let executable = std::env::current_exe().context("cannot find this program's own file")?;
        let followed = triad_trace::follow(site, &loaded.design, url, &executable).await?;
        let steps = triad_trace::tell(&loaded.design, url, &followed)?;
        if as_json {
            let triad_trace::Followed { trace, edges } = &followed;
            let unread = loaded.design.log.hides_requests();
            print::json(&json!({
                "url": url, "sent": place, "steps": steps, "trace": trace, "edges": edges, "unread": unread
            }))?;
        } else {
            print::out(&format!("{url}, sent {place}\n{}\n{}", unread(&loaded.design), triad_check::told(&steps)));
        }
        Ok(ExitCode::from(if followed.trace.failure.is_none() { print::DONE } else { print::FAILED }))
    })
}

/// Why nothing is known of what edges did, where that is so.
fn unread(design: &Design) -> String {
    let why = design.log.hides_requests();
    why.map(|why| format!("What each edge did with it is not known: {why} ([log] of the file).\n")).unwrap_or_default()
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

/// What to do where nobody can be asked.
fn nobody(loaded: &Loaded, name: Option<&str>) -> String {
    let file = loaded.file.display();
    match name {
        Some(name) => format!("lab {name} does not run: `triad lab up --name {name} {file}` starts it"),
        None => format!(
            "no lab runs this design, and no agent runs here: `triad lab up {file}` starts a lab; on a server, be root"
        ),
    }
}
