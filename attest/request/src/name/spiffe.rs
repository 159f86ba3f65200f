//! SPIFFE identities of agents, operators and tools.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{NameError, Slug, parse_uuid, text_name};

text_name!(
    /// A deployment's trust domain: DNS-like, lower case, at most 255 characters.
    TrustDomain, "trust domain", check_trust_domain
);

fn check_trust_domain(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 255 {
        return Err("it has 1 to 255 characters");
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("its labels have 1 to 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("its labels do not start or end with '-'");
        }
        if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err("its labels have only a-z, 0-9 and '-'");
        }
    }
    Ok(())
}

/// Who a SPIFFE ID names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Agent(Uuid),
    Operator(Uuid),
    Tool(Slug),
}

/// `spiffe://<trust domain>/{agent|operator}/<uuid>` or `…/tool/<slug>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    pub trust_domain: TrustDomain,
    pub kind: Kind,
}

impl SpiffeId {
    pub fn agent(trust_domain: TrustDomain, agent: Uuid) -> Self {
        Self { trust_domain, kind: Kind::Agent(agent) }
    }

    pub fn operator(trust_domain: TrustDomain, operator: Uuid) -> Self {
        Self { trust_domain, kind: Kind::Operator(operator) }
    }

    pub fn tool(trust_domain: TrustDomain, tool: Slug) -> Self {
        Self { trust_domain, kind: Kind::Tool(tool) }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/", self.trust_domain)?;
        match &self.kind {
            Kind::Agent(uuid) => write!(f, "agent/{}", uuid.hyphenated()),
            Kind::Operator(uuid) => write!(f, "operator/{}", uuid.hyphenated()),
            Kind::Tool(slug) => write!(f, "tool/{slug}"),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |why| NameError { what: "SPIFFE ID", why };
        let rest = text.strip_prefix("spiffe://").ok_or(error("it starts with spiffe://"))?;
        let (trust_domain, path) = rest.split_once('/').ok_or(error("it has a path"))?;
        let trust_domain = trust_domain.parse()?;
        let (kind, name) = path.split_once('/').ok_or(error("its path has two segments"))?;
        let kind = match kind {
            "agent" => Kind::Agent(parse_uuid(name)?),
            "operator" => Kind::Operator(parse_uuid(name)?),
            "tool" => Kind::Tool(name.parse()?),
            _ => return Err(error("it names an agent, an operator or a tool")),
        };
        Ok(Self { trust_domain, kind })
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";

    #[test]
    fn each_kind_reads_back() {
        for text in [
            format!("spiffe://tgp.example/agent/{UUID}"),
            format!("spiffe://tgp.example/operator/{UUID}"),
            "spiffe://a/tool/crm".to_owned(),
        ] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_agent_is_not_an_operator() {
        let agent: SpiffeId = format!("spiffe://a/agent/{UUID}").parse().unwrap();
        assert!(matches!(agent.kind, Kind::Agent(_)));
        assert_ne!(agent, format!("spiffe://a/operator/{UUID}").parse().unwrap());
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            format!("SPIFFE://tgp.example/agent/{UUID}"),
            format!("https://tgp.example/agent/{UUID}"),
            format!("spiffe://tgp.example/Agent/{UUID}"),
            format!("spiffe://TGP.example/agent/{UUID}"),
            format!("spiffe://tgp.example:1/agent/{UUID}"),
            format!("spiffe://u@tgp.example/agent/{UUID}"),
            format!("spiffe:///agent/{UUID}"),
            format!("spiffe://tgp.example//agent/{UUID}"),
            format!("spiffe://tgp.example/agent/{UUID}/"),
            format!("spiffe://tgp.example/agent/{UUID}?x"),
            format!("spiffe://tgp.example/agent/{}", UUID.to_uppercase()),
            "spiffe://tgp.example/agent".to_owned(),
            "spiffe://tgp.example/tool/CRM".to_owned(),
            "spiffe://tgp.example".to_owned(),
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trust_domain_is_like_a_dns_name() {
        for good in ["a", "tgp.example", "a-b.c1"] {
            assert!(good.parse::<TrustDomain>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-.b", "A", "a_b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }
}
