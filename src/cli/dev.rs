//! `tgp dev` and `tgp demo`: the whole stack on one machine, for trying it out.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::CliError;
use crate::dev::{DemoOptions, DevOptions, Ports};

#[derive(Args)]
pub struct Dev {
    /// Where everything is kept [default: $XDG_STATE_HOME/tgp-dev; for root /var/lib/tgp-dev]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Ports on the loopback: gateway, operators, health, sample tool
    #[arg(long, value_name = "G,O,H,T")]
    ports: Option<PortList>,
}

#[derive(Args)]
pub struct Demo {
    /// Keep the directory afterwards
    #[arg(long)]
    keep: bool,
}

/// `8443,8444,9464,8480`
#[derive(Clone, Copy)]
struct PortList(Ports);

impl FromStr for PortList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ports: Vec<u16> = text.split(',').map_while(|port| port.parse().ok()).collect();
        match ports[..] {
            [gateway, operators, health, tool] if text.split(',').count() == 4 && !ports.contains(&0) => {
                Ok(Self(Ports { gateway, operators, health, tool }))
            }
            _ => Err("four ports, for example 8443,8444,9464,8480".to_owned()),
        }
    }
}

impl Dev {
    pub fn run(self) -> Result<(), CliError> {
        let ports = self.ports.map_or_else(Ports::default, |PortList(ports)| ports);
        Ok(crate::dev::run(DevOptions { data: self.data, ports })?)
    }
}

impl Demo {
    pub fn run(self) -> Result<(), CliError> {
        Ok(crate::dev::demo(DemoOptions { keep: self.keep })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_four_numbers() {
        let PortList(ports) = "1,2,3,4".parse().unwrap();
        assert_eq!((ports.gateway, ports.operators, ports.health, ports.tool), (1, 2, 3, 4));
        for bad in ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "0,1,2,3", "1,2,3,70000"] {
            assert!(bad.parse::<PortList>().is_err(), "{bad}");
        }
    }
}
