//! The keys and passwords of a design: made once, one folder per server, never in the file.
//!
//! A server's folder holds what it needs and no more: its identity, the site's certificate where users arrive at it,
//! the database's passwords where it runs the application or the database. The authority's key is in none of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use triad_database::Passwords;
use triad_model::{Certificate, Design, Role, Secret, ServerName};
use triad_tls::{Authority, Identity, KeyPair};

const AUTHORITY: &str = "authority";
const IDENTITY: &str = "server";
const SITE: &str = "site";

/// What one server's agent works with.
pub struct Secrets {
    /// How it proves who it is to other servers.
    pub identity: Identity,
    /// What it shows to users.
    pub site: Option<KeyPair>,
    /// The database's accounts.
    pub passwords: Option<Passwords>,
}

impl Secrets {
    /// Whether keys and certificates can be used at all, before anything is started from them or changed for them.
    pub fn check(&self) -> anyhow::Result<()> {
        triad_tls::mutual_server_config(&self.identity).context("this server's identity cannot be used")?;
        if let Some(site) = &self.site {
            triad_tls::site_server_config(site, true).context("the site's certificate cannot be used")?;
        }
        Ok(())
    }
}

/// Makes the authority of `design` in `authority_folder` and each server's secrets where `server_folder` says; returns
/// the authority's certificate. Nothing that exists is overwritten.
pub fn provision(
    design: &Design,
    authority_folder: &Path,
    server_folder: impl Fn(&ServerName) -> std::path::PathBuf,
) -> anyhow::Result<String> {
    let authority = Authority::generate(&design.site.domain)?;
    make_folder(authority_folder)?;
    write_pair(authority_folder, AUTHORITY, &authority.key_pair())?;
    let site = match design.tls.as_ref().map(|tls| &tls.certificate) {
        Some(Certificate::Internal) => Some(authority.site(&design.site.hosts)?),
        Some(Certificate::Files { .. }) | None => None,
    };
    let passwords = design.database.as_ref().map(|_| Passwords::generate()).transpose()?;
    for server in &design.servers {
        let folder = server_folder(&server.name);
        make_folder(&folder)?;
        write_identity(&folder, &authority.identity(&server.name)?)?;
        if let Some(site) = site.as_ref().filter(|_| design.fronts().contains(&&server.name)) {
            write_pair(&folder, SITE, site)?;
        }
        if let Some(passwords) = passwords.as_ref().filter(|_| needs_passwords(design, &server.name)) {
            passwords.write(&folder)?;
        }
    }
    Ok(authority.certificate_pem().to_owned())
}

/// Reads `server`'s secrets from `folder`; certificate files that the design names are read from its own folder.
pub fn read(design: &Design, design_folder: &Path, server: &ServerName, folder: &Path) -> anyhow::Result<Secrets> {
    let pair = read_pair(folder, IDENTITY)?;
    let identity = Identity {
        authority_pem: read_text(&folder.join(format!("{AUTHORITY}.pem")))?,
        certificate_pem: pair.certificate_pem,
        key_pem: pair.key_pem,
    };
    let is_front = design.fronts().contains(&server);
    let site = match design.tls.as_ref().filter(|_| is_front).map(|tls| &tls.certificate) {
        None => None,
        Some(Certificate::Internal) => Some(read_pair(folder, SITE)?),
        Some(Certificate::Files { certificate, key }) => Some(KeyPair {
            certificate_pem: read_text(&design_folder.join(certificate))?,
            key_pem: Secret::new(read_text(&design_folder.join(key))?),
        }),
    };
    let passwords = needs_passwords(design, server).then(|| Passwords::read(folder)).transpose()?;
    Ok(Secrets { identity, site, passwords })
}

/// Whether `folder` holds a server's secrets.
pub fn are_in(folder: &Path) -> bool {
    folder.join(format!("{IDENTITY}.key")).exists()
}

fn needs_passwords(design: &Design, server: &ServerName) -> bool {
    design.database.is_some() && (design.carries(server, Role::Database) || design.carries(server, Role::App))
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

fn write_identity(folder: &Path, identity: &Identity) -> anyhow::Result<()> {
    let pair = KeyPair { certificate_pem: identity.certificate_pem.clone(), key_pem: identity.key_pem.clone() };
    write_new(&folder.join(format!("{AUTHORITY}.pem")), &identity.authority_pem)?;
    write_pair(folder, IDENTITY, &pair)
}

fn write_pair(folder: &Path, name: &str, pair: &KeyPair) -> anyhow::Result<()> {
    write_new(&folder.join(format!("{name}.pem")), &pair.certificate_pem)?;
    write_new(&folder.join(format!("{name}.key")), pair.key_pem.expose_secret())
}

fn read_pair(folder: &Path, name: &str) -> anyhow::Result<KeyPair> {
    Ok(KeyPair {
        certificate_pem: read_text(&folder.join(format!("{name}.pem")))?,
        key_pem: Secret::new(read_text(&folder.join(format!("{name}.key")))?),
    })
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = open.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}; secrets that exist are never overwritten", path.display()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!("cannot read {}; `triad secrets` makes a folder for each server, to be copied there", path.display())
    })
}
