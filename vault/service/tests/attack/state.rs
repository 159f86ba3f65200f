//! Attacks on the state file and on the token's keys.

use std::path::Path;

use tgp_authority::{NewDek as DekOrder, Operation, OperatorSecret, Purpose};
use tgp_request::token::{Jwks, TokenKey};
use tgp_vault_client::wire::{Inventory, NewDek};

use crate::child::{self, Role};
use crate::deployment::{Deployment, TENANT};

/// What the vault says when it does not start.
#[track_caller]
fn refuses_to_start(at: &mut Deployment) -> String {
    match at.try_serve() {
        Err(output) => child::text(&output),
        Ok(()) => panic!("it started"),
    }
}

fn order_something(at: &Deployment) {
    let order = Operation::NewDek(DekOrder { tenant: TENANT, purpose: Purpose::Record });
    let statement = at.owner.order(at, &order);
    at.call(NewDek { statement }).unwrap();
}

#[test]
fn a_missing_state_file_is_not_made_again() {
    let mut at = Deployment::start();
    at.stop();
    std::fs::rename(at.state(), at.path("kept")).unwrap();
    assert!(refuses_to_start(&mut at).contains("does not exist"));
    assert!(!at.state().exists());
    std::fs::rename(at.path("kept"), at.state()).unwrap();
    at.serve();
}

#[test]
fn an_edited_state_file_is_refused() {
    let mut at = Deployment::start();
    at.stop();
    let good = std::fs::read(at.state()).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (body, mac) = lines[0].trim_end().split_once('\t').unwrap();
    let forged_head = |head: String| text.replacen(lines[0], &head, 1);
    let edits = [
        ("a floor lowered", text.replacen("\"floors\":{}", "\"floors\":{ }", 1)),
        ("a nonce forgotten", text.replacen("{\"nonce\":\"", "{\"nonce\":\"x", 1)),
        ("another issuer", text.replace("gw.tgp.example", "gx.tgp.example")),
        ("a version set", text.replacen("\"version\":", "\"version\":1", 1)),
        ("the MAC of nothing", forged_head(format!("{body}\t{}\n", "A".repeat(43)))),
        ("no MAC", forged_head(format!("{body}\n"))),
        ("an act's MAC for the snapshot", forged_head(format!("{body}\t{}", lines[1].split_once('\t').unwrap().1))),
        ("the snapshot's MAC for an act", text.replacen(lines[1].trim_end().split_once('\t').unwrap().1, mac, 1)),
        ("cut short in an act", text[..text.len() - 20].to_owned()),
        ("cut short in the snapshot", text[..lines[0].len() / 2].to_owned()),
        ("the last act left out", text[..text.len() - lines.pop().unwrap().len()].to_owned()),
        ("empty", String::new()),
    ];
    for (what, edited) in edits {
        assert_ne!(edited.as_bytes(), good, "{what} changes nothing");
        std::fs::write(at.state(), edited).unwrap();
        let said = refuses_to_start(&mut at);
        let told = ["MAC", "malformed", "cut off"].iter().any(|word| said.contains(word));
        assert!(told, "{what}: {said}");
    }
    std::fs::write(at.state(), good).unwrap();
    at.serve();
}

#[test]
fn an_older_state_file_put_back_is_noticed() {
    let mut at = Deployment::start();
    let older = std::fs::read(at.state()).unwrap();
    order_something(&at);
    at.stop();
    let newest = std::fs::read(at.state()).unwrap();
    std::fs::write(at.state(), &older).unwrap();
    assert!(refuses_to_start(&mut at).contains("an older file was put back"));
    std::fs::write(at.state(), &newest).unwrap();
    at.serve();
    // While it runs the file is only written; what is put there is not believed.
    std::fs::write(at.state(), &older).unwrap();
    order_something(&at);
    at.stop();
    at.serve();
}

#[test]
fn a_crash_between_file_and_token_is_not_an_old_file() {
    let mut at = Deployment::start();
    // The token as it was one version and two versions ago; the file of each version.
    let mut tokens = Vec::new();
    let mut files = Vec::new();
    for n in 0..3 {
        at.stop();
        let kept = at.path(&format!("tokens-{n}"));
        copy_all(&at.path("tokens"), &kept);
        tokens.push(kept);
        files.push(std::fs::read(at.state()).unwrap());
        at.serve();
        order_something(&at);
    }
    at.stop();
    let put = |at: &Deployment, token: usize, file: usize| {
        std::fs::remove_dir_all(at.path("tokens")).unwrap();
        copy_all(&tokens[token], &at.path("tokens"));
        std::fs::write(at.state(), &files[file]).unwrap();
    };
    // The file was written and the token was not.
    put(&at, 1, 2);
    at.serve();
    order_something(&at);
    at.stop();
    // Two versions apart cannot come from a crash; nor can a file behind its token.
    for (token, file) in [(0, 2), (1, 0), (2, 0)] {
        put(&at, token, file);
        let said = refuses_to_start(&mut at);
        assert!(said.contains("an older file was put back"), "{token} {file}: {said}");
    }
}

