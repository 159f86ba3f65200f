//! What a corpus begins with: the published vectors and one real message of every kind.

mod messages;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tgp_authority::{Operation, Statement};
use tgp_request::enrol::EnrolmentCode;
use tgp_request::jwk::IdentitySecret;
use tgp_request::{MasterKey, VerifierKey};
use uuid::Uuid;
use x509_cert::der::Decode as _;

use crate::vectors::{
    ACCEPTED, AGENT, GATEWAY, ISSUER, NOW, OPERATORS, REFUSED, REFUSED_TOKENS, ROSTER, SHARED, STATEMENTS, STATUS_LISTS,
};

/// One input.
pub struct Seed {
    pub target: &'static str,
    pub octets: Vec<u8>,
    /// Whether it must be accepted; none where the target signs it anew and so mends what was wrong with it.
    pub accepted: Option<bool>,
}

const AGENT_ID: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";

/// Every seed, the same each time.
pub fn all() -> Vec<Seed> {
    let mut seeds = Seeds(Vec::new());
    requests(&mut seeds);
    tokens(&mut seeds);
    assertions(&mut seeds);
    messages::wire(&mut seeds);
    messages::records(&mut seeds);
    statements(&mut seeds);
    enrolment(&mut seeds);
    tools(&mut seeds);
    certificates(&mut seeds);
    texts(&mut seeds);
    verifiers(&mut seeds);
    credentials(&mut seeds);
    seeds.0
}

struct Seeds(Vec<Seed>);

impl Seeds {
    fn good(&mut self, target: &'static str, octets: impl Into<Vec<u8>>) {
        self.0.push(Seed { target, octets: octets.into(), accepted: Some(true) });
    }

    fn any(&mut self, target: &'static str, octets: impl Into<Vec<u8>>) {
        self.0.push(Seed { target, octets: octets.into(), accepted: None });
    }

    fn bad(&mut self, target: &'static str, octets: impl Into<Vec<u8>>) {
        self.0.push(Seed { target, octets: octets.into(), accepted: Some(false) });
    }
}

fn cases(file: &Value) -> impl Iterator<Item = &Value> {
    file["cases"].as_array().unwrap().iter()
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap()
}

fn requests(seeds: &mut Seeds) {
    for case in cases(&ACCEPTED) {
        // Only the agent of the vectors is known to the target.
        match &case["jwk"] {
            Value::Object(jwk) if jwk["x"] != SHARED["agent_jwk"]["x"] => seeds.any("request", request(case)),
            _ => seeds.good("request", request(case)),
        }
    }
    for case in cases(&REFUSED) {
        // A key that the caller names is the caller's business.
        match &case["jwk"] {
            Value::Null => seeds.bad("request", request(case)),
            _ => seeds.any("request", request(case)),
        }
    }
    seeds.bad("request", "tgp-request");
}

fn request(case: &Value) -> String {
    let mut out =
        format!("{} {} {} {}\n", text(case, "tag"), text(case, "method"), text(case, "target_uri"), case["now"]);
    for field in case["headers"].as_array().unwrap() {
        out.push_str(&format!("{}: {}\n", field[0].as_str().unwrap(), field[1].as_str().unwrap()));
    }
    out + "\n" + text(case, "body")
}

