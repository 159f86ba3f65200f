//! `tgp enrol`: become an agent.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tgp_client::{ClientError, Enrolment, Origin, ShowMasterKey};
use zeroize::Zeroizing;

use super::output::{self, Output, facts};
use super::{CliError, block_on, input, time};

#[derive(Args)]
pub struct Enrol {
    /// The file with the enrolment code, `-` for standard input; asked for when not given
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// The gateway, spelled as its issuer, `https://host:port`
    #[arg(long, value_name = "URL")]
    url: String,
    /// Where the agent will live; made by this, closed to others
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print the master key, once, instead of saving it
    #[arg(long)]
    no_save_master_key: bool,
}

impl Enrol {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let gateway = Origin::parse(&self.url)?;
        let code = Enrolment::parse_code(&input::secret(self.code_file.as_deref(), "the enrolment code")?)?;
        let mut shown = None;
        let mut show = |key: &str| {
            if output.is_json() {
                shown = Some(Zeroizing::new(key.to_owned()));
                return Ok(());
            }
            // Shown before the directory says that there is an agent: what cannot be printed is not lost.
            let text = Zeroizing::new(format!("master key: {key}\nkeep it: it is shown this once\n\n"));
            output::write(text.as_bytes()).map_err(|_| ClientError::File {
                path: "standard output".into(),
                problem: "the master key cannot be shown".into(),
            })
        };
        let show_master_key: Option<ShowMasterKey<'_>> = if self.no_save_master_key { Some(&mut show) } else { None };
        let enrolment = Enrolment { code: &code, gateway: &gateway, dir: &self.dir, show_master_key };
        let enrolled = block_on(async { Ok(tgp_client::enrol(enrolment).await?) })?;
        let dir = self.dir.display();
        let mut facts_json = json!({
            "agent": enrolled.agent,
            "aan": enrolled.aan,
            "dir": self.dir,
            "certificate_not_after": enrolled.certificate_not_after,
        });
        if let Some(key) = &shown {
            facts_json["master_key"] = json!(key.as_str());
        }
        output.show(&facts_json, || {
            let kept = if self.no_save_master_key { "as printed above, saved nowhere" } else { "saved with the keys" };
            format!(
                "enrolled\n{}\nnext\n  export TGP_AGENT={dir}\n  tgp call TOOL ACTION\n",
                facts(&[
                    ("agent", enrolled.agent.to_string()),
                    ("AAN", enrolled.aan.grouped()),
                    ("directory", format!("{dir} (nobody else may read it)")),
                    ("certificate", format!("until {}, renewed by itself", time::text(enrolled.certificate_not_after))),
                    ("master key", kept.to_owned()),
                ])
            )
        })
    }
}
