//! A permit that no decision made.

use tgp_policy::Permit;
use uuid::Uuid;

fn main() {
    let _ = Permit {
        agent: Uuid::nil(),
        principals: Vec::new(),
        agent_version: 1,
        tenant: Uuid::nil(),
        tool: "mail".parse().unwrap(),
        tool_version: 1,
        grant: Uuid::nil(),
        grant_version: 1,
        grant_not_after: i64::MAX,
        resource: String::new(),
        actions: Vec::new(),
        decided_at: 0,
    };
}
