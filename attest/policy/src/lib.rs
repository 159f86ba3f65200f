//! The decision, pure: may this agent do this at that tool, given these facts, at this second?
//!
//! The gateway decides with [`decide()`], an auditor replays a recorded decision with it. It reads no
//! clock, no store and no request: the question says what is asked, the facts say what is known with
//! the versions they were read at, and admission checks those versions again before the [`Permit`] is
//! used. It never fails open: there is one way to a permit, and it passes every rule.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod decide;
mod denial;
mod facts;
mod permit;

pub use decide::decide;
pub use denial::Denial;
pub use facts::{AgentFact, Facts, GrantFact, Question, Status, ToolFact};
pub use permit::Permit;
pub use tgp_authority::ActionPattern;
