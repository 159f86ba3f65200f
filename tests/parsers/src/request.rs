//! A signed request as a verifier receives it: the two signature fields, content digest, target, limits.
//!
//! Text: `<tag> <method> <target> [now]`, then header lines, an empty line, the content. A fuzzer cannot forge signatures,
//! so whatever has the right form is signed here and must then verify, and nothing else may.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};
use tgp_request::signature::{Code, Tag, UnverifiedRequest, VerifiedHead, header_map, proof_fields};
use tgp_request::target::{EscapedSlash, canonical_with};

use crate::vectors::{AGENT, ISSUER, NOW, TOKEN_KEYS};

const TAGS: [Tag; 6] = [Tag::Request, Tag::Enrol, Tag::EnrolCode, Tag::Renew, Tag::RotateOld, Tag::RotateNew];

struct Case<'a> {
    tag: Tag,
    method: &'a str,
    target: &'a str,
    now: i64,
    headers: HeaderMap,
    body: &'a [u8],
}

impl<'a> Case<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let (first, mut rest) = line(data);
        let mut words = std::str::from_utf8(first).ok()?.split(' ');
        let tag = words.next()?;
        let tag = TAGS.into_iter().find(|it| it.as_str() == tag)?;
        let (method, target) = (words.next()?, words.next()?);
        let now = words.next().map_or(Some(NOW), |text| text.parse().ok())?;
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let (field, after) = line(rest);
            rest = after;
            if field.is_empty() {
                break;
            }
            let colon = field.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
            headers.try_append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?).ok()?;
        }
        Some(Self { tag, method, target, now, headers, body: rest })
    }

    fn parse(&self, headers: &HeaderMap) -> Option<UnverifiedRequest> {
        UnverifiedRequest::parse(self.method, self.target, headers, self.tag, self.now).ok()
    }
}

fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

pub fn check(data: &[u8]) -> bool {
    let Some(case) = Case::read(data) else { return false };
    let Case { tag, method, target, now, headers, body: _ } = &case;
    let lenient = UnverifiedRequest::parse_with(method, target, headers, *tag, *now, EscapedSlash::Allowed);
    let Some(request) = case.parse(headers) else { return false };
    let lenient = lenient.expect("the mark only lets more through");
    assert_eq!(lenient.signature_base(), request.signature_base());

    let after = target.split_once("://").unwrap().1;
    let path = &after[after.find('/').unwrap()..];
    assert!(canonical_with(path, EscapedSlash::Refused).is_ok(), "{path}");
    assert!((1..=60).contains(&(request.expires() - request.created())) && request.expires() > *now);

    let (label, components) = our_input(&case);
    let base = request.signature_base();
    assert_eq!(base.split('\n').count(), components.len() + 1, "a component makes one line: {base}");
    for needed in ["@method", "@target-uri"] {
        assert!(components.iter().any(|it| it == needed), "{needed} is not covered");
    }
    same_for_the_vault(&case, &request);
    if request.keyid() == AGENT.public().keyid() {
        signed(&case, &request, &label);
    }
    genuine(&case, request)
}

/// Whether the request as it is passes every check.
fn genuine(case: &Case<'_>, request: UnverifiedRequest) -> bool {
    let head = match case.tag {
        Tag::Request => match TOKEN_KEYS.verify(request.bearer(), ISSUER, case.now) {
            Ok(token) => request.verify(&token),
            Err(_) => return false,
        },
        _ => request.verify_with_key(AGENT.public()),
    };
    head.is_ok_and(|head| head.body(case.body).is_ok())
}

/// The standard reading of the fields: the label with our tag, and its components.
fn our_input(case: &Case<'_>) -> (String, Vec<String>) {
    let field = joined(&case.headers, "signature-input");
    let inputs: Dictionary = Parser::new(&field).parse().expect("what we read is a dictionary");
    let mut ours = inputs.iter().filter_map(|(label, entry)| match entry {
        ListEntry::InnerList(list) => {
            let tag = list.params.get("tag")?.as_string()?.as_str();
            (tag == case.tag.as_str()).then_some((label, list))
        }
        ListEntry::Item(_) => None,
    });
    let (label, list) = ours.next().expect("one signature has our tag");
    assert!(ours.next().is_none(), "two signatures have our tag");
    let names = list.items.iter().map(|item| item.bare_item.as_string().expect("a name").as_str().to_owned());
    (label.as_str().to_owned(), names.collect())
}