#[test]
fn another_deployments_state_is_refused() {
    let mut at = Deployment::start();
    let mut other = Deployment::start();
    at.stop();
    other.stop();
    std::fs::copy(other.state(), at.state()).unwrap();
    assert!(refuses_to_start(&mut at).contains("MAC"));
}

#[test]
fn another_token_under_the_same_name_is_refused() {
    let mut at = Deployment::start();
    let mut other = Deployment::start();
    at.stop();
    other.stop();
    // Keys of the right names and attributes, made by the same code, that are not the pinned ones.
    std::fs::remove_dir_all(at.path("tokens")).unwrap();
    copy_all(&other.path("tokens"), &at.path("tokens"));
    let said = refuses_to_start(&mut at);
    assert!(said.contains("MAC") || said.contains("pins"), "{said}");
}

#[test]
fn one_key_exchanged_in_the_token_is_noticed() {
    let mut at = Deployment::start();
    let jwks: Jwks = serde_json::from_str(&at.about().jwks).unwrap();
    let point = TokenKey::from_jwk(&jwks.keys[0]).unwrap().to_sec1();
    at.stop();
    // SoftHSM keeps public halves in clear: whoever has its files puts his own in their place.
    let attackers = OperatorSecret::generate().public().to_spki_der();
    let attackers = &attackers[attackers.len() - 65..];
    let mut exchanged = 0;
    for path in walk(&at.path("tokens")) {
        let mut octets = std::fs::read(&path).unwrap();
        if let Some(place) = octets.windows(65).position(|window| window == point) {
            octets[place..place + 65].copy_from_slice(attackers);
            std::fs::write(&path, octets).unwrap();
            exchanged += 1;
        }
    }
    assert_eq!(exchanged, 1);
    let said = refuses_to_start(&mut at);
    assert!(said.contains("token-signing.1") && said.contains("pins"), "{said}");
}

#[test]
fn an_empty_token_is_an_error_and_gets_no_keys() {
    let mut at = Deployment::start();
    at.stop();
    std::fs::rename(at.path("tokens"), at.path("gone")).unwrap();
    tgp_token::softhsm::write_conf(at.dir()).unwrap();
    child::done(at.dir(), &Role::MakeToken);
    let files = |dir: &Path| walk(dir).len();
    let before = files(&at.path("tokens"));
    refuses_to_start(&mut at);
    assert_eq!(files(&at.path("tokens")), before, "it made an object");
}

#[test]
fn a_second_init_and_a_second_vault_are_refused() {
    let mut at = Deployment::start();
    let state = at.state();
    let state_before = std::fs::read(&state).unwrap();
    let init = Role::Init { roster: at.roster.clone(), state: state.clone() };
    assert!(!child::run(at.dir(), &init).status.success());
    let elsewhere = Role::Init { roster: at.roster.clone(), state: at.path("state-2") };
    assert!(!child::run(at.dir(), &elsewhere).status.success());
    assert!(!at.path("state-2").exists());
    let second = child::run(at.dir(), &at.role(vec![Deployment::own_uid()]));
    assert!(child::text(&second).contains("another vault runs"), "{}", child::text(&second));
    assert_eq!(std::fs::read(&state).unwrap(), state_before);
    order_something(&at);
    at.stop();
}

#[test]
fn every_key_of_the_inventory_is_pinned_and_as_it_should_be() {
    let at = Deployment::start();
    let keys = at.call(Inventory {}).unwrap();
    let private: Vec<_> = keys.iter().filter(|key| key.class != "public-key").collect();
    assert!(private.len() >= 8, "{keys:#?}");
    for key in private {
        assert!(key.pinned, "{}", key.label);
        let attribute = |name: &str| {
            let found = key.attributes.iter().find(|a| a.name == name);
            found.and_then(|a| a.value.clone())
        };
        let is = |name: &str| attribute(name).as_deref() == Some("true");
        let is_not = |name: &str| attribute(name).as_deref() == Some("false");
        assert!(is("CKA_SENSITIVE") && is("CKA_ALWAYS_SENSITIVE"), "{key:?}");
        assert!(is_not("CKA_EXTRACTABLE") && is("CKA_NEVER_EXTRACTABLE"), "{key:?}");
        assert!(is("CKA_LOCAL") && is("CKA_PRIVATE") && is("CKA_TOKEN"), "{key:?}");
        assert!(is_not("CKA_MODIFIABLE"), "{key:?}");
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        } else {
            all.push(path);
        }
    }
    all
}
