//! The host a request is for.

use http::header::HOST;
use http::request::Parts;

use crate::{Fault, Whose};

/// The host a request names, without port and final dot, in the case it was written in.
///
/// A target in absolute form goes before `Host` (RFC 9112 §3.2.2). Fails with 400 where there is no host, more than
/// one, or one that is no text.
pub fn host(request: &Parts) -> Result<&str, Fault> {
    let text = authority(request).ok_or_else(|| Fault::new(400, Whose::Client, "the request's Host"))?;
    let host = without_port(text);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() { Err(Fault::new(400, Whose::Client, "the request's Host")) } else { Ok(host) }
}

fn authority(request: &Parts) -> Option<&str> {
    let mut values = request.headers.get_all(HOST).iter();
    let header = values.next();
    if values.next().is_some() {
        return None;
    }
    match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => header?.to_str().ok(),
    }
}

fn without_port(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.find(']').map_or(authority, |end| &authority[..=end]);
    }
    authority.split_once(':').map_or(authority, |(host, _port)| host)
}

#[cfg(test)]
mod tests {
    use super::host;

    fn host_of(uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        host(&parts).ok().map(str::to_owned)
    }

    #[test]
    fn the_host_is_the_authority_or_the_header() {
        assert_eq!(host_of("/", &["www.foobar.com"]).as_deref(), Some("www.foobar.com"));
        assert_eq!(host_of("/", &["www.foobar.com.:8080"]).as_deref(), Some("www.foobar.com"));
        assert_eq!(host_of("/", &["[2001:db8::1]:80"]).as_deref(), Some("[2001:db8::1]"));
        assert_eq!(host_of("http://foobar.com:80/", &["evil.example"]).as_deref(), Some("foobar.com"));
        assert_eq!(host_of("/", &[]), None);
        assert_eq!(host_of("/", &[":80"]), None);
        assert_eq!(host_of("/", &["a.example", "b.example"]), None);
        assert_eq!(host_of("http://foobar.com/", &["a.example", "b.example"]), None);
    }
}
