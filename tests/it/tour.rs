//! What the README tells people to type works as it stands.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Deployment, TGP};

#[test]
fn the_readmes_tour_works_as_it_stands() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let tour = readme.split("<!-- tour").nth(1).and_then(|rest| rest.split("```sh\n").nth(1)).expect("a tour");
    let commands: Vec<&str> = tour.split("```").next().expect("a block").lines().collect();
    assert_eq!(commands.len(), 10);
    let deployment = Deployment::start();
    let (bin, home) = (deployment.path("bin"), deployment.path("home"));
    std::fs::create_dir_all(&bin).expect("bin");
    std::fs::create_dir_all(&home).expect("home");
    symlink(TGP, bin.join("tgp")).expect("a link");
    let port = deployment.stack.ports().gateway.to_string();
    for command in commands {
        let output = Command::new("sh")
            .args(["-ec", &command.replace("8443", &port)])
            .current_dir(&home)
            .env_clear()
            .env("HOME", &home)
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("TGP_OPERATOR", deployment.path("d/operator"))
            .output()
            .expect("sh");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!said.trim().is_empty(), "{command} says nothing");
    }
}