fn assertions(seeds: &mut Seeds) {
    let agent = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";
    let claims = |aud: &str, exp: i64| {
        format!(r#"{{"iss":"{agent}","sub":"{agent}","aud":{aud},"exp":{exp},"iat":{NOW},"jti":"one"}}"#)
    };
    let header = r#"{"alg":"ES256K","typ":"JWT"}"#;
    let (one, list) = (format!("\"{ISSUER}\""), format!("[\"{ISSUER}\"]"));
    seeds.good("assertion", format!("{header}\n{}", claims(&one, NOW + 60)));
    seeds.good("assertion", format!("{header}\n{}", claims(&list, NOW + 1)));
    seeds.bad("assertion", format!("{header}\n{}", claims(&one, NOW + 61)));
    seeds.bad("assertion", format!("{header}\n{}", claims(&one, NOW)));
    seeds.bad("assertion", format!("{header}\n{}", claims("[]", NOW + 60)));
    seeds.bad("assertion", format!("{}\n{}", header.replace("ES256K", "none"), claims(&one, NOW + 60)));
    seeds.bad("assertion", "a.b.c".to_owned());
}

fn tokens(seeds: &mut Seeds) {
    let bearer = |case: &Value| {
        let fields = case["headers"].as_array().unwrap();
        let field = fields.iter().find(|it| it[0] == "authorization")?;
        Some(field[1].as_str().unwrap().split_once(' ')?.1.to_owned())
    };
    for (file, good) in [(&*ACCEPTED, true), (&*REFUSED_TOKENS, false)] {
        for case in cases(file) {
            let Some(token) = bearer(case) else { continue };
            if let [header, claims, _] = token.split('.').collect::<Vec<_>>()[..]
                && let (Ok(header), Ok(claims)) = (URL_SAFE_NO_PAD.decode(header), URL_SAFE_NO_PAD.decode(claims))
                && !header.contains(&b'\n')
            {
                seeds.any("token", [&header[..], b"\n", &claims].concat());
            }
            // Where the token is refused for what goes with it, it is a good token.
            let judged = case["now"] == NOW && (good || case["expect"] == "token-invalid");
            let accepted = judged.then_some(good);
            seeds.0.push(Seed { target: "token", octets: token.into_bytes(), accepted });
        }
    }
    let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": SHARED["gateway_jwk"]["kid"] });
    let mut claims = SHARED["jwt_claims"].clone();
    seeds.good("token", format!("{header}\n{claims}"));
    claims["exp"] = json!(NOW);
    seeds.bad("token", format!("{header}\n{claims}"));
    for jwk in [&SHARED["agent_jwk"], &SHARED["gateway_jwk"], &ACCEPTED["jwks"]] {
        seeds.good("jwk", jwk.to_string());
    }
    let mut private = SHARED["agent_jwk"].clone();
    private["d"] = json!("AAAA");
    seeds.bad("jwk", private.to_string());
    seeds.good("jwk", AGENT.public().to_sec1());
    seeds.bad("jwk", GATEWAY.verifying_key().to_sec1_point(false).as_bytes());
}

fn statements(seeds: &mut Seeds) {
    for accepted in STATEMENTS["accepted"].as_array().unwrap() {
        let signed: Vec<Value> =
            accepted["statements"].as_array().unwrap().iter().map(|it| parsed(text(it, "signed"))).collect();
        let lines: Vec<String> = signed.iter().map(|it| it["statement"].to_string()).collect();
        seeds.good("statement", lines.join("\n"));
        seeds.any("statement", signed[0].to_string());
        seeds.good("json", signed[0].to_string());
    }
    for refused in STATEMENTS["refused"].as_array().unwrap() {
        let texts: Vec<&str> = refused["signed"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let lines: Vec<String> = texts
            .iter()
            .filter_map(|text| serde_json::from_str::<Value>(text).ok())
            .map(|it| it["statement"].to_string())
            .collect();
        seeds.any("statement", lines.join("\n"));
        match texts[..] {
            [text] => seeds.bad("statement", text),
            _ => seeds.any("statement", texts[0]),
        }
    }
    // An operator's own certificate.
    let (id, secret) = &OPERATORS[4];
    let order = json!({ "operator": id, "csr": secret.certificate_request() });
    let operation = Operation::parse("certify-operator", &order).unwrap();
    let not_after = STATEMENTS["now"].as_i64().unwrap() + 60;
    let (deployment, vault) = (text(&STATEMENTS, "deployment"), text(&STATEMENTS, "vault"));
    let statement = Statement::new(&operation, deployment, vault, id.parse().unwrap(), [5; 16], not_after);
    seeds.good("statement", serde_json::to_string(&statement).unwrap());

    seeds.good("roster", ROSTER.to_canonical());
    let mut roster = parsed(text(&STATEMENTS, "roster"));
    seeds.good("roster", serde_json::to_string_pretty(&roster).unwrap());
    let webauthn = json!({
        "kind": "webauthn", "credential_id": "AQID", "public_key": "pQECAyYgASFYIA", "rp_id": "tgp.example",
    });
    roster["operators"][0]["keys"].as_array_mut().unwrap().push(webauthn);
    seeds.good("roster", roster.to_string());
    roster["quorum"]["roster"] = json!(9);
    seeds.bad("roster", roster.to_string());
    for member in STATEMENTS["canonical_json"].as_array().unwrap() {
        seeds.good("json", text(member, "text"));
    }
    for refused in STATEMENTS["refused_json"].as_array().unwrap() {
        seeds.bad("json", refused.as_str().unwrap());
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn enrolment(seeds: &mut Seeds) {
    let secret = || IdentitySecret::from_bytes(&[7; 32]).unwrap();
    let agent: Uuid = AGENT_ID.parse().unwrap();
    seeds.good("invitation", EnrolmentCode::new(agent, 1_795_000_000, [9; 32], secret()).text().as_bytes());
    let csr = OPERATORS[0].1.certificate_request();
    let body = json!({ "agent": agent, "csr": csr, "jwk": secret().public().to_jwk() });
    seeds.good("invitation", body.to_string());
    let invited = STATEMENTS["accepted"].as_array().unwrap().iter().find_map(|it| {
        let signed = parsed(text(&it["statements"][0], "signed"));
        (signed["statement"]["op"] == "invite").then(|| signed["statement"]["params"].to_string())
    });
    seeds.good("invitation", invited.expect("the vectors have an invitation"));
    seeds.bad("invitation", "tgpec_AQID");
    seeds.good("csr", csr);
}

fn tools(seeds: &mut Seeds) {
    let action = |name: &str, method: &str, path: &str| json!({ "name": name, "method": method, "path": path });
    let mail = json!({
        "slug": "mail", "upstream": "https://mail.example/v1", "allow_private": true,
        "tenant": "00000000-0000-4000-8000-000000000001",
        "manifest": {
            "title": "Mail", "public_hosts": ["mail.example"], "headers": ["x-version"],
            "actions": [
                action("read", "GET", "/messages/{id}"), action("drafts", "GET", "/messages/drafts"),
                action("send", "POST", "/messages"), action("cancel", "POST", "/v1/{name}:cancel"),
                action("file", "GET", "/files/{path%2F}"), action("odd", "PROPFIND", "/{a}/{b}.json"),
            ],
        },
    });
    let requests =
        "GET /messages/1\nGET /messages/drafts\nPOST /v1/x:cancel\nGET /files/a%2Fb\nPROPFIND /a/b.json\nPUT /";
    seeds.good("manifest", format!("{mail}\n{requests}"));
    seeds.good("manifest", "read=GET /messages/{id}");
    seeds.bad("manifest", mail.to_string().replace("/messages/{id}", "/messages/{id"));
    seeds.bad("manifest", "read=get /x");

    openapi(seeds);
    let minimal = "issuer = \"https://gw.tgp.example\"\ntrust_domain = \"tgp.example\"\n[vault]\nsocket = \"vault.sock\"\n\
                   [database]\nurl = \"postgres://tgp_gateway:hush@db/tgp\"\nadmission_url = \"postgres://tgp_admission@db/tgp\"\n";
    seeds.good("config", minimal);
    seeds.good(
        "config",
        format!(
            "aan_prefix = \"7284\"\n{minimal}owner_url = \"postgres://owner@db/tgp\"\n\
             [listen]\ngateway = \"0.0.0.0:8443\"\noperators = \"127.0.0.1:8444\"\nhealth = \"[::1]:9464\"\n\
             [tls]\nminimum = \"1.2\"\n[token]\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\nlabel = \"tgp\"\n\
             pin_file = \"pin\"\nstate = \"state\"\nstart_lock = \"lock\"\n\
             [limits]\ntoken_lifetime_s = 900\nlive_nonces = 1\nheader_bytes = 8192\nheader_fields = 16\nbody_bytes = 1024\n\
             header_timeout_s = 1\nbody_timeout_s = 1\nhandshake_timeout_s = 1\nfailures_per_minute = 1\nconnections = 1\n\
             [upstream]\nca_file = \"ca.pem\"\nconnect_timeout_s = 1\nreply_timeout_s = 1\nidle_timeout_s = 1\n"
        ),
    );
    seeds.bad("config", minimal.replace("tgp_admission@", "tgp_gateway:hush@"));

    for target in [
        "/messages/1?x=%2F\n/messages/{id}\n/messages",
        "/v1/x:cancel\n/v1/{name}:cancel\n/v1",
        "/a%20b/%C3%A9/",
        "/",
        "/files/a%2Fb\n/files/{path%2F}\n/files",
    ] {
        seeds.good("target", target);
    }
    seeds.bad("target", "/a/../b\n/{a}/{b}.json\n/a/..");
}

fn openapi(seeds: &mut Seeds) {
    let pet = json!({ "type": "object", "properties": { "name": { "type": "string" }, "next": { "$ref": "#/components/schemas/Pet" } } });
    let document = json!({
        "openapi": "3.0.3", "info": { "title": "Pets", "version": "1" },
        "servers": [{ "url": "https://{at}.example/v1", "variables": { "at": { "default": "pets" } } }, { "url": "/v2" }],
        "paths": {
            "/pets": {
                "parameters": [{ "$ref": "#/components/parameters/page" }],
                "get": { "operationId": "listPets", "summary": "List", "parameters": [
                    { "name": "X-Trace", "in": "header", "schema": { "type": "string" } }, { "name": "c", "in": "cookie" },
                ] },
                "post": { "operationId": "pets/add", "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } } } } },
            },
            "/pets/{owner}/{pet}": { "get": { "operationId": "same" }, "delete": { "operationId": "same" }, "trace": {} },
            "/{a}{b}": { "get": {} }, "/x": { "$ref": "#/paths/~1pets" },
            "/else": { "put": { "servers": [{ "url": "https://other.example" }] } },
        },
        "components": { "parameters": { "page": { "name": "page", "in": "query", "required": true } }, "schemas": { "Pet": pet },
            "securitySchemes": { "one": { "type": "http", "scheme": "bearer" }, "two": { "type": "apiKey", "in": "header", "name": "X" } } },
        "webhooks": { "new": {} },
    });
    seeds.good("openapi", document.to_string());
    seeds.good("openapi", document.to_string().replace("3.0.3", "3.1.0"));
    let yaml = "openapi: 3.1.0\ninfo: &i {title: Pets, version: '1'}\nx-i: *i\npaths:\n  /pets/{id}:\n    get:\n      \
                operationId: get pet\n      parameters:\n        - {name: id, in: path, required: true, schema: {type: string}}\n";
    seeds.good("openapi", yaml);
    seeds.bad("openapi", yaml.replace("3.1.0", "2.0"));
    seeds.bad("openapi", "openapi: 3.1.0\npaths: {}");
    seeds.bad("openapi", "{\"openapi\":\"3.1.0\",\"paths\":");
}

fn certificates(seeds: &mut Seeds) {
    seeds.good("csr", OPERATORS[0].1.public().to_spki_der());
    let request = OPERATORS[1].1.certificate_request();
    let body: String = request.lines().filter(|line| !line.starts_with("-----")).collect();
    seeds.good("csr", STANDARD.decode(body).unwrap());
    for id in [format!("spiffe://tgp.example/agent/{AGENT_ID}"), "spiffe://tgp.example/tool/mail".to_owned()] {
        seeds.good("csr", tgp_vault::fuzzing::client_certificate(&id, &GATEWAY));
    }
    seeds.bad("csr", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----");
    let any = x509_cert::Certificate::from_der(&seeds.0.iter().rev().nth(1).unwrap().octets);
    assert!(any.is_ok(), "the seed is a certificate");
}

fn credentials(seeds: &mut Seeds) {
    let granted = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA"}"#;
    seeds.good("credential", format!("reply\n{granted}"));
    seeds.good("credential", "reply\n{\"token_type\":\"bearer\",\"access_token\":\"a\",\"expires_in\":\"7\"}");
    seeds.bad("credential", "reply\n{\"token_type\":\"mac\",\"access_token\":\"a\"}");
    seeds.any("credential", "reply\n{\"error\":\"invalid_grant\"}");
    seeds.good("credential", "query\napi_key\ns3/&\na=1&%61pi_key=mine;API_KEY=x&b=%2F+x");
    seeds.bad("credential", "query\na&b\ns3\na=1");
    seeds.good("credential", "aws\nAKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:session");
    seeds.bad("credential", "aws\nAKIDEXAMPLE");
    let (chain, key) = (
        include_str!("../../../src/proxy/testdata/upstream-chain.pem"),
        include_str!("../../../src/proxy/testdata/upstream-key.pem"),
    );
    seeds.good("credential", format!("pem\n{chain}{key}"));
    seeds.bad("credential", format!("pem\n{chain}"));
    for placement in [
        r#"{"kind":"query","name":"api_key"}"#,
        r#"{"kind":"aws-sigv4","region":"eu-central-1","service":"s3"}"#,
        r#"{"kind":"client-certificate"}"#,
        r#"{"kind":"oauth2","grant":"refresh_token","token_endpoint":"https://a.example/token","client_id":"c","client_auth":"none","scope":"a b"}"#,
    ] {
        seeds.good("credential", format!("placement\n{placement}"));
    }
    seeds.bad("credential", "placement\n{\"kind\":\"query\",\"name\":\"a&b\"}");
}

fn texts(seeds: &mut Seeds) {
    let by_scope =
        "grant_type=client_credentials&scope=mail%3Asend+mail%3Aread&resource=https%3A%2F%2Fgw.example%2Ft%2Fmail";
    seeds.good("form", by_scope);
    let details = "%5B%7B%22type%22%3A%22tgp_tool%22%2C%22identifier%22%3A%22mail%22%2C%22actions%22%3A%5B%22send%22%5D%2C\
                   %22locations%22%3A%5B%22https%3A%2F%2Fgw.example%2Ft%2Fmail%22%5D%7D%5D";
    seeds.good("form", format!("grant_type=client_credentials&client_id={AGENT_ID}&authorization_details={details}"));
    seeds.bad("form", format!("{by_scope}&client_assertion=x&client_assertion=y"));
    let key = MasterKey::new(AGENT_ID.parse().unwrap(), 1, 12, [0xff; 32]).expose_text();
    let pair = STANDARD.encode(format!("{AGENT_ID}:{}", key.replace('_', "%5F")));
    seeds.good("form", format!("authorization: Basic {pair}"));
    seeds.bad("form", "authorization: Basic eDp5");

    for name in [
        "mail",
        "mail:send",
        "7284019953310473",
        "spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d",
        "spiffe://tgp.example/tool/mail",
        "tgp.example",
        "mail.*\nmail.send",
        "a*b*c\naXbYbZc",
        AGENT_ID,
        "https://api.example:8443",
        "http://[::1]:9000",
        "https://gw.tgp.example/t/mail",
        "http://API.example:80/v1/",
        &key,
    ] {
        seeds.good("name", name);
    }

    let verify = |hash: usize| [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &vec![7; hash]].concat();
    let exchange = |curve: u8, length: u8| [&[9; 64][..], &[3, 0, curve, length], &vec![4; length.into()]].concat();
    for message in [verify(32), verify(48), exchange(0x1d, 32), exchange(0x17, 65), exchange(0x18, 97)] {
        seeds.good("tls", message);
    }
    seeds.bad("tls", verify(20));
    seeds.bad("name", b"\xff");
}

fn verifiers(seeds: &mut Seeds) {
    let id = format!("spiffe://tgp.example/agent/{AGENT_ID}");
    let headers = json!([["authorization", "Bearer x"], ["signature", "sig=:AA==:"], ["X-Trip", "1"], ["x-trip", "2"]]);
    let handed = json!({
        "method": "POST", "uri": "https://shop.example/api/orders?x", "headers": headers,
        "content_digest": "sha-256=:AA==:", "certificate": id,
    });
    seeds.good("verifier", handed.to_string());
    seeds.bad("verifier", handed.to_string().replace("POST", "PO ST"));
    seeds.bad("verifier", handed.to_string().replace("/agent/", "/operator/"));
    let said = "x-original-method: GET\nx-original-uri: /api/orders?x\ntgp-content: dropped\n";
    seeds.good("verifier", format!("GET /v1/forward-auth\n{said}"));
    seeds.good(
        "verifier",
        format!("GET /v1/forward-auth/api/orders?x\nx-forwarded-client-cert: By=a;Hash=b;URI={id}\n{said}"),
    );
    seeds.good(
        "verifier",
        format!("GET /v1/forward-auth\nx-forwarded-client-cert: Subject=\"a;\\\"b\";URI={id}\n{said}"),
    );
    seeds.good(
        "verifier",
        "GET /v1/forward-auth\nx-original-url: https://a.example/x\nx-forwarded-method: PUT\nx-forwarded-uri: /x\ntgp-content: passed\n",
    );
    seeds.bad("verifier", format!("GET /v1/forward-auth\nx-forwarded-uri: /other\n{said}"));
    seeds.bad("verifier", format!("GET /v1/forward-auth\nx-forwarded-client-cert: URI={id},URI={id}\n{said}"));
    seeds.good("verifier", "token_type_hint=access_token&token=a.b%2Ec");
    seeds.bad("verifier", "token=a&token=b");
    seeds.good("verifier", VerifierKey::new([0xff; 32]).expose_text().as_bytes());
    seeds.bad("verifier", "tgpvk_AAAA");

    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    for case in cases(&STATUS_LISTS) {
        let list = text(case, "list");
        seeds.0.push(Seed { target: "status", octets: list.into(), accepted: Some(case["expect"] != "refused") });
        if let [header, claims, _] = list.split('.').collect::<Vec<_>>()[..] {
            seeds.any("status", [&decoded(header)[..], b"\n", &decoded(claims)].concat());
        }
    }
}
