//! What a token request asks for: `application/x-www-form-urlencoded`, RFC 6749 §4.4.2, with RFC 9396
//! details or with RFC 8707's `resource` beside `scope`, never both.

use serde::Deserialize;
use tgp_request::name::{ActionName, MAX_PATTERNS, ResourcePattern, Scope, Slug, parse_uuid};
use tgp_request::token::AuthorizationDetail;
use uuid::Uuid;

use super::OauthRefusal;
use crate::json::Object;
use crate::refusal::{Code, Refusal};

/// Actions in one token.
const MAX_ACTIONS: usize = 64;
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 §3: the only kind of token that is taken or given here.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// How a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    ClientCredentials,
    TokenExchange,
}

/// Which of the two ways was used: errors are named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Details,
    Scope,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub tool: Slug,
    /// The tool's own when details name no location.
    pub resource: Option<String>,
    pub actions: Vec<ActionName>,
    /// What inside the tool; none asks for all that the grant has.
    pub resources: Vec<ResourcePattern>,
    /// An agent that may exchange the token for one of its own (RFC 8693 §4.4).
    pub may_act: Option<Uuid>,
    pub way: Way,
}

/// What an exchange asks for of another agent's token; what is left out is as there.
#[derive(Debug, PartialEq, Eq)]
pub struct Narrowed {
    pub tool: Option<Slug>,
    pub resource: Option<String>,
    pub actions: Option<Vec<ActionName>>,
    pub resources: Vec<ResourcePattern>,
    pub may_act: Option<Uuid>,
    pub way: Way,
}

/// One request's parameters, each at most once. What is left out and what is empty are alike.
#[derive(Default)]
pub struct Form {
    grant_type: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
    details: Option<String>,
    client_id: Option<String>,
    may_act: Option<String>,
    subject_token: Option<String>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    /// Parameters of RFC 8693 that have no place here.
    misplaced: Option<&'static str>,
    /// Whether there is a `client_secret`, which nobody may send.
    pub client_secret: bool,
    pub assertion: Option<String>,
    pub assertion_type: Option<String>,
}

impl Asked {
    pub fn parse(form: Form) -> Result<Self, OauthRefusal> {
        let may_act = form.may_act()?;
        let asked = match (form.details, form.scope, form.resource) {
            (Some(details), None, None) => Self::of_details(&details),
            (None, scope, resource) if scope.is_some() || resource.is_some() => {
                Self::of_scope(scope.as_deref().unwrap_or_default(), resource)
            }
            (None, _, _) => Err(invalid("ask by authorization_details, or by scope and resource")),
            (Some(_), _, _) => Err(both_ways()),
        }?;
        Ok(Self { may_act, ..asked })
    }

    fn of_scope(scope: &str, resource: Option<String>) -> Result<Self, OauthRefusal> {
        let (tool, actions) = scopes(scope)?;
        let resource = resource.ok_or_else(|| {
            let detail = "resource is missing: the URL prefix of the tool";
            OauthRefusal::invalid_target(Refusal::new(Code::RequestMalformed, detail))
        })?;
        Ok(Self { tool, resource: Some(resource), actions, resources: Vec::new(), may_act: None, way: Way::Scope })
    }

    fn of_details(text: &str) -> Result<Self, OauthRefusal> {
        let bad = |detail: &str| OauthRefusal::invalid_details(Refusal::new(Code::RequestMalformed, detail));
        let details: Vec<Object<Detail>> = serde_json::from_str(text)
            .map_err(|_| bad("authorization_details is a JSON array of one object of type tgp_tool"))?;
        let [Object(detail)] =
            <[Object<Detail>; 1]>::try_from(details).map_err(|_| bad("one token is for one tool: send one detail"))?;
        let Detail { kind, identifier, actions, locations, resources } = detail;
        if kind != AuthorizationDetail::TYPE {
            return Err(bad("the type must be tgp_tool"));
        }
        if actions.is_empty() {
            return Err(bad("name at least one action"));
        }
        let actions = distinct(actions, MAX_ACTIONS).ok_or_else(|| bad("too many actions for one token"))?;
        let resource = match locations.as_deref() {
            None => None,
            Some([location]) => Some(location.clone()),
            Some(_) => return Err(bad("locations must hold the tool's resource and nothing else")),
        };
        let resources = match resources {
            None => Vec::new(),
            Some(patterns) if patterns.is_empty() => return Err(bad("name at least one resource, or leave them out")),
            Some(patterns) => {
                distinct(patterns, MAX_PATTERNS).ok_or_else(|| bad("too many resources for one token"))?
            }
        };
        Ok(Self { tool: identifier, resource, actions, resources, may_act: None, way: Way::Details })
    }
}

