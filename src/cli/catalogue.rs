//! `tgp tool search`: what can be done, as an agent sees it.

use clap::Args;
use tgp_client::{Page, Tool};
use tgp_request::name::Slug;

use super::CliError;
use super::output::{Output, Table, count};
use super::time;
use super::token::AgentArgs;

#[derive(Args)]
pub struct Search {
    /// Words of what is to be done; all tools and actions when there are none
    words: Vec<String>,
    /// In this tool alone
    #[arg(long, value_name = "TOOL")]
    tool: Option<Slug>,
    /// Continue where the last page ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

impl Search {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let agent = self.agent.load()?;
        let words = self.words.join(" ");
        let page = agent.search(self.tool.as_ref(), &words, self.cursor.as_deref()).await?;
        output.show(&page, || text(&page))
    }
}

fn text(page: &Page) -> String {
    let mut table = Table::new(&["SCOPE", "GRANTED UNTIL", "TITLE"]);
    let mut found = 0;
    for Tool { slug, actions, .. } in &page.tools {
        for action in actions {
            let until = action.granted_until.map(time::text).unwrap_or_default();
            table.row([format!("{slug}:{}", action.name), until, action.title.clone()]);
            found += 1;
        }
    }
    if found == 0 {
        return "nothing fits\n".to_owned();
    }
    let next = page.next.as_ref().map(|next| format!("more: --cursor {next}\n")).unwrap_or_default();
    format!("{}\n{}\n{next}", table.text(), count(found, "action"))
}
