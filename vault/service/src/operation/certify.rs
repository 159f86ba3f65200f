//! `certify_operator` and `certify_server`: certificates on operators' orders.
//!
//! An operator is a key of the roster; the certificate only carries it into TLS. The server's key
//! is in the token, so its order names the names and nothing else.

use tgp_authority::{CertificateRequest, CertifyOperator as OperatorOrder, Operation};
use tgp_request::name::SpiffeId;
use tgp_vault_client::wire::{Certificate, CertifyOperator, CertifyServer};

use super::not_this_operation;
use super::renew::issue;
use crate::certificate::Subject;
use crate::failure::Failure;
use crate::vault::Worker;

pub(super) fn certify_operator(
    worker: &mut Worker<'_>,
    call: CertifyOperator,
    now: i64,
) -> Result<Certificate, Failure> {
    let CertifyOperator { statement } = call;
    let vault = worker.vault;
    // The check includes that the CSR's key is that operator's in the roster.
    let order = vault.order(&[statement], now)?;
    let Operation::CertifyOperator(OperatorOrder { operator, csr }) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    let spki = CertificateRequest::parse(csr)?.key().to_spki_der();
    let trust_domain = vault.state.current().roster.doc().trust_domain.clone();
    let id = SpiffeId::operator(trust_domain, *operator);
    vault.state.commit(&mut worker.session, now, |act| order.spend(act))?;
    issue(worker, &Subject::Client(&id), &spki, now)
}

pub(super) fn certify_server(worker: &mut Worker<'_>, call: CertifyServer, now: i64) -> Result<Certificate, Failure> {
    let CertifyServer { statements } = call;
    let vault = worker.vault;
    let order = vault.order(&statements, now)?;
    let Operation::CertifyServer(names) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    let subject = Subject::Server(&names.names);
    let certificate = issue(worker, &subject, &vault.keys.server_spki, now)?;
    vault.state.commit(&mut worker.session, now, |act| {
        order.spend(act)?;
        act.set_server_chain(certificate.chain.clone());
        Ok(())
    })?;
    Ok(certificate)
}
