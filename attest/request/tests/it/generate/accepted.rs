//! Requests that every verifier accepts.

use tgp_request::signature::Tag;

use super::*;

const OK: &str = "accepted";

pub fn file() -> File {
    File {
        note: "TEST KEYS ONLY. Requests that a verifier accepts at `now` (Unix seconds). Headers are in the order \
               received, names lower case; body is the content as UTF-8. Private scalars are the SHA-256 of ASCII \
               seeds, signatures are RFC 6979."
            .to_owned(),
        issuer: ISSUER.to_owned(),
        jwks: jwks(),
        cases: cases(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = plain();
    cases.extend(windows());
    cases.extend(digests());
    cases.extend(components());
    cases.extend(spellings());
    cases.extend(enrolment());
    cases.extend(delegated());
    cases
}

fn plain() -> Vec<Case> {
    vec![
        Draft::post("a POST with content", OK).sign(),
        Draft::get("a GET", OK).sign(),
        Draft::get("a GET with a query", OK).target(&format!("{MESSAGES}?q=a%20b&page=2&tag[]=x;y")).sign(),
        Draft::get("the audience itself", OK).target(RESOURCE).sign(),
        Draft::get("the audience with a query", OK).target(&format!("{RESOURCE}?q=1")).sign(),
        Draft { method: "DELETE", ..Draft::get("a DELETE with escapes that are canonical", OK) }
            .target(&format!("{MESSAGES}/a%20b/%C3%A9%c3%a9/x@y:z=(1)"))
            .sign(),
        Draft { method: "POST", ..Draft::get("a POST without content", OK) }.sign(),
        Draft { high_s: true, ..Draft::post("a signature with a high s", OK) }.sign(),
        Draft::post("a trailing slash", OK).target(&format!("{MESSAGES}/")).sign(),
        Draft::get("a token for two actions", OK)
            .with_token(&token_of(
                &header_text(),
                &claims_text()
                    .replace(r#"["send"]"#, r#"["send","read"]"#)
                    .replace("\"mail:send\"", "\"mail:send mail:read\""),
            ))
            .sign(),
        Draft::get("a claim and a header member that are not ours", OK)
            .with_token(&token_of(
                &header_text().replace("{\"typ\"", "{\"x\":1,\"typ\""),
                &claims_text().replace("{\"iss\"", "{\"x\":[1],\"iss\""),
            ))
            .sign(),
    ]
}

/// The agent acts for others, or with a token that restricts more than its actions.
fn delegated() -> Vec<Case> {
    let of = |claims: &str| token_of(&header_text(), claims);
    vec![
        Draft::get("a token of an agent that acts for another", OK).with_token(&of(&acting(&[1]))).sign(),
        Draft::get("a token that was handed on three times", OK).with_token(&of(&acting(&[1, 2, 3]))).sign(),
        Draft::get("a token that another agent may exchange", OK)
            .with_token(&of(&format!("{},\"may_act\":{{\"sub\":\"{}\"}}}}", open(&claims_text()), spiffe(1))))
            .sign(),
        Draft::get("a token for some resources", OK)
            .with_token(&of(&claims_text().replace(
                "\"identifier\":\"mail\"",
                "\"identifier\":\"mail\",\"resources\":[\"octocat/*\",\"file:///a/**\"]",
            )))
            .sign(),
    ]
}

fn windows() -> Vec<Case> {
    let expires = |at: i64| format!("expires={at}");
    vec![
        Draft { now: CREATED, ..Draft::get("a window of one second", OK) }
            .parameter(&expires(CREATED + 60), &expires(CREATED + 1))
            .sign(),
        Draft { now: CREATED - 30, ..Draft::get("created thirty seconds ahead", OK) }
            .with_token(&token_of(&header_text(), &claims_text().replace("\"nbf\":1795000000", "\"nbf\":1794999900")))
            .sign(),
        Draft { now: CREATED + 59, ..Draft::get("the last second before expires", OK) }.sign(),
    ]
}

fn digests() -> Vec<Case> {
    let both = format!("{}, {}", sha512_field(BODY), sha256_field(BODY));
    vec![
        Draft::post("a sha-512 digest alone", OK).header("content-digest", sha512_field(BODY)).sign(),
        Draft::post("both digests", OK).header("content-digest", both).sign(),
        Draft::post("an unknown digest beside ours", OK)
            .header("content-digest", format!("unixsum=:AAAA:, {}", sha256_field(BODY)))
            .sign(),
        Draft::post("digests on two lines", OK)
            .header("content-digest", sha512_field(BODY))
            .and_header("content-digest", sha256_field(BODY))
            .sign(),
        Draft { body: "", ..Draft::post("the digest of empty content", OK) }
            .header("content-digest", sha256_field(""))
            .sign(),
        Draft { body: "", ..Draft::post("empty content with a digest that is not covered", OK) }
            .header("content-digest", sha256_field(""))
            .does_not_cover(r#""content-digest""#)
            .sign(),
    ]
}

fn components() -> Vec<Case> {
    vec![
        Draft::get("every derived component of a request", OK)
            .target("https://gw.tgp.example/t/mail/messages?q=a+b&r=%7E%c3%a9")
            .covers_as(r#""@authority""#, "gw.tgp.example")
            .covers_as(r#""@scheme""#, "https")
            .covers_as(r#""@request-target""#, "/t/mail/messages?q=a+b&r=%7E%c3%a9")
            .covers_as(r#""@path""#, "/t/mail/messages")
            .covers_as(r#""@query""#, "?q=a+b&r=%7E%c3%a9")
            .covers_as(r#""@query-param";name="q""#, "a%20b")
            .covers_as(r#""@query-param";name="r""#, "%7E%C3%A9")
            .sign(),
        Draft::get("an absent query", OK).covers_as(r#""@query""#, "?").sign(),
        Draft::post("further fields, one repeated", OK)
            .and_header("x-request-id", "7")
            .and_header("accept", "a/b")
            .and_header("accept", "  c/d\t")
            .covers(r#""x-request-id""#)
            .covers_as(r#""accept""#, "a/b, c/d")
            .sign(),
        Draft::post("fields with parameters beside the required ones", OK)
            .and_header("x-dict", "a=1, b=(2 3);q=\"z\",  c")
            .covers_as(r#""x-dict";key="b""#, "(2 3);q=\"z\"")
            .covers_as(r#""x-dict";key="c""#, "?1")
            .covers_as(r#""x-dict";bs"#, ":YT0xLCBiPSgyIDMpO3E9InoiLCAgYw==:")
            .covers_as(r#""content-digest";sf"#, &sha256_field(BODY))
            .sign(),
        Draft::get("further parameters", OK).parameter(";tag=", ";x;y=1.5;z=?0;tag=").sign(),
        {
            let mut draft = Draft::post("components in another order", OK);
            draft.components.reverse();
            draft.sign()
        },
    ]
}

fn spellings() -> Vec<Case> {
    let foreign_input = r#"wba=("@authority");created=1;keyid="x";alg="ed25519";tag="web-bot-auth""#;
    vec![
        Draft { label: "*a-1._", ..Draft::get("any label", OK) }.sign(),
        Draft::get("a lower-case scheme", OK).header("authorization", format!("bearer {}", token())).sign(),
        Draft::get("the longest nonce", OK).parameter(NONCE, &b64([7; 64])).sign(),
        Draft::get("a second label of another tag", OK)
            .sign()
            .altered("signature-input", "sig=", &format!("{foreign_input}, sig="))
            .altered("signature", "sig=", "wba=:AAAA:, sig="),
        Draft::get("a second label of another tag on its own line, without signature", OK)
            .sign()
            .with("signature-input", foreign_input),
        Draft::get("a label in signature alone", OK).sign().with("signature", "other=?1"),
        Draft::get("spaces that the serialisation drops", OK)
            .sign()
            .altered("signature-input", "(\"@method\" ", "(  \"@method\"  ")
            .altered("signature-input", ";created", ";  created"),
    ]
}

const ENROLMENT: &str = r#"{"agent":"0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d","csr":"...","jwk":{}}"#;

pub fn enrolment_draft(name: &'static str, expect: &'static str, tag: Tag, key: &IdentitySecret) -> Draft {
    let mut draft = Draft::post(name, expect)
        .target("https://gw.tgp.example/v1/enrol")
        .no_header("authorization")
        .does_not_cover(r#""authorization""#)
        .header("content-digest", sha256_field(ENROLMENT));
    draft.tag = tag;
    draft.body = ENROLMENT;
    draft.parameters = parameters(key, tag);
    draft
}

/// One request with both of enrolment's signatures.
pub fn both_tags() -> Case {
    let mut first =
        enrolment_draft("an enrolment, by the identity key", OK, Tag::Enrol, &agent()).sign().known_key(&agent());
    let mut second = enrolment_draft("", OK, Tag::EnrolCode, &code_key());
    second.label = "code";
    let second = second.sign_with(&code_key());
    for field in ["signature-input", "signature"] {
        let (_, value) = second.headers.iter().find(|(name, _)| name == field).unwrap();
        first = first.with(field, value);
    }
    first
}

fn enrolment() -> Vec<Case> {
    let first = both_tags();
    let mut second = Case {
        name: "the same enrolment, by the code's key".to_owned(),
        tag: Tag::EnrolCode.as_str().to_owned(),
        ..first.clone().known_key(&code_key())
    };
    let mut draft = enrolment_draft("", OK, Tag::EnrolCode, &code_key());
    draft.label = "code";
    second.signature_base = draft.sign_with(&code_key()).signature_base;
    let renewal = enrolment_draft("a renewal", OK, Tag::Renew, &agent())
        .target("https://gw.tgp.example/v1/certificates")
        .sign()
        .known_key(&agent());
    vec![first, second, renewal]
}
