//! A tool's upstream address, and the URI of one request to it.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use tgp_authority::valid_origin;

/// `http[s]://host[:port][/base]`, without query, userinfo or trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    base: String,
    origin: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an upstream address: {0}")]
pub struct UpstreamAddressError(&'static str);

impl Upstream {
    pub fn parse(text: &str) -> Result<Self, UpstreamAddressError> {
        let uri: Uri = text.parse().map_err(|_| UpstreamAddressError("it is not a URL"))?;
        let parts = uri.into_parts();
        let scheme = match parts.scheme {
            Some(scheme) if scheme == Scheme::HTTP || scheme == Scheme::HTTPS => scheme,
            _ => return Err(UpstreamAddressError("it begins with http:// or https://")),
        };
        let authority = parts.authority.ok_or(UpstreamAddressError("it has no host"))?;
        if authority.host().is_empty() {
            return Err(UpstreamAddressError("it has no host"));
        }
        if authority.as_str().contains('@') {
            return Err(UpstreamAddressError("a user or password has no place in it: set a credential"));
        }
        // http lets octets stand between a bracketed address and its port.
        let port = authority.port().map_or_else(String::new, |port| format!(":{}", port.as_str()));
        if authority.as_str() != format!("{}{port}", authority.host()) && !authority.as_str().ends_with(':') {
            return Err(UpstreamAddressError("it is not a URL"));
        }
        let path = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
        if path.query().is_some() || text.contains('#') {
            return Err(UpstreamAddressError("it has neither query nor fragment"));
        }
        let base = path.path().trim_end_matches('/').to_owned();
        if !base.is_empty() && tgp_request::target::canonical(&base).is_err() {
            return Err(UpstreamAddressError("its path is not canonical"));
        }
        let default = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = authority.host().to_ascii_lowercase();
        let origin = match authority.port_u16() {
            Some(port) if port != default => format!("{scheme}://{host}:{port}"),
            None if authority.as_str().ends_with(':') => return Err(UpstreamAddressError("its port is empty")),
            _ => format!("{scheme}://{host}"),
        };
        // What http takes for a host may be no name and no address, and could never be signed.
        if !valid_origin(&origin) {
            return Err(UpstreamAddressError("its host is not a DNS name or an IP address in its usual form"));
        }
        Ok(Self { scheme, authority, base, origin })
    }

    /// As a granter signs it: lower case, without the scheme's default port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// `path` begins with a slash or is empty; both come from the signed target, as they are.
    pub fn uri(&self, path: &str, query: Option<&str>) -> Result<Uri, UpstreamAddressError> {
        let mut target = String::with_capacity(self.base.len() + path.len() + 1 + query.map_or(0, str::len) + 1);
        target.push_str(&self.base);
        target.push_str(path);
        if target.is_empty() {
            target.push('/');
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        self.whole(target)
    }

    /// The URI of a path that has the base in it already.
    pub fn at(&self, path: &str, query: Option<&str>) -> Result<Uri, UpstreamAddressError> {
        self.whole(match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }

    fn whole(&self, target: String) -> Result<Uri, UpstreamAddressError> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|_| UpstreamAddressError("the request's path does not fit it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_below_the_base_and_keeps_its_bytes() {
        let upstream = Upstream::parse("http://127.0.0.1:5232/cal/").expect("an address");
        let uri = |path, query| upstream.uri(path, query).expect("a uri").to_string();
        assert_eq!(uri("/a%20b/", Some("x=%2F&y")), "http://127.0.0.1:5232/cal/a%20b/?x=%2F&y");
        assert_eq!(uri("", None), "http://127.0.0.1:5232/cal");
        let bare = Upstream::parse("https://API.example").expect("an address");
        assert_eq!(bare.uri("", Some("q")).expect("a uri").path_and_query().map(|p| p.as_str()), Some("/?q"));
    }

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, origin) in [
            ("https://API.example:443/x", "https://api.example"),
            ("http://api.example:80", "http://api.example"),
            ("http://api.example:8080/", "http://api.example:8080"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(Upstream::parse(text).expect(text).origin(), origin);
        }
    }

    #[test]
    fn addresses_that_could_mislead_are_refused() {
        for text in [
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x?q",
            "http://x/#f",
            "/relative",
            "http://x/a/../b",
            "http://x/a//b",
            "x.example",
            "http://x:",
            "http://x_y",
            "http://[::1]_:8080",
            "http://[::1_]",
        ] {
            assert!(Upstream::parse(text).is_err(), "{text}");
        }
    }
}
