//! What the store can answer other than yes, by blame: the database is away, the caller asked for
//! something that cannot be, or we are wrong.

/// Cheap to clone, because one failed statement is answered to everybody who was in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, is shutting down, gave up on a lock, or is read-only. Whether a
    /// statement under way was carried out is unknown: whoever waited for it must not act on it.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The schema refused: someone else has it already, or it may not be so.
    #[error(transparent)]
    Conflict(Conflict),
    #[error("no such row in this tenant")]
    NotFound,
    /// A query or an argument that should not exist.
    #[error("store bug: {0}")]
    Bug(String),
}

/// The schema's constraints, by name, in words for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    #[error("an agent with this id exists")]
    AgentExists,
    #[error("another agent of this tenant has this handle")]
    HandleTaken,
    #[error("this agent authentication number was given out before")]
    NumberTaken,
    #[error("this identity key belongs or belonged to an agent")]
    KeyTaken,
    #[error("a retired agent stays retired")]
    AgentRetired,
    #[error("an agent is active only once it has enrolled")]
    AgentNotEnrolled,
    #[error("this certificate is recorded already")]
    CertificateExists,
    #[error("a tool with this slug exists")]
    SlugTaken,
    #[error("the tool was changed meanwhile; look at it again")]
    ToolChanged,
    #[error("the tool has an action of this name")]
    ActionTaken,
    #[error("the tool has an action for this method and path")]
    RouteTaken,
    #[error("a grant with this id exists for another agent or tool")]
    GrantTaken,
    #[error("a revoked grant stays revoked")]
    GrantRevoked,
    #[error("a newer version is recorded already")]
    VersionOld,
    #[error("a grant needs an action, and must begin before it ends")]
    GrantEmpty,
    #[error("no such tenant")]
    UnknownTenant,
    #[error("no such agent in this tenant")]
    UnknownAgent,
    #[error("no such tool in this tenant")]
    UnknownTool,
    #[error("a tenant with this id or handle exists")]
    TenantTaken,
    #[error("an operator with this id or address exists")]
    OperatorTaken,
    #[error("this data encryption key is recorded already")]
    DekExists,
    #[error("this version of the roster is recorded already")]
    RosterExists,
    #[error("the token is revoked already")]
    TokenRevoked,
    #[error("another tool has this resource")]
    ResourceTaken,
    #[error("this verifier key is recorded already")]
    VerifierKeyExists,
    #[error("a handle, slug, name or number is not of its form")]
    Form,
}

impl Conflict {
    /// `None` for a constraint whose violation can only be our mistake.
    fn of(constraint: &str) -> Option<Self> {
        Some(match constraint {
            "agent_pkey" | "agent_tenant_id_key" => Self::AgentExists,
            "agent_handle_key" => Self::HandleTaken,
            "aan_pkey" | "agent_aan_key" => Self::NumberTaken,
            "agent_keyid_key" | "agent_key_pkey" => Self::KeyTaken,
            "agent_retired_is_final" => Self::AgentRetired,
            "agent_active_is_enrolled" => Self::AgentNotEnrolled,
            "agent_certificate_pkey" => Self::CertificateExists,
            "tool_pkey" | "tool_tenant_slug_key" => Self::SlugTaken,
            "tool_action_pkey" => Self::ActionTaken,
            "tool_action_route_key" => Self::RouteTaken,
            "grant_pkey" => Self::GrantTaken,
            "grant_revoked_is_final" => Self::GrantRevoked,
            "grant_version_grows" | "tool_credential_version_grows" => Self::VersionOld,
            "grant_actions_some" | "grant_validity_order" => Self::GrantEmpty,
            "agent_tenant_fkey" | "tool_tenant_fkey" | "operator_tenant_fkey" | "dek_tenant_fkey" => {
                Self::UnknownTenant
            }
            "grant_agent_fkey" | "agent_key_agent_fkey" | "agent_certificate_agent_fkey" => Self::UnknownAgent,
            "grant_tool_fkey" | "tool_action_tool_fkey" | "tool_credential_tool_fkey" | "verifier_key_tool_fkey" => {
                Self::UnknownTool
            }
            "tenant_pkey" | "tenant_handle_key" => Self::TenantTaken,
            "operator_pkey" | "operator_email_key" => Self::OperatorTaken,
            "dek_pkey" => Self::DekExists,
            "roster_pkey" => Self::RosterExists,
            "token_revocation_pkey" => Self::TokenRevoked,
            "tool_resource_key" => Self::ResourceTaken,
            "verifier_key_pkey" | "verifier_key_digest_key" => Self::VerifierKeyExists,
            "agent_handle_form"
            | "aan_form"
            | "tool_slug_form"
            | "tool_action_name_form"
            | "tool_credential_name_form"
            | "tenant_handle_form" => Self::Form,
            _ => return None,
        })
    }
}

impl StoreError {
    /// For what can only fail because the database is not there for us: connecting, naming a tenant.
    pub(super) fn unavailable(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error.to_string()),
            // What a connection says when the server went away in the middle of a message.
            sqlx::Error::Protocol(_) => Self::Unavailable(error.to_string()),
            sqlx::Error::Database(refusal) => {
                if let Some(conflict) = refusal.constraint().and_then(Conflict::of) {
                    return Self::Conflict(conflict);
                }
                let state = refusal.code().unwrap_or_default();
                if unavailable(&state) {
                    Self::Unavailable(error.to_string())
                } else {
                    Self::Bug(format!("{error} ({state})"))
                }
            }
            _ => Self::Bug(error.to_string()),
        }
    }
}

/// SQLSTATEs (PostgreSQL, appendix A) that tell of the server's state and not of our statement.
fn unavailable(state: &str) -> bool {
    // Connection exceptions, authorization, rollbacks to be tried again, resources, system errors.
    ["08", "28", "40", "53", "58"].iter().any(|class| state.starts_with(class))
        // Shutdown and crash (57P0x), statement timeout, lock timeout, idle timeout, a read-only standby.
        || matches!(state, "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "57014" | "55P03" | "25P03" | "25006")
        // The database itself was dropped or not made yet.
        || state == "3D000"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_blamed_on_the_database_and_a_bad_query_on_us() {
        for state in ["08006", "57P01", "53300", "40P01", "25006", "3D000", "28P01"] {
            assert!(unavailable(state), "{state}");
        }
        for state in ["42601", "42501", "23505", "22021"] {
            assert!(!unavailable(state), "{state}");
        }
    }
}
