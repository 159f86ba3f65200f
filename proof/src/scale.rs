//! A database that has been in use: a hundred thousand agents with their grants, millions of records. Written by SQL from
//! the rows of one real agent; nobody could tell them from enrolled ones but the vault, which is not asked about them.

use std::process::Command;

use tgp::dev::Stack;

use crate::Failure;

/// `agents` more agents with a grant each, and `records` more rows in the audit.
pub fn fill(stack: &Stack, agents: u64, records: u64) -> Result<(), Failure> {
    sql(
        stack,
        &format!(
            "with more as (
               insert into agent (id, tenant, handle, aan, status, keyid, jwk, invitation, record)
               select gen_random_uuid(), tenant, 'scale-' || n, lpad(n::text, 16, '0'), 'active', 'scale-' || n, jwk,
                      invitation, record
               from agent, generate_series(1, {agents}) n where handle = 'load-0'
               returning id, tenant)
             insert into \"grant\" (id, tenant, agent, tool, resource, actions, not_before, not_after,
                                  statement_version, statement, record)
             select more.id, more.tenant, more.id, g.tool, g.resource, g.actions, g.not_before, g.not_after,
                    g.statement_version, g.statement, g.record
             from more, (select * from \"grant\" where agent = (select id from agent where handle = 'load-0') limit 1) g"
        ),
    )?;
    let mut left = records;
    while left > 0 {
        let rows = left.min(500_000);
        sql(
            stack,
            &format!(
                "insert into audit (request, kind, tenant, agent, agent_version, tool, tool_version, action, method, jti, code)
                 select gen_random_uuid(), 'call', a.tenant, a.id, 1, 'mail', 1, 'list', 'GET', gen_random_uuid(), 'allowed'
                 from agent a, generate_series(1, {rows}) where a.handle = 'load-0'"
            ),
        )?;
        left -= rows;
    }
    sql(stack, "analyze")?;
    // What was written just now is on its way to the disk; measured after it has arrived.
    sql(stack, "checkpoint")
}

fn sql(stack: &Stack, statement: &str) -> Result<(), Failure> {
    let mut psql = Command::new("psql");
    psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", &stack.database("postgres"), "-c", statement]);
    let output = psql.output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}
