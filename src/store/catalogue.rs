//! The catalogue: actions of a tenant, searched or in order, page by page.

use serde_json::Value;
use uuid::Uuid;

use super::{Store, StoreError};

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Words; none lists all.
    pub question: Option<&'a str>,
    /// One tool's actions alone, and then with their schemas.
    pub tool: Option<&'a str>,
    /// The action of this very name.
    pub action: Option<&'a str>,
    /// Where the page before ended.
    pub after: Option<Position>,
    pub most: u16,
}

/// Where an action stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// How well it fits; 0 where nothing was asked.
    pub score: i32,
    pub tool: String,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Found {
    pub tool: String,
    pub name: String,
    pub score: i32,
    pub method: String,
    pub template: String,
    pub resource: Option<String>,
    pub stream: bool,
    pub title: String,
    pub description: String,
    pub request: Option<Value>,
}

/// What agents may know of a tool.
#[derive(Clone, Debug)]
pub struct About {
    pub slug: String,
    pub resource: String,
    pub manifest: Value,
    /// Whether it can be called: an operator has handed in what its upstream wants.
    pub ready: bool,
}

impl Store {
    /// One page of actions, best first, and the tools that they are of.
    pub async fn catalogue(&self, tenant: Uuid, wanted: &Wanted<'_>) -> Result<(Vec<Found>, Vec<About>), StoreError> {
        let Wanted { question, tool, action, after, most } = wanted;
        let after_score = after.as_ref().map(|after| after.score);
        let after_tool = after.as_ref().map(|after| after.tool.as_str());
        let after_name = after.as_ref().map(|after| after.name.as_str());
        let mut tx = self.scope(tenant).await?;
        let found =
            match question {
                // Joined with the table, whose row-level security has the last word.
                Some(question) => sqlx::query_as!(
                    Found,
                    r#"select a.tool, a.name, s.score as "score!", a.method, a.template, a.resource, a.stream, a.title,
                              a.description, case when $2::text is not null then a.request end as request
                       from search_actions($1, $2, $3, $4, $5, $6) s
                       join tool_action a on a.tool = s.tool and a.name = s.name
                       order by s.score desc, a.tool, a.name"#,
                    question,
                    *tool,
                    after_score,
                    after_tool,
                    after_name,
                    i32::from(*most)
                )
                .fetch_all(&mut *tx)
                .await?,
                None => {
                    sqlx::query_as!(
                        Found,
                        r#"select a.tool, a.name, 0 as "score!", a.method, a.template, a.resource, a.stream, a.title,
                              a.description, case when $2::text is not null then a.request end as request
                       from tool_action a
                       where a.tenant = $1 and ($2::text is null or a.tool = $2) and ($3::text is null or a.name = $3)
                         and ($4::text is null or (a.tool, a.name) > ($4, $5::text))
                       order by a.tool, a.name limit $6"#,
                        tenant,
                        *tool,
                        *action,
                        after_tool,
                        after_name,
                        i64::from(*most)
                    )
                    .fetch_all(&mut *tx)
                    .await?
                }
            };
        let mut slugs: Vec<String> = found.iter().map(|found| found.tool.clone()).collect();
        slugs.extend(tool.map(str::to_owned));
        let tools = sqlx::query_as!(
            About,
            r#"select t.slug, t.resource, t.manifest,
                      exists (select from tool_credential c where c.tool = t.slug) as "ready!"
               from tool t where t.tenant = $1 and t.slug = any($2)"#,
            tenant,
            &slugs
        )
        .fetch_all(&mut *tx)
        .await?;
        Ok((found, tools))
    }
}
