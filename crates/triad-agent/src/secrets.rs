//! The keys and passwords of a design: made once, one folder per server, never in the file.
//!
//! A server's folder holds what it needs and no more: its identity, the site's certificate where users arrive at it,
//! the database's passwords where it runs the application or the database. The authority's key is in none of them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use triad_database::Passwords;
use triad_model::{Certificate, ClientCertificates, Design, NamedCertificate, Role, Secret, ServerName, Tls};
use triad_tls::{
    Authority, ClientAuthority, Fault, Identity, KeyPair, NamedPair, OCSP_BYTES_MAX, Part, SiteExtras, Weight,
};

use crate::renewal::Stamps;

const AUTHORITY: &str = "authority";
const IDENTITY: &str = "server";
const SITE: &str = "site";

/// Bytes of a list of revoked certificates at most: it goes to the edge with every plan.
const CRL_BYTES_MAX: u64 = 256 * 1024;

/// What one server's agent works with.
pub struct Secrets {
    /// How it proves who it is to other servers.
    pub identity: Identity,
    /// What it shows to users.
    pub site: Option<KeyPair>,
    /// What it shows beside that, and whose certificates it asks for.
    pub extras: SiteExtras,
    /// The database's accounts.
    pub passwords: Option<Passwords>,
    /// How the files of what users are shown looked before they were read.
    pub(crate) looks: Stamps,
}

impl Secrets {
    /// Whether keys and certificates can be used at all, before anything is started from them or changed for them. A
    /// certificate that has ended can: a site that browsers complain of is better than none.
    pub fn check(&self, design: &Design) -> anyhow::Result<()> {
        triad_tls::mutual_server_config(&self.identity).context("this server's identity cannot be used")?;
        for fault in self.faults(design) {
            match fault.weight {
                Weight::Usable | Weight::LeftOut => tracing::warn!("{}: {}; {}", key(&fault), fault.what, fault.help),
                Weight::Unusable => bail!("{}: {}; {}", key(&fault), fault.what, fault.help),
            }
        }
        Ok(())
    }

    /// What is wrong with what users are shown.
    pub fn faults(&self, design: &Design) -> Vec<Fault> {
        let is_ours = design.tls.as_ref().is_some_and(|tls| tls.certificate == Certificate::Internal);
        let mut faults = match &self.site {
            Some(site) => triad_tls::inspect(&design.site.hosts, Some(site), &self.extras),
            None => Vec::new(),
        };
        // Hosts may have been added since our own was made.
        for fault in faults.iter_mut().filter(|fault| is_ours && fault.of.is_none() && fault.part == Part::Certificate)
        {
            fault.weight = Weight::Usable;
        }
        faults
    }
}

/// The key of the file that `fault` is about.
pub(crate) fn key(fault: &Fault) -> String {
    let file = match fault.part {
        Part::Certificate => "certificate_file",
        Part::Key => "key_file",
        Part::Ocsp => "ocsp_file",
        Part::ClientAuthority => "client_ca_file",
        Part::ClientCrl => "client_crl_file",
    };
    match fault.of {
        None => format!("tls.{file}"),
        Some(number) => format!("tls.certificates.{number}.{file}"),
    }
}

/// What is wrong with the certificates that the design's files hold: each a dotted key, what, and what to do. Of this
/// server's secrets nothing is needed, and what is right again tomorrow is no mistake.
pub fn mistakes(design: &Design, design_folder: &Path) -> Vec<(String, String, String)> {
    let Some(tls) = &design.tls else { return Vec::new() };
    let faults = || -> anyhow::Result<Vec<Fault>> {
        let main = match &tls.certificate {
            Certificate::Internal => None,
            Certificate::Files { certificate, key } => Some(read_files(design_folder, certificate, key)?),
        };
        Ok(triad_tls::inspect(&design.site.hosts, main.as_ref(), &read_extras(tls, design_folder)?))
    };
    match faults() {
        Ok(faults) => {
            let mistakes = faults.into_iter().filter(|fault| fault.weight != Weight::LeftOut);
            mistakes.map(|fault| (key(&fault), fault.what, fault.help.to_owned())).collect()
        }
        Err(error) => vec![("tls".to_owned(), format!("{error:#}"), "write text files, in PEM".to_owned())],
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
        write_identity(&folder, &authority.identity_at(&server.name, server.private)?)?;
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
    let looks = Stamps::of(&shown_files(design, design_folder, server, folder));
    let pair = read_pair(folder, IDENTITY)?;
    let identity = Identity {
        authority_pem: read_text(&folder.join(format!("{AUTHORITY}.pem")))?,
        certificate_pem: pair.certificate_pem,
        key_pem: pair.key_pem,
    };
    let is_front = design.fronts().contains(&server);
    let tls = design.tls.as_ref().filter(|_| is_front);
    let site = match tls.map(|tls| &tls.certificate) {
        None => None,
        Some(Certificate::Internal) => Some(read_pair(folder, SITE)?),
        Some(Certificate::Files { certificate, key }) => Some(read_files(design_folder, certificate, key)?),
    };
    let extras = tls.map(|tls| read_extras(tls, design_folder)).transpose()?.unwrap_or_default();
    let passwords = needs_passwords(design, server).then(|| Passwords::read(folder)).transpose()?;
    Ok(Secrets { identity, site, extras, passwords, looks })
}

/// The files of all that `server` shows to users.
pub(crate) fn shown_files(design: &Design, design_folder: &Path, server: &ServerName, folder: &Path) -> Vec<PathBuf> {
    let is_front = design.fronts().contains(&server);
    let Some(tls) = design.tls.as_ref().filter(|_| is_front) else { return Vec::new() };
    let ours = ["pem", "key"].map(|end| folder.join(format!("{SITE}.{end}")));
    let named = tls.public_files().chain(tls.key_files()).map(|file| design_folder.join(file));
    named.chain(ours.into_iter().filter(|_| tls.certificate == Certificate::Internal)).collect()
}

fn read_files(folder: &Path, certificate: &Path, key: &Path) -> anyhow::Result<KeyPair> {
    Ok(KeyPair {
        certificate_pem: read_text(&folder.join(certificate))?,
        key_pem: Secret::new(read_text(&folder.join(key))?),
    })
}

fn read_extras(tls: &Tls, folder: &Path) -> anyhow::Result<SiteExtras> {
    let named = |named: &NamedCertificate| {
        Ok(NamedPair {
            hosts: named.hosts.clone(),
            pair: read_files(folder, &named.certificate, &named.key)?,
            ocsp: named.ocsp.as_ref().map(|file| read_ocsp(&folder.join(file))),
        })
    };
    let clients = |clients: &ClientCertificates| {
        anyhow::Ok(ClientAuthority {
            required: clients.required,
            authority_pem: read_text(&folder.join(&clients.authority))?,
            crl_pem: clients.crl.as_ref().map(|file| read_crl(&folder.join(file))).transpose()?,
        })
    };
    Ok(SiteExtras {
        named: tls.certificates.iter().map(named).collect::<anyhow::Result<_>>()?,
        ocsp: tls.ocsp.as_ref().map(|file| read_ocsp(&folder.join(file))),
        clients: tls.clients.as_ref().map(clients).transpose()?,
    })
}

/// What cannot be read is like what says nothing: it is not shown, and complained of like that.
fn read_ocsp(path: &Path) -> Vec<u8> {
    let mut response = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(OCSP_BYTES_MAX as u64 + 1).read_to_end(&mut response));
    if let Err(error) = read {
        tracing::warn!(%error, path = %path.display(), "cannot read an OCSP response");
    }
    response
}

