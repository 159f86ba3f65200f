//! The chain of types, signing, and the head as a list of fields.

use crate::generate::{BODY, CREATED, Draft, ISSUER, MESSAGES, NOW, agent, code_key, jwks, token};
use http::HeaderMap;
use tgp_request::signature::{
    Code, Params, Refusal, SignError, Tag, UnverifiedRequest, VerifiedHead, accept_signature, header_map, proof_fields,
    sign_request,
};
use tgp_request::target::EscapedSlash;
use tgp_request::token::{TokenError, TokenKeys, VerifiedToken};

fn verified(token: &str) -> VerifiedToken {
    TokenKeys::from_jwks(&jwks()).unwrap().verify(token, ISSUER, NOW).unwrap()
}

fn parse(case: &crate::generate::Case, now: i64) -> Result<UnverifiedRequest, Refusal> {
    UnverifiedRequest::parse(&case.method, &case.target_uri, &header_map(&case.headers).unwrap(), Tag::Request, now)
}

fn head(case: &crate::generate::Case) -> VerifiedHead {
    parse(case, NOW).unwrap().verify(&verified(&token())).unwrap()
}

fn code<T>(result: Result<T, Refusal>) -> Code {
    result.err().expect("it is refused").code
}

fn params() -> Params {
    Params::new(CREATED, [7; 16])
}

fn unsigned() -> HeaderMap {
    header_map(&[("authorization", format!("Bearer {}", token())), ("content-type", "application/json".to_owned())])
        .unwrap()
}

#[test]
fn another_token_than_the_one_presented_is_refused() {
    let case = Draft::get("", "").sign();
    let other = crate::generate::token_of(
        &crate::generate::header_text(),
        &crate::generate::claims_text().replace("0123456789ab", "0123456789ac"),
    );
    assert_eq!(code(parse(&case, NOW).unwrap().verify(&verified(&other))), Code::TokenInvalid);
}

#[test]
fn a_token_that_expired_since_it_was_verified_is_refused() {
    let claims = crate::generate::claims_text().replace("1795000300", "1795000025");
    let token = crate::generate::token_of(&crate::generate::header_text(), &claims);
    let case = Draft::get("", "").with_token(&token).sign();
    let cached = verified(&token);
    assert!(parse(&case, NOW + 4).unwrap().verify(&cached).is_ok());
    assert_eq!(code(parse(&case, NOW + 5).unwrap().verify(&cached)), Code::TokenInvalid);
    assert_eq!(cached.check_time(NOW + 5), Err(TokenError::Expired));
    assert_eq!(cached.check_time(1_794_999_999), Err(TokenError::NotYetValid));
}

#[test]
fn a_request_without_a_token_cannot_be_verified_with_one() {
    let mut draft = crate::generate::accepted::enrolment_draft("", "", Tag::Renew, &agent());
    draft.target = MESSAGES.to_owned();
    let case = draft.sign();
    let headers = header_map(&case.headers).unwrap();
    let request = UnverifiedRequest::parse(&case.method, &case.target_uri, &headers, Tag::Renew, NOW).unwrap();
    assert_eq!(request.bearer(), "");
    assert_eq!(code(request.verify(&verified(&token()))), Code::TokenInvalid);
}

#[test]
fn content_that_streams_is_judged_as_if_it_came_at_once() {
    let case = Draft::post("", "").sign();
    let mut check = head(&case).content_check();
    for part in BODY.as_bytes().chunks(3) {
        check.update(part).unwrap();
        check.update(&[]).unwrap();
    }
    assert!(check.finish().is_ok());

    let mut altered = head(&case).content_check();
    altered.update(BODY.as_bytes()).unwrap();
    altered.update(b" ").unwrap();
    assert_eq!(code(altered.finish()), Code::DigestMismatch);
    assert_eq!(code(head(&case).content_check().finish()), Code::DigestMismatch);
}

#[test]
fn content_that_was_not_announced_is_refused_at_its_first_octet() {
    let mut check = head(&Draft::get("", "").sign()).content_check();
    check.update(&[]).unwrap();
    assert_eq!(code(check.update(b"x")), Code::RequestMalformed);
}

#[test]
fn an_empty_content_type_is_none() {
    let case = Draft::post("", "").header("content-type", "").sign();
    assert_eq!(code(head(&case).body(BODY.as_bytes())), Code::RequestMalformed);
}

#[test]
fn the_fields_of_the_proof_alone_give_the_same_verdict() {
    let case = Draft::post("", "")
        .and_header("cookie", "secret")
        .and_header("accept", "a/b")
        .and_header("accept", "c/d")
        .covers(r#""accept""#)
        .sign();
    let all = header_map(&case.headers).unwrap();
    let fields = proof_fields(&all, Tag::Request).unwrap();
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!names.contains(&"cookie"));
    assert_eq!(names.iter().filter(|name| **name == "accept").count(), 2);

    let there = header_map(&fields).unwrap();
    let parse = |headers| UnverifiedRequest::parse(&case.method, &case.target_uri, headers, Tag::Request, NOW).unwrap();
    assert_eq!(parse(&there).signature_base(), parse(&all).signature_base());
    let head = parse(&there).verify(&verified(&token())).unwrap();
    assert_eq!(head.nonce_digest(), parse(&all).nonce_digest());
    assert!(head.body(BODY.as_bytes()).is_ok());
}

