//! What must hold of every input, not only of those that someone thought of.

use http::HeaderMap;
use proptest::prelude::*;
use tgp_request::jwk::{IdentityKey, IdentitySecret};
use tgp_request::name::{Aan, Handle, Scope, Slug, SpiffeId};
use tgp_request::signature::{Params, Tag, UnverifiedRequest, sign_request};
use tgp_request::target::{self, EscapedSlash, PathTemplate};
use tgp_request::{MasterKey, enrol::EnrolmentCode};

/// A second reading of the rule for paths: decode every segment, encode it the one way, compare.
fn is_canonical(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let segments: Vec<&str> = rest.split('/').collect();
    segments.iter().enumerate().all(|(index, segment)| {
        if segment.is_empty() {
            return index + 1 == segments.len();
        }
        let Some(decoded) = decode(segment) else { return false };
        decoded != "."
            && decoded != ".."
            && !decoded.contains(['/', '\\', ';', '%'])
            && !decoded.chars().any(char::is_control)
            && respells(segment, &decoded)
    })
}

/// Every character stands as itself or escaped, and unreserved ones as themselves.
fn respells(segment: &str, decoded: &str) -> bool {
    let mut rest = segment;
    for c in decoded.chars() {
        let unreserved = c.is_ascii_alphanumeric() || "-._~".contains(c);
        let escaped: String = c.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
        if (unreserved || "!$&'()*+,=:@".contains(c)) && rest.starts_with(c) {
            rest = &rest[1..];
        } else if !unreserved && rest.get(..escaped.len()).is_some_and(|it| it.eq_ignore_ascii_case(&escaped)) {
            rest = &rest[escaped.len()..];
        } else {
            return false;
        }
    }
    rest.is_empty()
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            let text = [*high, *low];
            let digits = std::str::from_utf8(&text).ok().filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn digits() -> impl Strategy<Value = [u8; 11]> {
    prop::array::uniform11(0u8..10)
}

proptest! {
    #[test]
    fn two_readings_of_the_path_rule_agree(path in "(/([a-c.~;@%\\\\é\"]|%[0-9a-fA-F]{2}|%2[eEfF5]|%c3%a9|%C0%AF|\\.\\.)*){0,4}") {
        prop_assert_eq!(target::canonical(&path).is_ok(), is_canonical(&path), "{}", path);
    }

    #[test]
    fn any_text_is_judged_without_panic(text in ".*", now in any::<i64>()) {
        let _ = target::canonical(&text);
        let _ = text.parse::<PathTemplate>();
        let _ = text.parse::<SpiffeId>();
        let _ = MasterKey::parse(&text);
        let _ = EnrolmentCode::parse(&text);
        let mut headers = HeaderMap::new();
        for name in ["signature", "signature-input", "authorization", "content-digest"] {
            if let Ok(value) = text.parse() {
                headers.insert(name, value);
            }
        }
        let _ = UnverifiedRequest::parse("GET", &text, &headers, Tag::Request, now);
        let _ = UnverifiedRequest::parse("GET", "https://a/", &headers, Tag::Renew, now);
    }

    #[test]
    fn an_escaped_slash_is_the_only_thing_that_the_mark_lets_through(path in "/([a-c/]|%2[fF]|%5[cC]|%2[eE]){0,8}") {
        let allowed = target::canonical_with(&path, EscapedSlash::Allowed).is_ok();
        let without = path.replace("%2f", "x").replace("%2F", "x");
        prop_assert_eq!(allowed, target::canonical(&without).is_ok());
    }

    #[test]
    fn a_target_is_within_its_audience_only_at_a_boundary(aud in "https://a/t/[a-c]{1,3}", rest in "[/?a-c]{0,4}") {
        let target = format!("{aud}{rest}");
        prop_assert_eq!(target::within(&aud, &target), rest.is_empty() || rest.starts_with(['/', '?']));
    }

    #[test]
    fn a_template_matches_what_it_was_filled_with(id in "[a-z0-9]{1,8}", name in "[a-z0-9.@]{1,8}") {
        let template: PathTemplate = "/v1/{id}/files/{name}.json".parse().unwrap();
        let path = template.fill(|parameter| Some(if parameter == "id" { &id } else { &name })).unwrap();
        prop_assert_eq!(template.matches(&path), Some(vec![("id", id.as_str()), ("name", name.as_str())]));
    }

    #[test]
    fn what_a_template_matches_it_was_filled_with(
        template in "(/(\\{[a-c](%2F)?\\}|[ab.]{0,2}\\{[d-f](%2F)?\\}[:.]?[ab]?|[ab]{1,2})){1,4}",
        path in "(/([ab.:]{1,3}|[ab]%2[fF][ab])){1,4}",
    ) {
        let Ok(template) = template.parse::<PathTemplate>() else { return Ok(()) };
        let Some(values) = template.matches(&path) else { return Ok(()) };
        let value = |name: &str| values.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
        let filled = template.fill(value);
        prop_assert_eq!(filled.as_deref(), Some(path.as_str()));
        for (_, value) in &values {
            prop_assert!(!value.is_empty() && !value.contains('/'));
            prop_assert!(template.takes_escaped_slash() || !value.to_ascii_lowercase().contains("%2f"));
        }
    }

    #[test]
    fn a_template_takes_no_path_of_another_length(template in "(/(\\{[a-d]\\}|[ab]{1,2})){1,4}", path in "(/[ab]{1,2}){1,5}") {
        let Ok(template) = template.parse::<PathTemplate>() else { return Ok(()) };
        // The definition: as many segments, and each literal one the same.
        let fits = template.as_str().split('/').count() == path.split('/').count()
            && template.as_str().split('/').zip(path.split('/')).all(|(own, theirs)| own.starts_with('{') || own == theirs);
        prop_assert_eq!(template.matches(&path).is_some(), fits);
    }

    #[test]
    fn a_path_that_is_canonical_stays_what_it_is_when_it_is_taken_apart_and_joined(path in "(/([a-c.~@:=]|%20|%C3%A9|%3A){0,5}){1,4}", query in "(\\?[a-z=&%;/]{0,6})?") {
        let target = format!("{path}{query}");
        if target::canonical(&target).is_ok() {
            prop_assert!(target::canonical(&path).is_ok(), "a query mends nothing");
            // What a reader that resolves RFC 3986 references makes of it is the same text.
            let mut kept: Vec<&str> = Vec::new();
            for segment in path.split('/') {
                match segment { "." => {}, ".." => { kept.pop(); }, other => kept.push(other) }
            }
            prop_assert_eq!(kept.join("/"), path);
        }
    }

    #[test]
    fn every_aan_reads_back_and_one_wrong_digit_is_noticed(prefix in "[0-9]{4}", random in digits(), at in 0usize..16, by in 1u8..10) {
        let aan = Aan::from_random(&prefix, random).unwrap();
        prop_assert_eq!(&aan.to_string().parse::<Aan>().unwrap(), &aan);
        prop_assert_eq!(aan.grouped().replace(' ', ""), aan.to_string());
        let mut wrong = aan.to_string().into_bytes();
        wrong[at] = b'0' + (wrong[at] - b'0' + by) % 10;
        prop_assert!(String::from_utf8(wrong).unwrap().parse::<Aan>().is_err());
    }

    #[test]
    fn two_neighbours_of_an_aan_exchanged_are_noticed_but_for_nought_and_nine(prefix in "[0-9]{4}", random in digits(), at in 0usize..15) {
        let mut text = Aan::from_random(&prefix, random).unwrap().to_string().into_bytes();
        let pair = (text[at], text[at + 1]);
        text.swap(at, at + 1);
        // Luhn's one blind spot: 0 and 9 weigh the same doubled.
        let unseen = pair.0 == pair.1 || matches!(pair, (b'0', b'9') | (b'9', b'0'));
        prop_assert_eq!(String::from_utf8(text).unwrap().parse::<Aan>().is_ok(), unseen, "{:?}", pair);
    }

    #[test]
    fn a_number_that_was_not_made_here_is_judged_by_its_check_digit_alone(digits in "[0-9]{16}") {
        // ISO/IEC 7812-1 Annex B, written another way: doubled digits by table.
        let doubled = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
        let sum: usize = digits.bytes().enumerate().map(|(at, byte)| {
            let digit = usize::from(byte - b'0');
            if at % 2 == 0 { doubled[digit] } else { digit }
        }).sum();
        prop_assert_eq!(digits.parse::<Aan>().is_ok(), sum.is_multiple_of(10));
    }

    #[test]
    fn a_scope_reads_back_and_divides_at_its_first_colon(tool in "[a-z0-9][a-z0-9-]{0,62}", action in "[A-Za-z0-9_.:-]{1,128}") {
        let text = format!("{tool}:{action}");
        let scope: Scope = text.parse().unwrap();
        prop_assert_eq!(scope.tool.as_str(), tool);
        prop_assert_eq!(scope.action.as_str(), action);
        prop_assert_eq!(scope.to_string(), text);
    }

    #[test]
    fn a_name_prints_what_it_was_read_from(text in "[a-z0-9A-Z_.:/ -]{0,70}") {
        if let Ok(slug) = text.parse::<Slug>() {
            prop_assert_eq!(slug.to_string(), text.clone());
        }
        prop_assert_eq!(text.parse::<Slug>().is_ok(), text.parse::<Handle>().is_ok());
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert_eq!(scope.to_string(), text);
        }
    }

    #[test]
    fn whatever_is_signed_verifies_and_whatever_is_altered_does_not(
        scalar in prop::array::uniform32(1u8..),
        path in "/[a-z0-9._~-]{1,12}(\\?[a-z]=[a-z0-9]{0,6})?",
        method in "GET|POST|PUT|PATCH|DELETE",
        body in prop::collection::vec(any::<u8>(), 0..64),
        random in any::<[u8; 16]>(),
        created in 0i64..4_000_000_000,
    ) {
        prop_assume!(target::canonical(&path).is_ok());
        let key = IdentitySecret::from_bytes(&scalar).or(Err(TestCaseError::Reject("out of range".into())))?;
        let uri = format!("https://gw.tgp.example{path}");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "a/b".parse().unwrap());
        let params = Params::new(created, random);
        sign_request(&method, &uri, &mut headers, &body, Tag::Renew, &key, params, "sig").unwrap();

        let parse = |uri: &str| UnverifiedRequest::parse(&method, uri, &headers, Tag::Renew, created).unwrap();
        let head = parse(&uri).verify_with_key(key.public()).unwrap();
        prop_assert!(head.body(&body).is_ok());
        let mut longer = body.clone();
        longer.push(0);
        prop_assert!(parse(&uri).verify_with_key(key.public()).unwrap().body(&longer).is_err());
        let elsewhere = format!("{uri}x");
        prop_assert!(parse(&elsewhere).verify_with_key(key.public()).is_err());
    }

    #[test]
    fn a_key_is_the_same_in_every_form(scalar in prop::array::uniform32(1u8..)) {
        let secret = IdentitySecret::from_bytes(&scalar).or(Err(TestCaseError::Reject("out of range".into())))?;
        let key = secret.public();
        prop_assert_eq!(&IdentityKey::from_sec1(&key.to_sec1()).unwrap(), key);
        prop_assert_eq!(&IdentityKey::from_jwk(&key.to_jwk()).unwrap(), key);
        let again = IdentityKey::from_jwk(&key.to_cnf_jwk()).unwrap();
        prop_assert_eq!(again.keyid(), key.keyid());
        prop_assert_eq!(&*secret.dangerous_to_bytes(), &scalar);
    }

    #[test]
    fn a_code_and_a_master_key_read_back(agent in any::<u128>(), expires in any::<u64>(), bytes in any::<[u8; 32]>(), scalar in prop::array::uniform32(1u8..), root in any::<u32>(), generation in any::<u32>()) {
        let agent = uuid::Uuid::from_u128(agent);
        let secret = IdentitySecret::from_bytes(&scalar).or(Err(TestCaseError::Reject("out of range".into())))?;
        let keyid = secret.public().keyid().to_owned();
        let text = EnrolmentCode::new(agent, expires, bytes, secret).text();
        let back = EnrolmentCode::parse(&text).unwrap();
        prop_assert_eq!((back.agent, back.expires, back.ca_spki_sha256), (agent, expires, bytes));
        prop_assert_eq!(back.secret().public().keyid(), keyid);

        let text = MasterKey::new(agent, root, generation, bytes).expose_text();
        let back = MasterKey::parse(&text).unwrap();
        prop_assert_eq!((back.agent, back.root_version, back.generation), (agent, root, generation));
        prop_assert_eq!(back.expose_mac(), &bytes);
        prop_assert_eq!(back.expose_text(), text);
    }
}
