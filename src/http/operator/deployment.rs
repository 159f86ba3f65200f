//! The deployment itself: what it says of itself, its roster, certificates and keys.

use axum::body::Body;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tgp_authority::{Operation, Roster, Signed};
use tgp_vault_client::wire::{CertifyOperator, CertifyServer, Inventory, NewDek, SetRoster, StatementText};
use uuid::Uuid;

use super::{Act, Answered, OneStatement, OperatorRoutes, created, ok, operation, other_statement, parse, to_value};
use crate::refusal::{Code, Refusal};
use crate::store::roster::Roster as RosterRow;
use crate::store::tenant::DEFAULT;
use crate::store::{Conflict, Entry, Kind, StoreError};
use crate::vault::pack;
use crate::verify::Denied;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statements {
    statements: Vec<Signed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RosterBody {
    /// For the reader; what counts is the one that was signed.
    #[serde(default)]
    roster: Option<Value>,
    statements: Vec<Signed>,
}

fn texts(statements: &[Signed]) -> Vec<StatementText> {
    statements.iter().map(StatementText::of).collect()
}

impl OperatorRoutes {
    /// Public: what a client compares with what it was told elsewhere.
    pub(super) async fn about(&self) -> Response<Body> {
        let gateway = &self.gateway;
        let roster = gateway.roster().await;
        ok(&json!({
            "deployment": gateway.deployment.id,
            "vault": gateway.deployment.vault,
            "issuer": gateway.config.issuer.as_str(),
            "trust_domain": gateway.config.trust_domain,
            "roster": roster.doc(),
            "ca_pem": gateway.deployment.ca_pem,
        }))
    }

    /// Asked for without a certificate, since it is how one gets one: the statement authenticates.
    pub(super) async fn certify_operator(&self, request_id: Uuid, body: &[u8]) -> Result<Response<Body>, Denied> {
        let OneStatement { statement } = parse(body).map_err(Denied::counted)?;
        let order = match operation(&statement) {
            Ok(Operation::CertifyOperator(order)) => order,
            Ok(_) => return Err(Denied::counted(other_statement("certify-operator"))),
            Err(refusal) => return Err(Denied::counted(refusal)),
        };
        let certificate = self.gateway.vault.ask(CertifyOperator { statement: StatementText::of(&statement) }).await;
        let certificate = certificate.map_err(Denied::counted)?;
        let entry = Entry {
            operator: Some(statement.statement.signer),
            method: Some("POST".to_owned()),
            detail: Some(json!({
                "act": "certify-operator",
                "operator": order.operator,
                "serial": certificate.serial,
            })),
            ..Entry::new(request_id, Kind::Operator, DEFAULT)
        };
        self.gateway.people.record(&entry).await.map_err(Denied::settled)?;
        Ok(created(&json!({ "chain": certificate.chain })))
    }

    pub(super) async fn new_dek(&self, act: &Act) -> Answered {
        let OneStatement { statement } = act.body()?;
        let Operation::NewDek(order) = operation(&statement)? else { return Err(other_statement("new-dek")) };
        act.may_see(order.tenant)?;
        let dek = self.gateway.vault.ask(NewDek { statement: StatementText::of(&statement) }).await?;
        if dek.tenant != order.tenant {
            return Err(Refusal::internal(&"the vault made a key for another tenant"));
        }
        let mut change = self.gateway.people.change(dek.tenant).await?;
        change.insert_dek(dek.id, &dek.purpose, &pack(&dek), &to_value(&statement)?).await?;
        change.commit(&act.entry(dek.tenant, "new-dek")).await?;
        Ok(created(&json!({ "id": dek.id, "tenant": dek.tenant, "purpose": dek.purpose })))
    }

    pub(super) async fn deks(&self, act: &Act) -> Answered {
        let deks = self.gateway.people.deks(act.tenant()?).await?;
        let shown: Vec<Value> = deks
            .iter()
            .map(|dek| json!({ "id": dek.id, "tenant": dek.tenant, "purpose": dek.purpose, "created": dek.created }))
            .collect();
        Ok(ok(&json!({ "deks": shown })))
    }

    pub(super) fn roster(&self, act: &Act) -> Answered {
        Ok(ok(&json!({ "version": act.roster.version(), "roster": act.roster.doc() })))
    }

    pub(super) async fn set_roster(&self, act: &Act) -> Answered {
        let RosterBody { roster, statements } = act.body()?;
        let Some(first) = statements.first() else { return Err(other_statement("roster")) };
        let Operation::Roster(order) = operation(first)? else { return Err(other_statement("roster")) };
        let document = to_value(&order.roster)?;
        if roster.is_some_and(|given| given != document) {
            return Err(Refusal::new(Code::StatementRefused, "the roster is not the one that was signed"));
        }
        let next =
            Roster::try_from(order.roster).map_err(|error| Refusal::new(Code::StatementRefused, error.to_string()))?;
        let version = self.gateway.vault.ask(SetRoster { statements: texts(&statements) }).await?;
        if version != next.version() {
            return Err(Refusal::internal(&"the vault put another roster in force"));
        }
        let row = RosterRow { version, document, statements: to_value(&statements)? };
        let entry = act.entry(DEFAULT, "roster");
        let mut change = self.gateway.people.change(DEFAULT).await?;
        match change.insert_roster(&row).await {
            Ok(()) => change.commit(&entry).await?,
            // The vault's word counts; the history has it already.
            Err(StoreError::Conflict(Conflict::RosterExists)) => self.gateway.people.record(&entry).await?,
            Err(error) => return Err(error.into()),
        }
        Ok(ok(&json!({ "version": version })))
    }

    pub(super) async fn certify_server(&self, act: &Act) -> Answered {
        let Statements { statements } = act.body()?;
        let Some(first) = statements.first() else { return Err(other_statement("certify-server")) };
        let Operation::CertifyServer(_) = operation(first)? else { return Err(other_statement("certify-server")) };
        let certificate = self.gateway.vault.ask(CertifyServer { statements: texts(&statements) }).await?;
        self.certificate.replace(&certificate.chain).map_err(|error| Refusal::internal(&error))?;
        self.gateway.people.record(&act.entry(DEFAULT, "certify-server")).await?;
        Ok(created(&json!({ "chain": certificate.chain, "not_after": certificate.not_after })))
    }

    /// Every key of the token with its attributes, as the token has them now.
    pub(super) async fn keys(&self) -> Answered {
        let keys = self.gateway.vault.ask(Inventory {}).await?;
        Ok(ok(&json!({ "keys": to_value(&keys)? })))
    }
}