#[test]
fn a_list_of_fields_that_is_no_header_is_refused() {
    assert_eq!(code(header_map(&[("a b", "c")])), Code::RequestMalformed);
    assert_eq!(code(header_map(&[("a", "b\r\nc: d")])), Code::RequestMalformed);
    let many: Vec<(String, &str)> = (0..40_000).map(|index| (format!("x{index}"), "")).collect();
    assert_eq!(code(header_map(&many)), Code::HeadersTooLarge);
}

#[test]
fn an_escaped_slash_passes_only_where_the_template_takes_one() {
    let target = format!("{MESSAGES}/a%2Fb");
    let case = Draft::get("", "").target(&target).sign();
    let headers = header_map(&case.headers).unwrap();
    let parse = |slash| UnverifiedRequest::parse_with("GET", &target, &headers, Tag::Request, NOW, slash);
    assert_eq!(code(parse(EscapedSlash::Refused)), Code::PathNotCanonical);
    assert!(parse(EscapedSlash::Allowed).unwrap().verify(&verified(&token())).is_ok());
}

#[test]
fn what_is_printed_of_a_request_holds_no_token() {
    let request = parse(&Draft::get("", "").sign(), NOW).unwrap();
    assert!(!format!("{request:?}").contains(&token()[..20]));
}

#[test]
fn a_signed_call_verifies_with_and_without_content() {
    for body in [BODY.as_bytes(), b""] {
        let mut headers = unsigned();
        sign_request("PUT", MESSAGES, &mut headers, body, Tag::Request, &agent(), params(), "a").unwrap();
        assert_eq!(headers.contains_key("content-digest"), !body.is_empty());
        let request = UnverifiedRequest::parse("PUT", MESSAGES, &headers, Tag::Request, NOW).unwrap();
        assert!(request.verify(&verified(&token())).unwrap().body(body).is_ok());
    }
}

#[test]
fn two_signatures_share_one_line_and_each_verifies() {
    let mut headers = header_map(&[("content-type", "application/json")]).unwrap();
    let uri = "https://gw.tgp.example/v1/enrol";
    let keys = [(Tag::Enrol, agent(), "id"), (Tag::EnrolCode, code_key(), "code")];
    for (tag, key, label) in &keys {
        sign_request("POST", uri, &mut headers, BODY.as_bytes(), *tag, key, params(), label).unwrap();
    }
    assert_eq!(headers.get_all("signature-input").iter().count(), 1);
    for (tag, key, _) in &keys {
        let request = UnverifiedRequest::parse("POST", uri, &headers, *tag, NOW).unwrap();
        let head = request.verify_with_key(key.public()).unwrap();
        assert!(head.body(BODY.as_bytes()).is_ok());
    }
}

#[test]
fn a_request_that_no_verifier_would_accept_is_not_signed() {
    let sign = |headers: &mut HeaderMap, uri: &str, body: &[u8], params: Params, label: &str| {
        sign_request("POST", uri, headers, body, Tag::Request, &agent(), params, label)
    };
    let without = |name: &str| {
        let mut headers = unsigned();
        headers.remove(name);
        headers
    };
    assert_eq!(sign(&mut unsigned(), "/x", b"", params(), "a"), Err(SignError::Target));
    assert_eq!(sign(&mut without("authorization"), MESSAGES, b"", params(), "a"), Err(SignError::AuthorizationMissing));
    assert_eq!(sign(&mut without("content-type"), MESSAGES, b"x", params(), "a"), Err(SignError::ContentTypeMissing));
    for window in [0, 61, i64::MIN / 2] {
        let params = Params { expires: CREATED.saturating_add(window), ..params() };
        assert_eq!(sign(&mut unsigned(), MESSAGES, b"", params, "a"), Err(SignError::Window));
    }
    for nonce in ["", "short", "8IBTHwOdqNKAWeKl7plt8g==", "\";x=\""] {
        let params = Params { nonce: nonce.to_owned(), ..params() };
        assert_eq!(sign(&mut unsigned(), MESSAGES, b"", params, "a"), Err(SignError::Nonce));
    }
    for label in ["", "A", "a b", "a=(), b"] {
        assert_eq!(sign(&mut unsigned(), MESSAGES, b"", params(), label), Err(SignError::Label), "{label}");
    }
    let mut twice = unsigned();
    twice.append("authorization", "Bearer x".parse().unwrap());
    assert_eq!(sign(&mut twice, MESSAGES, b"", params(), "a"), Err(SignError::Field));
    let mut signed = unsigned();
    sign(&mut signed, MESSAGES, b"", params(), "a").unwrap();
    let before = signed.clone();
    assert_eq!(sign(&mut signed, MESSAGES, b"", params(), "a"), Err(SignError::Label));
    assert_eq!(signed, before);
}

#[test]
fn accept_signature_is_one_member_with_this_requests_components() {
    let parse = |tag, has_content| {
        let field = accept_signature(tag, has_content);
        let dictionary: sfv::Dictionary = sfv::Parser::new(field.as_bytes()).parse().unwrap();
        assert_eq!(dictionary.len(), 1);
        let Some(sfv::ListEntry::InnerList(list)) = dictionary.get("sig") else { panic!("no list") };
        let parameters: Vec<String> = list.params.keys().map(|key| key.as_str().to_owned()).collect();
        assert_eq!(parameters, ["created", "expires", "nonce", "keyid", "tag"]);
        list.items.len()
    };
    assert_eq!(parse(Tag::Request, false), 3);
    assert_eq!(parse(Tag::Request, true), 5);
    assert_eq!(parse(Tag::Renew, true), 4);
}
