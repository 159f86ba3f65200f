//! Two gateways on one database and one vault.

use crate::support::{Deployment, Setup};

#[test]
fn two_gateways_accept_a_nonce_once_between_them_and_a_freeze_on_one_holds_on_the_other() {
    let mut deployment = Deployment::start();
    let ports = tgp::dev::Ports::free().expect("ports");
    let options = Deployment::options(&deployment.directory, &Setup::default());
    deployment.stack.start_another_gateway(&options, ports, |text| text).unwrap_or_else(|e| panic!("{e}"));
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    let (first, second) = (deployment.wire(), deployment.wire_to(ports.gateway));
    let token = deployment.runtime.block_on(async {
        let token = agent.token(&first, "mail", "list").await;
        for _ in 0..20 {
            let draft = agent.signed(&first, &token, "GET", "/t/mail/messages", b"");
            let (one, other) = tokio::join!(agent.send(&first, &draft), agent.send(&second, &draft));
            let mut answers = [(one.status, one.code()), (other.status, other.code())];
            answers.sort();
            assert_eq!(answers, [(200, String::new()), (400, "signature-replayed".to_owned())]);
        }
        token
    });
    // The operator's context points at the first gateway.
    deployment.operator(&["agent", "freeze", "travel-bot"]);
    let draft = agent.signed(&second, &token, "GET", "/t/mail/messages", b"");
    deployment.runtime.block_on(agent.send(&second, &draft)).refused(403, "agent-frozen");
}
