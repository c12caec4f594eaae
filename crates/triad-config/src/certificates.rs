//! Rules over what the file says of certificates. What is in the certificates themselves is not looked at here.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::file::{File, Tls};
use crate::mistake::Mistakes;
use crate::resolve::hosts;
use crate::suggest::and_list;
use crate::table::Field;

/// The most certificates beside the main one.
const CERTIFICATES_MAX: usize = 64;

/// Reports what `file` says of certificates that cannot be.
pub(crate) fn check(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(tls) = &file.tls else { return };
    check_main(tls, mistakes);
    check_named(file, tls, mistakes);
    check_clients(tls, mistakes);
    check_keys_are_not_published(file, tls, mistakes);
}

fn check_main(tls: &Tls, mistakes: &mut Mistakes<'_>) {
    let Some(certificate) = tls.certificate.value() else { return };
    let files = [
        ("certificate_file", &tls.certificate_file, Some("tls/foobar.com.pem")),
        ("key_file", &tls.key_file, Some("tls/foobar.com.key")),
        ("ocsp_file", &tls.ocsp_file, None),
    ];
    for (key, path, needed) in files {
        match (certificate.as_str(), path, needed) {
            ("files", Field::Absent, Some(example)) => mistakes.add(
                tls.at.clone(),
                format!("tls.{key}"),
                format!("certificate = \"files\" needs `{key}`"),
                format!("write {key} = {example:?}"),
            ),
            ("internal", Field::Given(path), _) => mistakes.add(
                path.span(),
                format!("tls.{key}"),
                format!("`{key}` has no effect with certificate = {certificate:?}"),
                "write certificate = \"files\", or remove it",
            ),
            _ => {}
        }
    }
}

/// Each is for hosts of the site, and no host has two.
fn check_named(file: &File, tls: &Tls, mistakes: &mut Mistakes<'_>) {
    if let Some(extra) = tls.certificates.get(CERTIFICATES_MAX).and_then(|named| named.hosts.given()) {
        let what = format!("{} certificates are more than a site can have: {CERTIFICATES_MAX}", tls.certificates.len());
        return mistakes.add(extra.span(), "tls.certificates", what, "let one certificate be for several hosts");
    }
    let Some(site) = file.site.as_ref().and_then(hosts) else { return };
    let mut seen = BTreeMap::new();
    for (number, named) in tls.certificates.iter().enumerate() {
        for host in named.hosts.value().into_iter().flatten() {
            if !site.contains(host.get_ref()) {
                let what = format!("the site does not answer to {:?}", host.get_ref());
                let known = and_list(site.iter().map(String::as_str));
                let help = format!("write one of site.hosts, {known}, or add it there");
                mistakes.add(host.span(), "tls.certificates.hosts", what, help);
            }
            // A list that names a host twice was reported as a list.
            if seen.insert(host.get_ref(), number).is_some_and(|before| before != number) {
                let what = format!("{:?} has a certificate already", host.get_ref());
                mistakes.add(host.span(), "tls.certificates.hosts", what, "remove it from one of them");
            }
        }
    }
}

fn check_clients(tls: &Tls, mistakes: &mut Mistakes<'_>) {
    let Some(how) = tls.client_certificates.value() else { return };
    if how != "off" && tls.client_ca_file.is_absent() {
        let place = tls.client_certificates.given().map_or(tls.at.clone(), |how| how.span());
        let what = format!("client_certificates = {how:?} needs `client_ca_file`");
        mistakes.add(place, "tls.client_ca_file", what, "write client_ca_file = \"tls/clients.pem\"");
    }
    for (key, path) in [("client_ca_file", &tls.client_ca_file), ("client_crl_file", &tls.client_crl_file)] {
        if let (true, Field::Given(path)) = (how == "off", path) {
            let what = format!("`{key}` has no effect while clients are not asked for certificates");
            let help = "write client_certificates = \"optional\" or \"required\", or remove it";
            mistakes.add(path.span(), format!("tls.{key}"), what, help);
        }
    }
}

/// A private key below the web server's root could be fetched by anybody.
fn check_keys_are_not_published(file: &File, tls: &Tls, mistakes: &mut Mistakes<'_>) {
    let Some(root) = file.web.as_ref().and_then(|web| web.root.value()) else { return };
    let named = tls.certificates.iter().map(|named| ("tls.certificates.key_file", &named.key_file));
    for (name, key) in std::iter::once(("tls.key_file", &tls.key_file)).chain(named) {
        if let Some(key) = key.given().filter(|key| plain(key.get_ref()).starts_with(plain(root))) {
            let what = format!("the private key is below web.root, {:?}: anybody could fetch it", root.display());
            mistakes.add(key.span(), name, what, "move it to a folder of its own: \"tls/foobar.com.key\"");
        }
    }
}

/// `path` without `.` components.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}
