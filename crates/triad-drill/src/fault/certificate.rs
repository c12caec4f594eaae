//! A new site certificate, as good as the old one.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use triad_lab::{Lab, client};
use triad_model::{Design, Secret, ServerName};
use triad_tls::{Authority, KeyPair};

use crate::fault::state_directory;

/// An edge shows it within this.
const SHOWN_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Signs a new certificate with the lab's authority and writes it, with its key, where `server`'s agent reads them.
pub(crate) fn replace(lab: &Lab, design: &Design, server: &ServerName) -> anyhow::Result<()> {
    let read = |name: &str| {
        let path = lab.path().join("authority").join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let authority = KeyPair { certificate_pem: read("authority.pem")?, key_pem: Secret::new(read("authority.key")?) };
    let site = Authority::from_pem(&authority)?.site(&design.site.hosts)?;
    let secrets = state_directory(lab, server).join("secrets");
    for (name, text) in [("site.pem", site.certificate_pem.as_str()), ("site.key", site.key_pem.expose_secret())] {
        let path = secrets.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Waits until a client is shown the certificate that `server`'s agent has: a swap that did not happen costs nothing,
/// and proves nothing.
pub(crate) async fn wait_until_shown(lab: &Lab, design: &Design, server: &ServerName) -> anyhow::Result<()> {
    let path = state_directory(lab, server).join("secrets/site.pem");
    let pem = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let public = design.server(server).and_then(|server| server.public.first());
    let public = public.with_context(|| format!("{server} has no public address"))?;
    let connect_to = if public.is_ipv6() { format!("::[{public}]:") } else { format!("::{public}:") };
    let url = format!("https://{}/", design.site.hosts[0]);
    let look = ["curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{certs}", "--connect-to", &connect_to, &url];
    let limit = Instant::now() + SHOWN_LIMIT;
    loop {
        let output = lab.exec_output(&client(), &look).await?;
        if without_blanks(&String::from_utf8_lossy(&output.stdout)).contains(&without_blanks(&pem)) {
            return Ok(());
        }
        if Instant::now() >= limit {
            bail!("{server} does not show its new certificate");
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
}