fn joined(headers: &HeaderMap, name: &str) -> String {
    let lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    lines.collect::<Vec<_>>().join(", ")
}

/// What the gateway hands to the vault reads there as it read here.
fn same_for_the_vault(case: &Case<'_>, request: &UnverifiedRequest) {
    let Ok(fields) = proof_fields(&case.headers, case.tag) else {
        let odd = case.headers.values().any(|value| value.to_str().is_err());
        return assert!(odd, "fields that are visible ASCII can be handed over");
    };
    let there = case.parse(&header_map(&fields).expect("they were headers before"));
    let there = there.expect("the vault reads what the gateway read");
    assert_eq!(there.signature_base(), request.signature_base());
    assert_eq!(there.bearer_hash(), request.bearer_hash());
    assert_eq!((there.keyid(), there.nonce()), (request.keyid(), request.nonce()));
    assert_eq!((there.created(), there.expires()), (request.created(), request.expires()));
}

/// Signs the request as its agent would: it verifies, unless the signature stands in its own base.
fn signed(case: &Case<'_>, request: &UnverifiedRequest, label: &str) {
    let base = request.signature_base();
    let mut headers = case.headers.clone();
    let field = format!("{label}=:{}:", STANDARD.encode(AGENT.sign(base.as_bytes())));
    headers.insert("signature", HeaderValue::from_str(&field).unwrap());
    let verified = || {
        let again = case.parse(&headers)?;
        (again.signature_base() == base).then_some(again.verify_with_key(AGENT.public()).expect("it was just signed"))
    };
    let Some(head) = verified() else { return };
    if case.tag == Tag::Request {
        within_its_token(case, &headers);
    }
    content(case, head, verified().expect("as before"));
}

fn within_its_token(case: &Case<'_>, headers: &HeaderMap) {
    let request = case.parse(headers).expect("as before");
    let Ok(token) = TOKEN_KEYS.verify(request.bearer(), ISSUER, case.now) else { return };
    let aud = token.claims().aud.clone();
    match request.verify(&token) {
        Ok(head) => {
            let rest = head.target_uri().strip_prefix(aud.as_str()).expect("the target begins with the audience");
            assert!(rest.is_empty() || rest.starts_with(['/', '?']), "{rest}");
        }
        Err(refusal) => assert_eq!(refusal.code, Code::ScopeInsufficient, "{refusal}"),
    }
}

/// The digest rules, read whole and in pieces, and against the standard reading of the field.
fn content(case: &Case<'_>, head: VerifiedHead, again: VerifiedHead) {
    let whole = head.body(case.body).map(drop).map_err(|refusal| refusal.code);
    let mut check = again.content_check();
    let pieces = case.body.chunks(7).try_for_each(|piece| check.update(piece)).and_then(|()| check.finish());
    assert_eq!(whole, pieces.map(drop).map_err(|refusal| refusal.code), "in pieces it is judged as the whole");
    if whole.is_err() {
        return;
    }
    let field = joined(&case.headers, "content-digest");
    let digests: Dictionary = Parser::new(&field).parse().expect("an accepted digest is a dictionary");
    let matches = |name: &str, expected: &[u8]| match digests.get(name) {
        None => false,
        Some(ListEntry::Item(item)) => {
            assert_eq!(item.bare_item, BareItem::ByteSequence(expected.to_vec()), "{name}");
            true
        }
        Some(ListEntry::InnerList(_)) => panic!("a list is no digest"),
    };
    let (short, long) = (Sha256::digest(case.body), Sha512::digest(case.body));
    let any = [matches("sha-256", &short), matches("sha-512", &long)].contains(&true);
    if !case.body.is_empty() {
        assert!(any && case.headers.contains_key("content-type"), "content came without digest or type");
    }
}