fn read_crl(path: &Path) -> anyhow::Result<String> {
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    if length > CRL_BYTES_MAX {
        bail!("{} is longer than {} KiB", path.display(), CRL_BYTES_MAX >> 10);
    }
    read_text(path)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use triad_model::{Design, NamedCertificate, ServerName, Tls};
    use triad_tls::{Authority, KeyPair};

    use super::{mistakes, provision, read};
    use crate::renewal::Renewal;
    use crate::report::tests::design as plain_design;

    /// The certificate of one host in files, that of the others from our own authority.
    fn design() -> Design {
        let shop = NamedCertificate {
            hosts: vec!["shop.foobar.com".to_owned()],
            certificate: PathBuf::from("shop.pem"),
            key: PathBuf::from("shop.key"),
            ocsp: None,
        };
        let mut design = plain_design();
        design.site.hosts.push("shop.foobar.com".to_owned());
        design.tls = Some(Tls { certificates: vec![shop], ..Tls::internal() });
        design
    }

    fn write(folder: &Path, pair: &KeyPair) {
        fs::write(folder.join("shop.pem"), &pair.certificate_pem).expect("a file");
        fs::write(folder.join("shop.key"), pair.key_pem.expose_secret()).expect("a file");
    }

    #[test]
    fn what_was_renewed_by_half_is_refused_and_what_was_renewed_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (design, server) = (design(), ServerName::new("srv1").expect("a name"));
        let secrets = folder.path().join("secrets");
        provision(&design, &folder.path().join("authority"), |_| secrets.clone()).expect("secrets");
        let authority = Authority::generate("test").expect("an authority");
        let [old, new] = [0, 1].map(|_| authority.site(&["shop.foobar.com".to_owned()]).expect("a pair"));
        let read = || read(&design, folder.path(), &server, &secrets).expect("they are there");
        write(folder.path(), &old);
        let before = read();
        before.check(&design).expect("usable");
        let mut renewal = Renewal::new(before.looks.clone());
        write(folder.path(), &KeyPair { key_pem: old.key_pem.clone(), ..new.clone() });
        let half = read().check(&design).expect_err("half").to_string();
        assert!(half.starts_with("tls.certificates.0.key_file: the key does not belong to the certificate"), "{half}");
        assert_eq!(mistakes(&design, folder.path()).len(), 1, "the same before anything is started");
        write(folder.path(), &new);
        let after = read();
        after.check(&design).expect("usable");
        assert_eq!(after.extras.named[0].pair, new);
        assert!(!renewal.is_due(after.looks.clone()) && renewal.is_due(after.looks));
    }

    /// A host that was added since our own certificate was made must not keep the site from starting.
    #[test]
    fn a_host_that_our_own_certificate_does_not_know_is_said_and_served() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut design, server) = (design(), ServerName::new("srv1").expect("a name"));
        design.tls = Some(Tls::internal());
        provision(&design, &folder.path().join("authority"), |_| folder.path().to_owned()).expect("secrets");
        design.site.hosts.push("new.foobar.com".to_owned());
        let secrets = read(&design, folder.path(), &server, folder.path()).expect("they are there");
        secrets.check(&design).expect("usable");
        let faults = secrets.faults(&design);
        assert!(faults.len() == 1 && faults[0].what.ends_with("it is not for new.foobar.com"), "{faults:?}");
    }
}
