//! Names, numbers, patterns, origins: whatever has one spelling prints what it was read from. Two lines at most.

use std::fmt::Display;
use std::str::FromStr;

use tgp::config::Origin;
use tgp::proxy::upstream::Upstream;
use tgp_authority::{ActionPattern, valid_host, valid_origin, valid_resource};
use tgp_request::MasterKey;
use tgp_request::name::{
    Aan, ActionName, Handle, Resource, ResourcePattern, Scope, Slug, SpiffeId, TrustDomain, parse_uuid,
};

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    one_spelling::<Slug>(first);
    one_spelling::<Handle>(first);
    one_spelling::<ActionName>(first);
    one_spelling::<Scope>(first);
    one_spelling::<Aan>(first);
    one_spelling::<SpiffeId>(first);
    one_spelling::<TrustDomain>(first);
    one_spelling::<ActionPattern>(first);
    one_spelling::<Resource>(first);
    one_spelling::<ResourcePattern>(first);
    resources(first, second);
    if let Ok(uuid) = parse_uuid(first) {
        assert_eq!(uuid.to_string(), first);
    }
    if let Ok(key) = MasterKey::parse(first) {
        assert_eq!(key.expose_text().as_str(), first);
    }
    if let (Ok(pattern), Ok(action)) = (first.parse::<ActionPattern>(), second.parse::<ActionName>()) {
        assert_eq!(pattern.covers(&action), means(first.as_bytes(), second.as_bytes()), "{first} over {second}");
        assert!(ActionPattern::exactly(&action).covers(&action));
    }
    addresses(first);
    true
}

fn one_spelling<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// A pattern covers what its definition says, and is within another only if that covers all of it.
fn resources(first: &str, second: &str) {
    let Ok(pattern) = first.parse::<ResourcePattern>() else { return };
    if let Ok(touched) = second.parse::<Resource>() {
        let (wanted, given): (Vec<_>, Vec<_>) = (first.split('/').collect(), second.split('/').collect());
        let one = |(want, have): (&&str, &&str)| want == have || *want == "*" && !have.is_empty();
        let means = match wanted.split_last() {
            Some((&"**", head)) => {
                given.len() > head.len()
                    && head.iter().zip(&given).all(one)
                    && !given[head.len()..].join("/").is_empty()
            }
            _ => wanted.len() == given.len() && wanted.iter().zip(&given).all(one),
        };
        assert_eq!(pattern.covers(&touched), means, "{first} over {second}");
    }
    if let Ok(wider) = second.parse::<ResourcePattern>()
        && pattern.is_within(&wider)
    {
        for filled in [first.replace("**", "x/y").replace('*', "z"), first.replace('*', "x")] {
            let touched: Resource = filled.parse().expect("stars stand for text");
            assert!(pattern.covers(&touched) && wider.covers(&touched), "{first} within {second}: {filled}");
        }
    }
}

/// What a pattern means, by its definition: which prefixes of the name its first parts may have taken.
fn means(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match part {
                b'*' => reached[..=at].contains(&true),
                byte => at > 0 && reached[at - 1] && name[at - 1] == *byte,
            };
        }
        reached = next;
    }
    reached[name.len()]
}

/// Several readers of addresses stand in a row: a granter's origin is compared with the upstream's as text.
fn addresses(text: &str) {
    if valid_origin(text) {
        assert!(valid_resource(text), "an origin is a resource without a path");
        let upstream = Upstream::parse(text).expect("an origin that can be signed can be an upstream");
        assert_eq!(upstream.origin(), text, "and is the one that was signed");
        assert!(valid_host(upstream.host()));
    }
    if valid_resource(text) {
        let uri: http::Uri = text.parse().expect("a resource is a URI");
        assert!(tgp_request::target::canonical(uri.path()).is_ok() && uri.query().is_none());
    }
    if let Ok(upstream) = Upstream::parse(text) {
        let again = Upstream::parse(upstream.origin()).expect("an upstream's origin is one");
        assert_eq!((again.origin(), again.host().to_ascii_lowercase()), (upstream.origin(), again.host().to_owned()));
        assert_eq!(again.port(), upstream.port());
        let uri = upstream.uri("/x", Some("y")).expect("a plain path fits every upstream");
        assert!(uri.path().ends_with("/x") && uri.query() == Some("y"));
        assert_eq!(uri.authority().map(|it| it.host().trim_matches(['[', ']'])), Some(upstream.host()));
    }
    if let Ok(origin) = Origin::parse(text) {
        assert_eq!(origin.as_str(), text);
        assert_eq!(format!("https://{}", origin.authority()), text);
    }
}
