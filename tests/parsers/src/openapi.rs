//! OpenAPI documents that strangers wrote: whatever one says, what comes of it is a manifest that holds together, and the same
//! every time.

use tgp::manifest::{Diff, LARGEST_REQUEST};
use tgp::openapi::import;

pub fn check(data: &[u8]) -> bool {
    let import_of = |before| import(data, before);
    let first = match import_of(None) {
        Ok(import) => import,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let again = import_of(Some(&first.manifest)).expect("a document is read the same way twice");
    assert!(Diff::between(&first.manifest, &again.manifest).is_empty());
    assert_eq!(first.notes, again.notes);
    for note in &first.notes {
        assert!(!note.note.is_empty() && !note.note.chars().any(char::is_control), "{note:?}");
    }
    for action in &first.manifest.actions {
        assert!(action.request.as_ref().is_none_or(|request| request.size() <= LARGEST_REQUEST));
    }
    let checked = first.manifest.check().expect("what is imported holds together");
    for action in &checked.as_written().actions {
        // Its own requests are it, unless something more specific is.
        let template: tgp_request::target::PathTemplate = action.path.parse().expect("checked");
        let path = template.fill(|_| Some("x")).expect("filled");
        assert!(checked.routes().action(&action.method, &path).is_some(), "{path}");
    }
    true
}