/// One tool and its actions, each once.
fn scopes(text: &str) -> Result<(Slug, Vec<ActionName>), OauthRefusal> {
    let bad = |detail: &str| OauthRefusal::invalid_scope(Refusal::new(Code::RequestMalformed, detail));
    let mut tool = None;
    let mut actions = Vec::new();
    for text in text.split(' ').filter(|text| !text.is_empty()) {
        let Scope { tool: of, action } = text.parse().map_err(|_| bad("a scope is <tool>:<action>"))?;
        if tool.get_or_insert_with(|| of.clone()) != &of {
            return Err(bad("one token is for one tool"));
        }
        actions.push(action);
    }
    let tool = tool.ok_or_else(|| bad("scope is missing"))?;
    Ok((tool, distinct(actions, MAX_ACTIONS).ok_or_else(|| bad("too many actions for one token"))?))
}

fn both_ways() -> OauthRefusal {
    invalid("ask by authorization_details or by scope and resource, not both ways")
}

impl Narrowed {
    /// The token that was handed over, and what is asked for of it.
    pub fn parse(form: Form) -> Result<(String, Self), OauthRefusal> {
        let may_act = form.may_act()?;
        if let Some(name) = form.misplaced {
            return Err(invalid(&format!("leave out {name}: the client that authenticates is the actor")));
        }
        let text = form.subject_token.ok_or_else(|| invalid("subject_token is missing"))?;
        match form.subject_token_type.as_deref() {
            Some(ACCESS_TOKEN) => {}
            _ => return Err(invalid("subject_token_type must be that of an access token")),
        }
        if form.requested_token_type.is_some_and(|kind| kind != ACCESS_TOKEN) {
            return Err(invalid("requested_token_type must be that of an access token, or left out"));
        }
        let narrowed = match (form.details, form.scope, form.resource) {
            (Some(details), None, None) => {
                let Asked { tool, resource, actions, resources, may_act: _, way } = Asked::of_details(&details)?;
                Self { tool: Some(tool), resource, actions: Some(actions), resources, may_act, way }
            }
            (Some(_), _, _) => return Err(both_ways()),
            (None, scope, resource) => {
                let named = scope.as_deref().map(scopes).transpose()?;
                let (tool, actions) = named.map_or((None, None), |(tool, actions)| (Some(tool), Some(actions)));
                Self { tool, resource, actions, resources: Vec::new(), may_act, way: Way::Scope }
            }
        };
        Ok((text, narrowed))
    }
}

/// Unknown members might narrow what is asked for, and are refused rather than lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    #[serde(rename = "type")]
    kind: String,
    identifier: Slug,
    actions: Vec<ActionName>,
    #[serde(default)]
    locations: Option<Vec<String>>,
    #[serde(default)]
    resources: Option<Vec<ResourcePattern>>,
}

/// Each once, in the order asked; none when there are more than `most`.
fn distinct<T: PartialEq>(named: Vec<T>, most: usize) -> Option<Vec<T>> {
    let mut kept: Vec<T> = Vec::with_capacity(named.len().min(most));
    for name in named {
        if kept.contains(&name) {
            continue;
        }
        // A form holds tens of thousands of names: no more are compared than may be kept.
        if kept.len() == most {
            return None;
        }
        kept.push(name);
    }
    Some(kept)
}

impl Form {
    /// `client` is the agent that authenticated, for a `client_id` that says the same again.
    pub fn grant_type(&self, client: Uuid) -> Result<GrantType, OauthRefusal> {
        let grant = match self.grant_type.as_deref() {
            Some("client_credentials") => GrantType::ClientCredentials,
            Some(EXCHANGE) => GrantType::TokenExchange,
            Some(_) => return Err(OauthRefusal::unsupported_grant_type()),
            None => return Err(invalid("grant_type is missing")),
        };
        if self.client_id.as_ref().is_some_and(|id| *id != client.to_string()) {
            return Err(invalid("client_id is not the client that authenticated"));
        }
        Ok(grant)
    }

    fn may_act(&self) -> Result<Option<Uuid>, OauthRefusal> {
        let named = self.may_act.as_deref().map(parse_uuid).transpose();
        named.map_err(|_| invalid("may_act is an agent's UUID"))
    }

