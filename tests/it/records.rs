//! Every answer has its record, and the database holds nothing in clear that should be sealed.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::Deployment;

#[test]
fn after_load_records_and_answers_match_one_to_one() {
    let deployment = Deployment::start();
    let agents = ["bot-a", "bot-b", "bot-c"].map(|handle| {
        let agent = deployment.agent(handle);
        deployment.grant(handle, "mail", &["list", "send"]);
        agent
    });
    let wire = deployment.wire();
    let asked: Vec<(String, u16)> = deployment.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for agent in agents {
            let wire = wire.clone();
            tasks.spawn(async move {
                let mut answers = Vec::new();
                let token = agent.token(&wire, "mail", "list").await;
                for n in 0..20 {
                    // Every fourth is refused: the token is not for deleting.
                    let (method, target) =
                        if n % 4 == 3 { ("DELETE", "/t/mail/messages/1") } else { ("GET", "/t/mail/messages") };
                    let reply = agent.send(&wire, &agent.signed(&wire, &token, method, target, b"")).await;
                    let id = reply.headers["tgp-request-id"].to_str().expect("text").to_owned();
                    answers.push((id, reply.status));
                }
                answers
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    });
    assert_eq!(asked.len(), 60);
    let records = deployment.records();
    for (id, status) in &asked {
        let matching: Vec<_> = records.iter().filter(|record| record["request_id"] == id.as_str()).collect();
        assert_eq!(matching.len(), 1, "records of {id}");
        let verdict = matching[0]["verdict"].as_str().expect("a verdict");
        assert_eq!(verdict == "allow", *status == 200, "{id} was answered {status}, recorded {verdict}");
    }
    let calls = records.iter().filter(|record| record["kind"] == "call").count();
    assert_eq!(calls, asked.len(), "a record without an answer, or the other way round");
    let forwarded: BTreeSet<&str> =
        asked.iter().filter(|(_, status)| *status == 200).map(|(id, _)| id.as_str()).collect();
    // Outcomes are written when the reply has ended, which the caller may see a moment earlier.
    let mut outcomes = deployment.outcomes();
    let patience = std::time::Instant::now();
    while outcomes.len() < forwarded.len() && patience.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        outcomes = deployment.outcomes();
    }
    let with_outcome: BTreeSet<&str> = outcomes.iter().filter_map(|outcome| outcome["request_id"].as_str()).collect();
    assert_eq!(forwarded, with_outcome);
}

#[test]
fn the_whole_database_holds_no_sealed_plaintext_and_no_secret() {
    let deployment = Deployment::start();
    let code = deployment.path("code").display().to_string();
    deployment.operator(&[
        "agent",
        "create",
        "quiet-bot",
        "--name",
        "Zanzibar Quietus",
        "--description",
        "books Xylophones",
        "--code-file",
        &code,
    ]);
    let directory = deployment.path("quiet-bot");
    let url = deployment.wire().issuer;
    let enrolled =
        deployment.tgp(&["enrol", "--code-file", &code, "--url", &url, "--dir", &directory.display().to_string()]);
    assert!(enrolled.status.success(), "{enrolled:?}");
    let agent = crate::support::load(&directory);
    deployment.grant("quiet-bot", "mail", &["send"]);
    let token = deployment.runtime.block_on(async {
        let wire = deployment.wire();
        agent.call(&wire, "mail", "send", "POST", "/messages", br#"{"text":"hello"}"#).await.ok();
        agent.token(&wire, "mail", "send").await
    });
    let read = |path: &str| std::fs::read_to_string(deployment.path(path)).expect(path).trim().to_owned();
    let master_key = agent.master_key.clone();
    let mac = master_key.splitn(3, '_').nth(2).expect("three parts").to_owned();
    let upstream = format!("127.0.0.1:{}", deployment.stack.ports().tool);
    let texts = [
        "Zanzibar Quietus".to_owned(),
        "Xylophones".to_owned(),
        upstream,
        master_key,
        mac,
        token,
        read("code"),
        read("d/vault/pin"),
        read("d/vault/so-pin"),
        read("d/sample-tool.secret"),
    ];
    let mut binary: Vec<(String, Vec<u8>)> = texts.into_iter().map(|text| (text.clone(), text.into_bytes())).collect();
    binary.push(("the identity key".to_owned(), agent.identity.dangerous_to_bytes().to_vec()));
    // The server's own files: tables, indexes and the write-ahead log, where a dump would show less.
    let mut seen = 0_usize;
    let dump = Command::new("pg_dump")
        .args(["--inserts", "-d", &deployment.stack.database("postgres")])
        .output()
        .expect("pg_dump");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let text = String::from_utf8_lossy(&dump.stdout).to_lowercase();
    assert!(text.contains("quiet-bot"), "the dump shows what stands in clear");
    for (what, bytes) in &binary {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert!(!text.contains(&what.to_lowercase()) && !text.contains(&hex), "{what} is in the dump");
    }
    deployment.sql("postgres", "checkpoint");
    let mut open = vec![deployment.path("d/pg/data/base"), deployment.path("d/pg/data/pg_wal")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("readable").map(|entry| entry.expect("entry").path()));
            continue;
        }
        let Ok(content) = std::fs::read(&path) else { continue }; // a file that the server removed meanwhile
        seen += usize::from(memmem(&content, b"quiet-bot"));
        for (what, bytes) in &binary {
            assert!(!memmem(&content, bytes), "{what} is in {}", path.display());
        }
    }
    assert!(seen > 0, "the search finds what is there");
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
