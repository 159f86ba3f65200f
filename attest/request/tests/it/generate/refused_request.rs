//! Requests whose only fault is their own form, window, signature, target or content.
//!
//! Wherever the fault can be signed, it is: the signature is right over the faulty request, so that
//! nothing but the rule refuses it.

use tgp_request::signature::Tag;

use super::accepted::{both_tags, enrolment_draft};
use super::*;

const INVALID: &str = "signature-invalid";
const MISSING: &str = "signature-missing";
const MALFORMED: &str = "request-malformed";
const DIGEST: &str = "digest-mismatch";
const PATH: &str = "path-not-canonical";

pub fn file() -> File {
    File {
        note: "TEST KEYS ONLY. Requests that are refused with the code in `expect`. Wherever the fault can be signed \
               it is, so that nothing but the rule refuses it; the access token is right throughout."
            .to_owned(),
        issuer: ISSUER.to_owned(),
        jwks: jwks(),
        cases: cases(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = fields();
    cases.extend(labels());
    cases.extend(parameters_cases());
    cases.extend(windows());
    cases.extend(components());
    cases.extend(signatures());
    cases.extend(bodies());
    cases.extend(targets());
    cases.extend(enrolment());
    cases
}

fn fields() -> Vec<Case> {
    vec![
        Draft::get("no authorization", "token-missing")
            .no_header("authorization")
            .does_not_cover(r#""authorization""#)
            .sign(),
        Draft::get("another scheme", "token-missing").header("authorization", "Basic YTpi").sign(),
        Draft::get("a scheme alone", "token-missing").header("authorization", "Bearer").sign(),
        Draft::get("two authorization fields", MALFORMED)
            .and_header("authorization", format!("Bearer {}", token()))
            .sign(),
        Draft::post("two content-type fields", MALFORMED).and_header("content-type", "application/json").sign(),
        Draft::post("two content-length fields", MALFORMED)
            .and_header("content-length", "37")
            .and_header("content-length", "37")
            .sign(),
        Draft::post("content-length beside transfer-encoding", MALFORMED)
            .and_header("content-length", "37")
            .and_header("transfer-encoding", "chunked")
            .sign(),
        (0..126)
            .fold(Draft::get("more than 128 header fields", "headers-too-large"), |draft, _| draft.and_header("x", "y"))
            .sign(),
        Draft::get("more than 64 KiB of header fields", "headers-too-large")
            .and_header("x", "y".repeat(64 * 1024))
            .sign(),
    ]
}

fn labels() -> Vec<Case> {
    let second = |name| {
        let mut case = Draft::get(name, INVALID).sign();
        let value = |field: &str| {
            let (_, value) = case.headers.iter().find(|(it, _)| it == field).unwrap();
            value.replacen("sig=", "two=", 1)
        };
        let (input, signature) = (value("signature-input"), value("signature"));
        case = case.with("signature-input", &input).with("signature", &signature);
        case
    };
    vec![
        Draft::get("no signature at all", MISSING).sign().without("signature").without("signature-input"),
        Draft { tag: Tag::Request, ..Draft::get("a signature of another tag only", MISSING) }
            .parameter("tgp-request", "web-bot-auth")
            .sign(),
        Draft::get("no tag", MISSING).parameter(";tag=\"tgp-request\"", "").sign(),
        Draft::get("an enrolment's tag", MISSING).parameter("tgp-request", "tgp-enrol").sign(),
        Draft::get("a tag in upper case", MISSING).parameter("tgp-request", "TGP-REQUEST").sign(),
        Draft::get("signature alone", INVALID).sign().without("signature-input"),
        Draft::get("signature-input alone", INVALID).sign().without("signature"),
        Draft::get("a label that signature has not", INVALID).sign().altered("signature", "sig=", "sig2="),
        second("two signatures with our tag"),
        Draft::get("a label repeated in signature-input", INVALID).sign().altered(
            "signature-input",
            "sig=",
            "sig=(\"@method\");created=1, sig=",
        ),
        Draft::get("a label repeated in signature", INVALID).sign().altered("signature", "sig=", "sig=:AAAA:, sig="),
        Draft::get("another label repeated, on two lines", INVALID)
            .sign()
            .with("signature-input", "a=()")
            .with("signature-input", "a=()"),
        Draft::get("signature-input that is no dictionary", INVALID).sign().with("signature-input", "a=(\"x\""),
        Draft::get("signature that is no dictionary", INVALID).sign().with("signature", "a=:?:"),
        Draft::get("an empty line of signature-input", INVALID).sign().with("signature-input", ""),
        Draft::get("an input that is no list", INVALID).sign().altered(
            "signature-input",
            r#"("@method" "@target-uri" "authorization")"#,
            r#""@method""#,
        ),
    ]
}

fn parameters_cases() -> Vec<Case> {
    let keyid = agent().public().keyid().to_owned();
    let without = |name, text: &str| Draft::get(name, INVALID).parameter(text, "").sign();
    let with = |name, from: &str, to: &str| Draft::get(name, INVALID).parameter(from, to).sign();
    vec![
        without("no created", ";created=1795000010"),
        without("no expires", ";expires=1795000070"),
        without("no nonce", &format!(";nonce=\"{NONCE}\"")),
        without("no keyid", &format!(";keyid=\"{keyid}\"")),
        with("alg", ";tag=", ";alg=\"ecdsa-p256-sha256\";tag="),
        with("a repeated created", ";created=", ";created=1795000010;created="),
        with("a repeated nonce", ";nonce=", ";nonce=\"AAAAAAAAAAAAAAAAAAAAAA\";nonce="),
        with("a repeated tag", ";tag=", ";tag=\"web-bot-auth\";tag="),
        with("a repeated tag, ours first", "request\"", "request\";tag=\"web-bot-auth\""),
        with("a repeated parameter that is not ours", ";tag=", ";x;x;tag="),
        with("created with a fraction", "created=1795000010", "created=1795000010.0"),
        with("created as text", "created=1795000010", "created=\"1795000010\""),
        with("created as a date", "created=1795000010", "created=@1795000010"),
        with("expires as text", "expires=1795000070", "expires=\"1795000070\""),
        with("a tag as a token", "\"tgp-request\"", "tgp-request"),
        with("a keyid as a token", &format!("\"{keyid}\""), "abc"),
        with("a nonce as bytes", &format!("\"{NONCE}\""), ":8IBTHwOdqNKAWeKl7plt8g==:"),
        with("a nonce of 15 bytes", NONCE, &b64([7; 15])),
        with("a nonce of 65 bytes", NONCE, &b64([7; 65])),
        with("an empty nonce", NONCE, ""),
        with("a padded nonce", NONCE, &format!("{NONCE}==")),
        with("a nonce with bits that decode to nothing", NONCE, "8IBTHwOdqNKAWeKl7plt8h"),
        with("a nonce in the other alphabet", NONCE, "++++++++++++++++++++++"),
        with("the keyid of another key", &keyid, other_agent().public().keyid()),
        with("an empty keyid", &keyid, ""),
    ]
}

fn windows() -> Vec<Case> {
    let expires = |at: i64| format!("expires={at}");
    let ends = |name, code, at: i64| Draft::get(name, code).parameter(&expires(CREATED + 60), &expires(at));
    vec![
        ends("a window of 61 seconds", INVALID, CREATED + 61).sign(),
        Draft { now: CREATED, ..ends("a window of 0 seconds", INVALID, CREATED) }.sign(),
        ends("expires before created", INVALID, CREATED - 1).sign(),
        Draft { now: CREATED - 31, ..Draft::get("created 31 seconds ahead", INVALID) }.sign(),
        Draft { now: CREATED + 60, ..Draft::get("expired this second", "signature-expired") }.sign(),
        Draft { now: CREATED + 200, ..Draft::get("expired long ago", "signature-expired") }.sign(),
        Draft { now: CREATED + 200, ..ends("too long a window, expired too", INVALID, CREATED + 61) }.sign(),
        Draft::get("created as far back as integers go", INVALID)
            .parameter("created=1795000010", "created=-999999999999999")
            .parameter("expires=1795000070", "expires=999999999999999")
            .sign(),
    ]
}

fn components() -> Vec<Case> {
    let uncovered = |name, identifier: &str| Draft::post(name, INVALID).does_not_cover(identifier).sign();
    let instead = |name, from: &str, to: &'static str, value: &str| {
        Draft::post(name, INVALID).does_not_cover(from).covers_as(to, value).sign()
    };
    let bearer = format!("Bearer {}", token());
    vec![
        uncovered("@method not covered", r#""@method""#),
        uncovered("@target-uri not covered", r#""@target-uri""#),
        uncovered("authorization not covered", r#""authorization""#),
        uncovered("content-digest not covered", r#""content-digest""#),
        uncovered("content-type not covered", r#""content-type""#),
        instead("a required field covered as bytes only", r#""authorization""#, r#""authorization";bs"#, &{
            format!(":{}:", STANDARD.encode(&bearer))
        }),
        instead(
            "content-digest covered by one member only",
            r#""content-digest""#,
            r#""content-digest";key="sha-256""#,
            &{ sha256_field(BODY).replace("sha-256=", "") },
        ),
        Draft::post("a component covered twice", INVALID).covers(r#""@method""#).sign(),
        Draft::post("a component covered twice, its parameters in another order", INVALID)
            .covers_as(r#""x";a;b"#, "1")
            .covers_as(r#""x";b;a"#, "1")
            .and_header("x", "1")
            .sign(),
        Draft::post("a component's parameter repeated", INVALID)
            .and_header("x-dict", "a=1, b=2")
            .covers_as(r#""x-dict";key="a";key="b""#, "2")
            .sign(),
        Draft::post("a covered field that is absent", INVALID).covers_as(r#""x-absent""#, "").sign(),
        Draft::post("a component's name in upper case", INVALID)
            .covers_as(r#""Content-Type""#, "application/json")
            .sign(),
        Draft::post("a component's name as a token", INVALID)
            .covers_as("accept", "*/*")
            .and_header("accept", "*/*")
            .sign(),
        Draft::post("a component with an empty name", INVALID).covers_as(r#""""#, "").sign(),
        Draft::post("a derived component that does not exist", INVALID).covers_as(r#""@nothing""#, "").sign(),
        Draft::post("a response's component", INVALID).covers_as(r#""@status""#, "200").sign(),
        Draft::post("@signature-params as a component", INVALID).covers_as(r#""@signature-params""#, "()").sign(),
        Draft::post("a component of the request of a response", INVALID).covers_as(r#""@method";req"#, "POST").sign(),
        Draft::post("a trailer", INVALID).covers_as(r#""content-type";tr"#, "application/json").sign(),
        Draft::post("a strict field of unknown type", INVALID).and_header("x", "1").covers_as(r#""x";sf"#, "1").sign(),
        Draft::get("a repeated query parameter covered", INVALID)
            .target(&format!("{MESSAGES}?q=1&q=1"))
            .covers_as(r#""@query-param";name="q""#, "1")
            .sign(),
        Draft::get("an absent query parameter covered", INVALID).covers_as(r#""@query-param";name="q""#, "").sign(),
        Draft::get("a covered field that is not visible ASCII", INVALID)
            .and_header("x", "\u{e9}")
            .covers(r#""x""#)
            .sign(),
    ]
}

fn signatures() -> Vec<Case> {
    let raw = |name, bytes: &[u8]| {
        let mut case = Draft::get(name, INVALID).sign().without("signature");
        case = case.with("signature", &format!("sig=:{}:", STANDARD.encode(bytes)));
        case
    };
    let genuine = agent().sign(b"something else");
    let mut r_is_order = genuine;
    r_is_order[..32].copy_from_slice(&ORDER);
    let mut s_is_order = genuine;
    s_is_order[32..].copy_from_slice(&ORDER);
    let mut r_is_zero = genuine;
    r_is_zero[..32].fill(0);
    let mut s_is_zero = genuine;
    s_is_zero[32..].fill(0);
    vec![
        raw("a signature of something else", &genuine),
        raw("r is the order", &r_is_order),
        raw("s is the order", &s_is_order),
        raw("r is zero", &r_is_zero),
        raw("s is zero", &s_is_zero),
        raw("all zeros", &[0; 64]),
        raw("all ones", &[0xff; 64]),
        raw("63 bytes", &genuine[..63]),
        raw("65 bytes", &[&genuine[..], &[0]].concat()),
        raw("no bytes", &[]),
        Draft::get("a signature that is text", INVALID).sign().without("signature").with("signature", "sig=\"abc\""),
        Draft::get("a signature that is a list", INVALID).sign().without("signature").with("signature", "sig=(:AAAA:)"),
        Draft::get("another agent's signature", INVALID).sign_with(&other_agent()),
        Case { method: "DELETE".to_owned(), ..Draft::get("another method than was signed", INVALID).sign() },
        Case { method: "get".to_owned(), ..Draft::get("the method in lower case", INVALID).sign() },
        Case { target_uri: format!("{MESSAGES}/1"), ..Draft::get("another path than was signed", INVALID).sign() },
        Case { target_uri: format!("{MESSAGES}?a"), ..Draft::get("a query that was not signed", INVALID).sign() },
        Draft::post("another content-type than was signed", INVALID).sign().altered("content-type", "json", "xml"),
        Draft::get("parameters in another order than was signed", INVALID).sign().altered(
            "signature-input",
            ";created=1795000010;expires=1795000070",
            ";expires=1795000070;created=1795000010",
        ),
        Draft::get("components in another order than was signed", INVALID).sign().altered(
            "signature-input",
            r#""@method" "@target-uri""#,
            r#""@target-uri" "@method""#,
        ),
        Draft::get("a parameter that was not signed", INVALID).sign().altered("signature-input", ";tag", ";x;tag"),
    ]
}

fn bodies() -> Vec<Case> {
    let with_digest = |name, value: String| Draft::post(name, DIGEST).header("content-digest", value).sign();
    vec![
        Draft::post("content without content-type", MALFORMED)
            .no_header("content-type")
            .does_not_cover(r#""content-type""#)
            .sign(),
        Draft::post("content without content-digest", DIGEST)
            .no_header("content-digest")
            .does_not_cover(r#""content-digest""#)
            .sign(),
        Draft::get("content on a GET that was signed without", MALFORMED).sign().with_body(BODY),
        Draft::post("other content than was signed", DIGEST).sign().with_body("{}"),
        Draft::post("content cut off", DIGEST).sign().with_body(""),
        with_digest("only an unknown digest", "unixsum=:AAAA:".to_owned()),
        with_digest("an empty content-digest", String::new()),
        with_digest("a wrong sha-256 beside a right sha-512", format!("{}, {}", sha256_field("x"), sha512_field(BODY))),
        with_digest("a wrong sha-512 beside a right sha-256", format!("{}, {}", sha256_field(BODY), sha512_field("x"))),
        with_digest(
            "a wrong digest hidden behind a right one",
            format!("{}, {}", sha256_field("x"), sha256_field(BODY)),
        ),
        with_digest("a digest as text", "sha-256=\"x\"".to_owned()),
        with_digest("a digest as a list", "sha-256=(:AAAA:)".to_owned()),
        with_digest("a digest cut short", "sha-256=:0BzzTSayHhPFjIUXIqrlzpGBI8hcLDpH4RnX9Kd0:".to_owned()),
        with_digest("a content-digest that is no dictionary", format!("{},", sha256_field(BODY))),
        Draft { body: "", ..Draft::post("a wrong digest of empty content", DIGEST) }.sign(),
    ]
}

fn targets() -> Vec<Case> {
    let path = |name, path: &str| Draft::get(name, PATH).target(&format!("{RESOURCE}{path}")).sign();
    let outside = |name, target: &str| Draft::get(name, "scope-insufficient").target(target).sign();
    vec![
        outside("another tool", "https://gw.tgp.example/t/calendar/messages"),
        outside("a tool whose name begins like ours", "https://gw.tgp.example/t/mail2/messages"),
        outside("another origin", "https://gx.tgp.example/t/mail/messages"),
        outside("the audience cut short", "https://gw.tgp.example/t/mai"),
        path("a dot segment", "/a/./b"),
        path("a double-dot segment", "/a/../b"),
        path("a double-dot segment at the end", "/a/.."),
        path("an escaped double-dot segment", "/a/%2E%2E/b"),
        path("an empty segment", "/a//b"),
        path("two slashes at the end", "/a//"),
        path("a backslash", "/a\\b"),
        path("a semicolon", "/a;b=1"),
        path("an escaped slash", "/a%2Fb"),
        path("an escaped backslash", "/a%5cb"),
        path("an escaped semicolon", "/a%3Bb"),
        path("an escaped percent sign", "/a%252Fb"),
        path("an escaped unreserved letter", "/%61"),
        path("an escaped tilde", "/%7Ea"),
        path("an escaped control", "/a%00"),
        path("an escaped delete", "/a%7F"),
        path("an overlong escape", "/a%C0%AFb"),
        path("an escape cut short", "/a%2"),
        path("an escape with a letter that is no digit", "/a%zz"),
        path("a quotation mark", "/a\"b"),
        path("a caret", "/a^b"),
        path("a malformed escape in the query", "?q=100%"),
        path("a number sign", "/a#b"),
        path("a number sign in the query", "?a#b"),
        Draft::get("no path", PATH).target("https://gw.tgp.example").sign(),
        Draft::get("no authority", MALFORMED).target("https:///t/mail/messages").sign(),
        Draft::get("a relative target", MALFORMED).target("/t/mail/messages").sign(),
        Draft::get("another scheme in the target", MALFORMED).target("ftp://gw.tgp.example/t/mail").sign(),
        Draft::get("user information in the target", MALFORMED).target("https://a@gw.tgp.example/t/mail").sign(),
    ]
}

fn enrolment() -> Vec<Case> {
    let uncovered = |name, identifier: &str| {
        enrolment_draft(name, INVALID, Tag::Enrol, &agent()).does_not_cover(identifier).sign().known_key(&agent())
    };
    vec![
        uncovered("an enrolment that does not cover @method", r#""@method""#),
        uncovered("an enrolment that does not cover @target-uri", r#""@target-uri""#),
        uncovered("an enrolment that does not cover content-digest", r#""content-digest""#),
        uncovered("an enrolment that does not cover content-type", r#""content-type""#),
        Case {
            name: "an enrolment against another key".to_owned(),
            expect: INVALID.to_owned(),
            signature_base: None,
            ..both_tags().known_key(&code_key())
        },
        Case {
            name: "an enrolment as a renewal".to_owned(),
            expect: MISSING.to_owned(),
            tag: Tag::Renew.as_str().to_owned(),
            signature_base: None,
            ..both_tags()
        },
        Case {
            name: "an enrolment as a call".to_owned(),
            expect: "token-missing".to_owned(),
            tag: Tag::Request.as_str().to_owned(),
            signature_base: None,
            ..both_tags()
        },
        Case {
            name: "an enrolment with other content".to_owned(),
            expect: DIGEST.to_owned(),
            body: "{}".to_owned(),
            signature_base: None,
            ..both_tags()
        },
    ]
}
