//! One tenant's operators against another tenant's agents: they may sign what they like, in their own.

use tgp_authority::{Credential, Grant, Operation, RecordKind, Revoke as RevokeOrder};
use tgp_vault_client::wire::{MintToken, RefusalCode, Release, Revoke, SetCredential, SetGrant, WireSecret};

use crate::actors::{SALT, SECRET, Working, credential, grant, resource};
use crate::deployment::{Deployment, OTHER_TENANT, refused};

#[test]
fn another_tenants_granter_grants_nothing_to_our_agents() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let theirs = Grant { tenant: OTHER_TENANT, ..grant(&at, working.agent.id, "mail") };
    let statement = at.outsider.order(&at, &Operation::Grant(theirs));
    let theirs = at.call(SetGrant { statement, dek: at.other_dek }).unwrap();
    let call = MintToken { grant_record: theirs.record, ..working.mint_call() };
    assert_eq!(refused("their grant", at.call(call)), RefusalCode::RecordMismatch);
}

#[test]
fn another_tenants_credential_is_not_released_to_our_agents() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let theirs =
        Credential { tenant: OTHER_TENANT, origins: vec!["https://attacker.example".into()], ..credential("mail", 1) };
    let statement = at.outsider.order(&at, &Operation::Credential(theirs));
    let (salt, secret) = (SALT.to_vec(), WireSecret::new(SECRET.to_vec()));
    let theirs = at.call(SetCredential { statement, salt, secret, dek: at.other_dek }).unwrap();
    let token = working.token(&at);
    let request = working.agent.request(&at, &token, &format!("{}/1", resource("mail")));
    let call = Release { credential_record: theirs.record, ..working.release_call(request) };
    assert_eq!(refused("their credential", at.call(call)), RefusalCode::RecordMismatch);
}

#[test]
fn another_tenants_revocation_and_version_touch_nothing_of_ours() {
    let at = Deployment::start();
    let working = Working::new(&at);
    for (kind, id) in [
        (RecordKind::Agent, working.agent.id.to_string()),
        (RecordKind::Grant, working.grant.facts.grant.to_string()),
        (RecordKind::Credential, "mail".to_owned()),
    ] {
        let order = Operation::Revoke(RevokeOrder { tenant: OTHER_TENANT, kind, id });
        let statements = vec![at.outsider.order(&at, &order)];
        at.call(Revoke { statements }).unwrap();
    }
    // A much newer version of a grant of the same id, in the other tenant.
    let newer = Grant {
        grant: working.grant.facts.grant,
        version: 99,
        tenant: OTHER_TENANT,
        ..grant(&at, working.agent.id, "mail")
    };
    let statement = at.outsider.order(&at, &Operation::Grant(newer));
    at.call(SetGrant { statement, dek: at.other_dek }).unwrap();
    let token = working.token(&at);
    let request = working.agent.request(&at, &token, &format!("{}/1", resource("mail")));
    at.call(working.release_call(request)).unwrap();
}
