//! What other software says of our keys. Each is skipped where its tool is not installed.

use std::fs;
use std::process::Command;

use tgp_token::{KeyOps, PublicKey, Role};

use crate::scene::{LABEL, PIN, Scene, alone};

fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--help").output().is_ok();
    if !found {
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

alone! {
    fn pkcs11_tool_sees_every_key_as_never_extractable(scene) {
        if !installed("pkcs11-tool") {
            return;
        }
        drop(scene.provisioned());
        let module = Scene::module();
        let tool = Command::new("pkcs11-tool")
            .args(["--module", module.to_str().unwrap(), "--token-label", LABEL, "--login", "--list-objects"])
            .args(["--pin", "env:TEST_PIN"])
            .env("TEST_PIN", PIN)
            .output()
            .unwrap();
        let text = String::from_utf8(tool.stdout).unwrap();
        assert!(tool.status.success(), "{text}{}", String::from_utf8_lossy(&tool.stderr));
        // Objects begin in the first column, what is said of them is indented.
        let mut objects: Vec<String> = Vec::new();
        for line in text.lines() {
            match objects.last_mut() {
                Some(object) if line.starts_with(' ') => object.push_str(&format!("\n{line}")),
                _ => objects.push(line.to_owned()),
            }
        }
        for role in Role::ALL {
            let label = format!("label:      {}", role.label(1));
            let secret = |object: &&String| object.contains(&label) && !object.starts_with("Public Key");
            let found: Vec<_> = objects.iter().filter(secret).collect();
            assert_eq!(found.len(), 1, "{role}:\n{text}");
            let access = "Access:     sensitive, always sensitive, never extractable, local";
            assert!(found[0].contains(access), "{}", found[0]);
            let usage = found[0].lines().find_map(|line| line.trim().strip_prefix("Usage:")).unwrap().trim();
            // It does not look at CKA_SIGN of secret keys.
            let expected = match role {
                Role::Kek => "encrypt, decrypt",
                Role::MasterRoot | Role::StateMac | Role::BlindIndex => "none",
                Role::TokenSigning | Role::AgentCa | Role::ServerTls | Role::LogSigning => "sign",
            };
            assert_eq!(usage, expected, "{role}");
        }
    }

    fn openssl_verifies_what_log_signing_signs(scene) {
        if !installed("openssl") {
            return;
        }
        let (_token, mut session) = scene.provisioned();
        let key = session.find(Role::LogSigning, 1).unwrap();
        let public = session.public_key(&key).unwrap();
        assert!(matches!(public, PublicKey::Ed25519(_)), "SoftHSM has Ed25519");
        let file = |name: &str| scene.dir.join(name);
        for message in [b"a checkpoint".as_slice(), &[7; 5000]] {
            fs::write(file("public.der"), public.spki_der()).unwrap();
            fs::write(file("signature"), session.sign_ed25519(&key, message).unwrap()).unwrap();
            let verify = |message: &[u8]| {
                fs::write(file("message"), message).unwrap();
                let openssl = Command::new("openssl")
                    .current_dir(&scene.dir)
                    .args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "public.der", "-rawin"])
                    .args(["-in", "message", "-sigfile", "signature"])
                    .output()
                    .unwrap();
                openssl.status.success()
            };
            assert!(verify(message));
            assert!(!verify(&[message, b"!"].concat()));
        }
    }
}
