//! For `tests/parsers` alone: parsers of this crate that nobody else may call.

use crate::manifest::CheckedManifest;
use crate::store::tool::Action;

/// The body of `POST /v1/tools` up to where the upstream's address would be looked up.
pub fn tool(body: &[u8]) -> Option<CheckedManifest> {
    crate::http::tool_body(body)
}

/// An `--action` of `tgp tool add`.
pub fn command_line_action(text: &str) -> Option<Action> {
    crate::cli::action(text)
}
