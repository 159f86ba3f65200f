//! Attacks on access tokens that are fetched with a credential: on what they are fetched with, and on what is
//! handed in for one.

use tgp_authority::{ClientAuth, Credential, Grant, OAuth2, OAuth2Grant, Operation, Placement, salted_secret_sha256};
use tgp_vault_client::CallError;
use tgp_vault_client::wire::{
    Draw, Fetched, RefusalCode, Release, Released, SealAccessToken, SealedAccessToken, SealedCredential, SealedGrant,
    SetCredential, WireSecret,
};

use crate::actors::{SALT, Working, credential, grant, set_grant};
use crate::deployment::{Deployment, refused};

const URL: &str = "https://gw.tgp.example:8443/t/mail/messages/1";
const SECRET: &[u8] = b"client-secret\nfirst-refresh-token";

fn oauth2(grant: OAuth2Grant) -> Placement {
    Placement::OAuth2(OAuth2 {
        grant,
        token_endpoint: "https://auth.upstream.example/token".into(),
        client_id: "tgp".into(),
        client_auth: ClientAuth::ClientSecretBasic,
        scope: None,
    })
}

fn sealed(at: &Deployment, name: &str, version: u32, placement: Placement) -> SealedCredential {
    let order = Credential {
        name: Some(name.parse().unwrap()),
        placement,
        secret_sha256: salted_secret_sha256(SALT, SECRET),
        ..credential("mail", version)
    };
    let statement = at.granter.order(at, &Operation::Credential(order));
    let secret = WireSecret::new(SECRET.to_vec());
    at.call(SetCredential { statement, salt: SALT.to_vec(), secret, dek: at.dek }).unwrap()
}

/// An agent whose grant names the credential.
struct Scene {
    working: Working,
    token: String,
    grant: SealedGrant,
    credential: SealedCredential,
}

impl Scene {
    fn new(at: &Deployment, name: &str, placement: Placement) -> Self {
        let working = Working::new(at);
        let order = Grant { credential: Some(name.parse().unwrap()), ..grant(at, working.agent.id, "mail") };
        let grant = set_grant(at, &order).unwrap();
        let token = working.token(at);
        Scene { token, grant, credential: sealed(at, name, 1, placement), working }
    }

    fn draw(&self, at: &Deployment, draw: Draw) -> Result<Released, CallError> {
        at.call(Release {
            grant_record: self.grant.record.clone(),
            credential_record: self.credential.record.clone(),
            draw,
            ..self.working.release_call(self.working.agent.request(at, &self.token, URL))
        })
    }

    fn handed_in(&self, ticket: &[u8], access: &str, refresh: Option<&str>) -> SealAccessToken {
        SealAccessToken {
            credential_record: self.credential.record.clone(),
            ticket: ticket.to_vec(),
            access_token: WireSecret::from(access.to_owned()),
            refresh_token: refresh.map(|token| WireSecret::from(token.to_owned())),
            expires_in_s: 600,
        }
    }

    fn fetch(&self, at: &Deployment, access: &str, refresh: Option<&str>) -> SealedAccessToken {
        let ticket = self.draw(at, Draw::Fetch(None)).unwrap().ticket;
        at.call(self.handed_in(&ticket, access, refresh)).unwrap()
    }
}

#[test]
fn a_token_is_fetched_with_the_secret_and_placed_without_it() {
    let at = Deployment::start();
    let scene = Scene::new(&at, "rotating", oauth2(OAuth2Grant::RefreshToken));
    let first = scene.draw(&at, Draw::Fetch(None)).unwrap();
    assert_eq!(first.secret.expose_secret(), SECRET);
    assert_eq!(first.placement, oauth2(OAuth2Grant::RefreshToken));
    let sealed = at.call(scene.handed_in(&first.ticket, "access-1", Some("second-refresh-token"))).unwrap();
    assert_eq!(sealed.expires, sealed.expires.clamp(at.now() + 595, at.now() + 600));

    let used = scene.draw(&at, Draw::AccessToken(sealed.fetched.clone())).unwrap();
    assert_eq!(used.secret.expose_secret(), b"access-1");
    assert_eq!((used.placement, used.origins), (Placement::Bearer, vec!["https://mail.upstream.example".to_owned()]));
    assert!(used.ticket.is_empty());
    // The refresh token that came last is the next one's; where none comes it stays.
    for n in 2..4 {
        let next = scene.draw(&at, Draw::Fetch(Some(sealed.fetched.clone()))).unwrap();
        assert_eq!(next.secret.expose_secret(), b"client-secret\nsecond-refresh-token");
        let again = at.call(scene.handed_in(&next.ticket, &format!("access-{n}"), None)).unwrap();
        let next = scene.draw(&at, Draw::Fetch(Some(again.fetched))).unwrap();
        assert_eq!(next.secret.expose_secret(), b"client-secret\nsecond-refresh-token");
    }
    // A client's own token needs no refresh token, and the whole secret is the client's.
    let own = Scene::new(&at, "own", oauth2(OAuth2Grant::ClientCredentials));
    assert_eq!(own.draw(&at, Draw::Fetch(None)).unwrap().secret.expose_secret(), SECRET);
}