    pub fn parse(body: &[u8]) -> Result<Self, OauthRefusal> {
        let text = std::str::from_utf8(body).map_err(|_| invalid("the body is not a form"))?;
        let mut form = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| invalid("the body is not a form"))?;
            let slot = match name.as_str() {
                "grant_type" => &mut form.grant_type,
                "scope" => &mut form.scope,
                "resource" => &mut form.resource,
                "authorization_details" => &mut form.details,
                "client_id" => &mut form.client_id,
                "may_act" => &mut form.may_act,
                "subject_token" => &mut form.subject_token,
                "subject_token_type" => &mut form.subject_token_type,
                "requested_token_type" => &mut form.requested_token_type,
                "actor_token" | "actor_token_type" => {
                    form.misplaced = Some("actor_token and its type");
                    continue;
                }
                "client_assertion" => &mut form.assertion,
                "client_assertion_type" => &mut form.assertion_type,
                "client_secret" => {
                    form.client_secret = true;
                    continue;
                }
                // RFC 6749 §3.2: unknown parameters are ignored.
                _ => continue,
            };
            if slot.is_some() {
                // RFC 8707 §2 lets `resource` repeat; a token here has one audience.
                return Err(match name.as_str() {
                    "resource" => OauthRefusal::invalid_target(Refusal::new(
                        Code::RequestMalformed,
                        "one token is for one resource",
                    )),
                    _ => invalid("a parameter is repeated"),
                });
            }
            let value = decode(value).ok_or_else(|| invalid("the body is not a form"))?;
            // RFC 6749 §3.2: a parameter without a value is as if it were left out.
            if !value.is_empty() {
                *slot = Some(value);
            }
        }
        Ok(form)
    }
}

fn invalid(detail: &str) -> OauthRefusal {
    OauthRefusal::invalid_request(Refusal::new(Code::RequestMalformed, detail))
}

