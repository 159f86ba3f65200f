//! Transcripts: what `tgp` says when it is asked wrongly, and how it describes itself.

use super::*;

fn refused(args: &[&str]) -> String {
    let error = Cli::command().try_get_matches_from(args).expect_err("the arguments are wrong");
    error::usage_text(&error)
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_every_verb_with_what_it_does() {
    let help = Cli::command().term_width(100).render_help().to_string();
    for verb in [
        "dev", "demo", "init", "operator", "roster", "tenant", "migrate", "serve", "vault", "agent", "enrol", "tool",
        "grant", "token", "call", "key", "audit",
    ] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{verb} ")));
        assert!(line.is_some_and(|line| line.trim().len() > verb.len() + 10), "{verb}:\n{help}");
    }
}

#[test]
fn no_argument_takes_a_secret() {
    fn look(command: &clap::Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            let takes_value = argument.get_action().takes_values();
            let secret = ["pin", "secret", "password", "master_key", "code"].iter().any(|word| name.contains(word));
            let public = name == "pin" && command.get_name() == "connect"; // a CA's fingerprint
            assert!(!takes_value || !secret || name.ends_with("_file") || public, "{} --{name}", command.get_name());
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}

#[test]
fn wrong_arguments_are_told_with_a_hint() {
    assert_eq!(
        refused(&["tgp", "audit", "tial"]),
        "error: unrecognized subcommand 'tial'\nhint: a similar subcommand exists: 'tail'\n      tgp audit [OPTIONS] <COMMAND>"
    );
    assert_eq!(
        refused(&["tgp", "grant", "add", "bot", "mail", "--action", "send", "--for", "soon"]),
        "error: invalid value 'soon' for '--for <TIME>': a length of time is a number and a unit: 90s, 15m, 24h, 30d"
    );
    let missing = refused(&["tgp", "tool", "credential", "mail"]);
    assert!(
        missing.starts_with(
            "error: the following required arguments were not provided:\n  <--none|--bearer|--header <NAME>|--query <NAME>|"
        ),
        "{missing}"
    );
}

#[test]
fn the_readmes_command_lines_are_understood() {
    for line in [
        "tgp tenant prepare",
        "tgp tool list --json",
        "tgp tool add mail --upstream http://127.0.0.1:8480 --allow-private --action list=GET_/messages --action read=GET_/messages/{id}",
        "tgp tool credential mail --bearer --secret-file x",
        "tgp tool credential mail --none",
        "tgp tool credential mail --aws-sigv4 eu-central-1/s3 --name reports --secret-file x",
        "tgp tool credential mail --client-certificate --secret-file x --origin https://mail.example",
        "tgp grant add travel-bot mail --action list --credential reports",
        "tgp agent create travel-bot --code-file code",
        "tgp enrol --code-file code --url https://localhost:8443 --dir travel-bot",
        "tgp grant add travel-bot mail --action list --action send",
        "tgp call --agent travel-bot mail send -d {\"to\":\"ada\"}",
        "tgp call mail read -p id=1 -q k=v -H accept:text/plain -i",
        "tgp token mail send --claims",
        "tgp audit tail -f --outcomes",
        "tgp operator keygen --dir operator",
        "tgp operator connect --url https://localhost:8444 --deployment-file deployment.json",
        "tgp init --config c --owner o --server-name localhost --new-soft-token --so-pin-file so",
        "tgp roster propose --add key.pub --role inviter --role granter --out proposal.json",
        "tgp key list",
        "tgp serve --with-vault",
        "tgp dev --data /tmp/x --ports 1,2,3,4",
    ] {
        let args = line.split(' ').map(|word| word.replace('_', " "));
        let matches = Cli::command().try_get_matches_from(args);
        assert!(matches.is_ok(), "{line}: {}", matches.map(|_| String::new()).unwrap_or_else(|e| e.to_string()));
    }
}

#[test]
fn what_a_token_is_fetched_with_is_named_whole_or_not_at_all() {
    let line = |rest: &str| {
        let line = format!("tgp tool credential mail --secret-file x {rest}");
        Cli::command().try_get_matches_from(line.split(' ')).map(drop)
    };
    for good in [
        "--oauth2 client_credentials --token-endpoint https://a.example/token --client-id c",
        "--oauth2 refresh_token --token-endpoint https://a.example/token --client-id c --client-auth client_secret_post",
    ] {
        assert!(line(good).is_ok(), "{good}");
    }
    for bad in [
        "--oauth2 client_credentials",
        "--oauth2 client_credentials --client-id c",
        "--oauth2 password --token-endpoint https://a.example/token --client-id c",
        "--bearer --token-endpoint https://a.example/token",
        "--bearer --basic",
    ] {
        assert!(line(bad).is_err(), "{bad}");
    }
}