#[test]
fn no_part_of_a_credential_is_drawn_that_its_kind_or_the_request_does_not_have() {
    let mut at = Deployment::start();
    let scene = Scene::new(&at, "rotating", oauth2(OAuth2Grant::RefreshToken));
    let other = Scene::new(&at, "other", oauth2(OAuth2Grant::RefreshToken));
    let plain = Scene::new(&at, "plain", Placement::Bearer);
    let (mine, theirs) = (scene.fetch(&at, "access", Some("refresh")), other.fetch(&at, "theirs", None));
    let ticket = scene.draw(&at, Draw::Fetch(None)).unwrap().ticket;
    let mut flipped = mine.fetched.clone();
    *flipped.0.last_mut().unwrap() ^= 1;
    use RefusalCode as Code;
    for (what, scene, draw, expected) in [
        ("the secret of a fetched token", &scene, Draw::Secret, Code::RecordMismatch),
        ("an access token of a plain secret", &plain, Draw::AccessToken(mine.fetched.clone()), Code::RecordMismatch),
        ("a ticket for a plain secret", &plain, Draw::Fetch(None), Code::RecordMismatch),
        ("another credential's access token", &scene, Draw::AccessToken(theirs.fetched.clone()), Code::RecordInvalid),
        ("another credential's refresh token", &scene, Draw::Fetch(Some(theirs.fetched)), Code::RecordInvalid),
        ("a ticket as access token", &scene, Draw::AccessToken(Fetched(ticket)), Code::RecordInvalid),
        (
            "a credential as access token",
            &scene,
            Draw::AccessToken(Fetched(scene.credential.record.clone())),
            Code::RecordInvalid,
        ),
        ("one bit changed", &scene, Draw::AccessToken(flipped), Code::RecordInvalid),
        ("nothing", &scene, Draw::AccessToken(Fetched(vec![])), Code::RecordInvalid),
    ] {
        assert_eq!(refused(what, scene.draw(&at, draw)), expected, "{what}");
    }
    // A newer credential makes what was fetched with the older worthless.
    let newer = sealed(&at, "rotating", 2, oauth2(OAuth2Grant::RefreshToken));
    let newer = Scene { credential: newer, ..scene };
    for draw in [Draw::AccessToken(mine.fetched.clone()), Draw::Fetch(Some(mine.fetched))] {
        assert_eq!(refused("older", newer.draw(&at, draw)), RefusalCode::RecordInvalid);
    }
    // And so does time.
    let fetched = newer.fetch(&at, "access", None).fetched;
    newer.draw(&at, Draw::AccessToken(fetched.clone())).unwrap();
    at.restart_later(600);
    let again = Scene { token: newer.working.token(&at), ..newer };
    let code = refused("expired", again.draw(&at, Draw::AccessToken(fetched.clone())));
    assert_eq!(code, RefusalCode::RecordStale);
    again.draw(&at, Draw::Fetch(Some(fetched))).unwrap();
}

#[test]
fn no_token_is_sealed_but_for_a_request_that_drew_this_very_credential() {
    let mut at = Deployment::start();
    let scene = Scene::new(&at, "rotating", oauth2(OAuth2Grant::RefreshToken));
    let other = Scene::new(&at, "other", oauth2(OAuth2Grant::RefreshToken));
    let plain = Scene::new(&at, "plain", Placement::Bearer);
    let ticket = scene.draw(&at, Draw::Fetch(None)).unwrap().ticket;
    let others = other.draw(&at, Draw::Fetch(None)).unwrap().ticket;
    let fetched = scene.fetch(&at, "access", None).fetched;
    let with = |ticket: &[u8]| scene.handed_in(ticket, "access", None);
    let token = |access: &str, refresh: Option<&str>| scene.handed_in(&ticket, access, refresh);
    let long = "x".repeat(16 * 1024 + 1);
    let for_credential = |record: &[u8]| SealAccessToken { credential_record: record.to_vec(), ..with(&ticket) };
    use RefusalCode as Code;
    for (what, call, expected) in [
        ("no ticket", with(b""), Code::RecordInvalid),
        ("another credential's ticket", with(&others), Code::RecordInvalid),
        ("an access token as ticket", with(&fetched.0), Code::RecordInvalid),
        ("a credential as ticket", with(&scene.credential.record), Code::RecordInvalid),
        ("a ticket with one octet less", with(&ticket[..ticket.len() - 1]), Code::RecordInvalid),
        ("for another credential", for_credential(&other.credential.record), Code::RecordInvalid),
        ("for a credential that fetches nothing", for_credential(&plain.credential.record), Code::RecordMismatch),
        ("for a grant", for_credential(&scene.grant.record), Code::RecordInvalid),
        ("an empty token", token("", None), Code::OutOfRange),
        ("a token with a line end", token("a\r\nx: y", None), Code::OutOfRange),
        ("a token of 16 KiB and one", token(&long, None), Code::OutOfRange),
        ("an empty refresh token", token("a", Some("")), Code::OutOfRange),
        ("a refresh token with a line end", token("a", Some("b\nc")), Code::OutOfRange),
    ] {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
    // A lifetime is an hour at most, whatever the token endpoint is said to have said.
    let year = SealAccessToken { expires_in_s: u32::MAX, ..with(&ticket) };
    assert!(at.call(year).unwrap().expires <= at.now() + 3600);
    // A ticket outlives a vault that starts anew, since a refresh token that was rotated meanwhile must not be
    // lost, and no two minutes.
    at.restart_later(30);
    at.call(scene.handed_in(&ticket, "access", None)).unwrap();
    at.restart_later(120);
    assert_eq!(refused("late", at.call(scene.handed_in(&ticket, "access", None))), RefusalCode::RecordStale);
}
