//! Rules over what the file says of requests and answers: redirects, header fields, strict transport security.

use std::collections::BTreeSet;

use toml::Spanned;
use triad_model::{Endless, HEADER_RULES_BYTES_MAX, HEADER_RULES_MAX, REDIRECTS_MAX, Redirect, endless_redirects};

use crate::file::{self, File, HeaderRules};
use crate::mistake::Mistakes;
use crate::resolve::hosts;
use crate::suggest::and_list;

/// Places of a circle of redirects that are printed.
const PLACES_SHOWN_MAX: usize = 5;
/// The field that `tls.hsts_max_age_s` sends.
const HSTS: &str = "strict-transport-security";

/// Reports what `file` says of requests and answers that cannot be.
pub(crate) fn check(file: &File, mistakes: &mut Mistakes<'_>) {
    check_redirects(file, mistakes);
    if let Some(headers) = &file.headers {
        check_header_rules(&headers.request, "headers.request", mistakes);
        check_header_rules(&headers.response, "headers.response", mistakes);
        check_hsts_by_hand(&headers.response, mistakes);
    }
    check_hsts(file, mistakes);
}

fn check_redirects(file: &File, mistakes: &mut Mistakes<'_>) {
    if let Some(extra) = file.redirects.get(REDIRECTS_MAX).and_then(|redirect| redirect.from.given()) {
        let what = format!("{} redirects are more than a design can have: {REDIRECTS_MAX}", file.redirects.len());
        return mistakes.add(extra.span(), "redirects", what, "let the application answer them");
    }
    for redirect in &file.redirects {
        check_rest(redirect, mistakes);
    }
    check_sources_differ(file, mistakes);
    if let Some(hosts) = file.site.as_ref().and_then(hosts) {
        check_redirected_hosts(file, &hosts, mistakes);
        check_redirects_end(file, &hosts, mistakes);
    }
}

/// A `*` in the target stands for what the source's is.
fn check_rest(redirect: &file::Redirect, mistakes: &mut Mistakes<'_>) {
    let (Some(from), Some(to)) = (redirect.from.value(), redirect.to.given()) else { return };
    if to.get_ref().takes_rest && !from.is_prefix {
        let what = format!(
            "* in {:?} stands for nothing: there is none in from = {:?}",
            to.get_ref().to_string(),
            from.to_string()
        );
        mistakes.add(to.span(), "redirects.to", what, "write /* at the end of `from` as well, or remove it here");
    }
}

fn check_sources_differ(file: &File, mistakes: &mut Mistakes<'_>) {
    let mut seen = BTreeSet::new();
    for from in file.redirects.iter().filter_map(|redirect| redirect.from.given()) {
        let text = from.get_ref().to_string();
        if !seen.insert(text.clone()) {
            let what = format!("{text:?} is redirected already");
            mistakes.add(from.span(), "redirects.from", what, "remove one of them");
        }
    }
}

fn check_redirected_hosts(file: &File, hosts: &[String], mistakes: &mut Mistakes<'_>) {
    for from in file.redirects.iter().filter_map(|redirect| redirect.from.given()) {
        if let Some(host) = from.get_ref().host.as_ref().filter(|host| !hosts.contains(host)) {
            let help =
                format!("write one of site.hosts, {}, or add it there", and_list(hosts.iter().map(String::as_str)));
            let what = format!("the site does not answer to {host:?}, so nothing that is asked of it arrives here");
            mistakes.add(from.span(), "redirects.from", what, help);
        }
    }
}

/// Only where each is well-formed: what is missing could have ended the way.
fn check_redirects_end(file: &File, hosts: &[String], mistakes: &mut Mistakes<'_>) {
    let whole = |redirect: &file::Redirect| {
        let (from, to) = (redirect.from.value()?.clone(), redirect.to.value()?.clone());
        (from.is_prefix || !to.takes_rest).then_some(Redirect { from, to, status: redirect.status })
    };
    let Some(redirects) = file.redirects.iter().map(whole).collect::<Option<Vec<_>>>() else { return };
    for Endless { index, way } in endless_redirects(&redirects, hosts) {
        let Some(place) = file.redirects[index].to.given().map(Spanned::span) else { continue };
        let more = if way.len() > PLACES_SHOWN_MAX { " → …" } else { "" };
        let shown = way[..way.len().min(PLACES_SHOWN_MAX)].join(" → ");
        let what = format!("browsers would never arrive: {shown}{more}");
        mistakes.add(place, "redirects.to", what, "redirect to what is not redirected again");
    }
}

fn check_header_rules(rules: &HeaderRules, key: &str, mistakes: &mut Mistakes<'_>) {
    check_rule_count(rules, key, mistakes);
    let removed = rules.remove.value().map_or(&[][..], Vec::as_slice);
    for name in removed {
        let is_same = |other: &&Spanned<String>| other.get_ref().eq_ignore_ascii_case(name.get_ref());
        if names(&rules.set).into_iter().any(|other| is_same(&other)) {
            let what = format!("{} is both set and removed", name.get_ref());
            mistakes.add(name.span(), format!("{key}.remove"), what, "remove it here: `set` replaces what is there");
        }
    }
}

/// What is written is taken from what a head can hold.
fn check_rule_count(rules: &HeaderRules, key: &str, mistakes: &mut Mistakes<'_>) {
    let written: Vec<_> = rules.set.iter().chain(&rules.add).collect();
    let removed = rules.remove.value().map_or(&[][..], Vec::as_slice);
    let extra = written.get(HEADER_RULES_MAX).map(|(name, _)| name).or(removed.get(HEADER_RULES_MAX));
    if let Some(extra) = extra {
        let what = format!("more than {HEADER_RULES_MAX} fields are written, or removed");
        mistakes.add(extra.span(), key, what, "remove some of them");
    }
    let written_bytes = written.iter().map(|(name, value)| name.get_ref().len() + value.len()).sum::<usize>();
    if let Some((last, _)) = written.last().filter(|_| written_bytes > HEADER_RULES_BYTES_MAX) {
        let what =
            format!("the fields that are written have {written_bytes} bytes, more than {HEADER_RULES_BYTES_MAX}");
        mistakes.add(last.span(), key, what, "make them shorter: heads have a limit, and yours take from it");
    }
}

fn names(fields: &[(Spanned<String>, String)]) -> Vec<&Spanned<String>> {
    fields.iter().map(|(name, _)| name).collect()
}

/// It must never be sent over plain HTTP (RFC 6797 section 7.2), which a rule for every answer would do.
fn check_hsts_by_hand(rules: &HeaderRules, mistakes: &mut Mistakes<'_>) {
    for (list, fields) in [("set", &rules.set), ("add", &rules.add)] {
        for name in names(fields).into_iter().filter(|name| name.get_ref().eq_ignore_ascii_case(HSTS)) {
            let what = format!("{} is for answers over HTTPS only", name.get_ref());
            let help = "write hsts_max_age_s = 300 under [tls]";
            mistakes.add(name.span(), format!("headers.response.{list}"), what, help);
        }
    }
}

fn check_hsts(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(tls) = &file.tls else { return };
    if *tls.hsts_include_subdomains.get_ref() && tls.hsts_max_age_s == 0 {
        mistakes.add(
            tls.hsts_include_subdomains.span(),
            "tls.hsts_include_subdomains",
            "`hsts_include_subdomains` has no effect without `hsts_max_age_s`",
            "write hsts_max_age_s = 300, or remove it",
        );
    }
}