/// One name or value: `+` is a space, `%XX` an octet, the whole UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => octets.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_first_chunk::<2>()?;
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                octets.push(digit(digits[0])? * 16 + digit(digits[1])?);
                rest = tail;
            }
            _ => octets.push(byte),
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::OauthError;

    /// Counts how often it is compared.
    struct Name<'c>(usize, &'c std::cell::Cell<usize>);

    impl PartialEq for Name<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    #[test]
    fn no_more_names_are_compared_than_may_be_kept() {
        let compared = std::cell::Cell::new(0);
        let names = |range: std::ops::Range<usize>| range.map(|n| Name(n, &compared)).collect::<Vec<_>>();
        assert_eq!(distinct(names(0..64), 64).map(|kept| kept.len()), Some(64));
        let again = names(0..64).into_iter().chain(names(0..64)).collect();
        assert_eq!(distinct(again, 64).map(|kept| kept.len()), Some(64));
        compared.set(0);
        assert!(distinct(names(0..10_000), 64).is_none());
        assert!(compared.get() <= 65 * 64, "{}", compared.get());
    }

    const CLIENT: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";

    fn parse(body: &str) -> Result<Asked, OauthRefusal> {
        let form = Form::parse(body.as_bytes())?;
        assert_eq!(form.grant_type(parse_uuid(CLIENT).expect("a uuid"))?, GrantType::ClientCredentials);
        Asked::parse(form)
    }

    fn error(body: &str) -> OauthError {
        parse(body).expect_err(body).error
    }

    #[test]
    fn both_ways_of_asking_say_the_same() {
        let by_scope = parse(
            "grant_type=client_credentials&scope=mail%3Asend+mail%3Aread&resource=https%3A%2F%2Fgw.example%2Ft%2Fmail",
        )
        .expect("by scope");
        let details = "%5B%7B%22type%22%3A%22tgp_tool%22%2C%22identifier%22%3A%22mail%22%2C%22actions%22%3A%5B%22send\
                       %22%2C%22read%22%5D%2C%22locations%22%3A%5B%22https%3A%2F%2Fgw.example%2Ft%2Fmail%22%5D%7D%5D";
        let by_details =
            parse(&format!("grant_type=client_credentials&authorization_details={details}")).expect("details");
        assert_eq!(by_scope.tool, by_details.tool);
        assert_eq!(by_scope.actions, by_details.actions);
        assert_eq!(by_scope.resource, by_details.resource);
        assert_eq!((by_scope.way, by_details.way), (Way::Scope, Way::Details));
    }

    #[test]
    fn each_mistake_has_the_standards_name() {
        let grant = "grant_type=client_credentials";
        assert_eq!(error("scope=mail:send"), OauthError::InvalidRequest);
        assert_eq!(error("grant_type=password&scope=mail:send&resource=x"), OauthError::UnsupportedGrantType);
        assert_eq!(error(grant), OauthError::InvalidRequest);
        assert_eq!(error(&format!("{grant}&scope=mail:send")), OauthError::InvalidTarget);
        assert_eq!(error(&format!("{grant}&resource=x")), OauthError::InvalidScope);
        assert_eq!(error(&format!("{grant}&scope=mail&resource=x")), OauthError::InvalidScope);
        assert_eq!(error(&format!("{grant}&scope=mail:a+crm:b&resource=x")), OauthError::InvalidScope);
        assert_eq!(error(&format!("{grant}&scope=a:b&resource=x&resource=y")), OauthError::InvalidTarget);
        assert_eq!(error(&format!("{grant}&scope=a:b&scope=a:c&resource=x")), OauthError::InvalidRequest);
        assert_eq!(error(&format!("{grant}&client_assertion=a&client_assertion=b")), OauthError::InvalidRequest);
        assert_eq!(error(&format!("{grant}&scope=a:b&resource=x&client_id=other")), OauthError::InvalidRequest);
        assert_eq!(error(&format!("{grant}&scope=a:b&authorization_details=%5B%5D")), OauthError::InvalidRequest);
        for details in [
            "%5B%5D",
            "x",
            "%5B%7B%22type%22%3A%22other%22%2C%22identifier%22%3A%22m%22%2C%22actions%22%3A%5B%22a%22%5D%7D%5D",
            "%5B%7B%22type%22%3A%22tgp_tool%22%2C%22identifier%22%3A%22m%22%2C%22actions%22%3A%5B%5D%7D%5D",
            "%5B%7B%22type%22%3A%22tgp_tool%22%2C%22identifier%22%3A%22m%22%2C%22actions%22%3A%5B%22a%22%5D\
             %2C%22resources%22%3A%5B%5D%7D%5D",
            "%5B%7B%22type%22%3A%22tgp_tool%22%2C%22identifier%22%3A%22m%22%2C%22actions%22%3A%5B%22a%22%5D\
             %2C%22resources%22%3A%5B%22a%2F..%22%5D%7D%5D",
            "%5B%7B%22type%22%3A%22tgp_tool%22%2C%22identifier%22%3A%22m%22%2C%22actions%22%3A%5B%22a%22%5D\
             %2C%22datatypes%22%3A%5B%22r%22%5D%7D%5D",
        ] {
            assert_eq!(
                error(&format!("{grant}&authorization_details={details}")),
                OauthError::InvalidAuthorizationDetails,
                "{details}"
            );
        }
    }

    #[test]
    fn an_exchange_takes_one_access_token_and_leaves_out_what_is_as_there() {
        let base = format!("grant_type={EXCHANGE}&subject_token=t&subject_token_type={ACCESS_TOKEN}");
        let parse = |more: &str| Narrowed::parse(Form::parse(format!("{base}{more}").as_bytes())?);
        let (text, narrowed) = parse("").expect("all of it");
        assert_eq!((text.as_str(), narrowed.tool, narrowed.actions), ("t", None, None));
        let (_, narrowed) = parse("&scope=mail%3Asend").expect("one action");
        assert_eq!(narrowed.actions, Some(vec!["send".parse().expect("a name")]));
        let (_, narrowed) = parse(&format!("&may_act={CLIENT}&resource=x")).expect("for another");
        assert_eq!((narrowed.may_act, narrowed.resource.as_deref()), (parse_uuid(CLIENT).ok(), Some("x")));
        let name = |more: &str| parse(more).expect_err(more).error;
        for more in [
            "&actor_token=x",
            "&actor_token_type=x",
            "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token",
            "&subject_token=u",
            "&may_act=me",
            "&scope=a:b&authorization_details=%5B%5D",
        ] {
            assert_eq!(name(more), OauthError::InvalidRequest, "{more}");
        }
        assert_eq!(name("&scope=mail"), OauthError::InvalidScope);
        for body in ["subject_token=t", "subject_token=t&subject_token_type=x", "subject_token_type=x"] {
            let form = Form::parse(body.as_bytes()).expect("a form");
            assert_eq!(Narrowed::parse(form).expect_err(body).error, OauthError::InvalidRequest, "{body}");
        }
    }

    #[test]
    fn a_form_is_decoded_strictly() {
        assert_eq!(decode("a%2Bb+c").as_deref(), Some("a+b c"));
        assert_eq!(decode("%C3%A9").as_deref(), Some("é"));
        for bad in ["%", "%4", "%zz", "%FF", "%+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
