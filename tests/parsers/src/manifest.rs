//! What `tgp tool add` sends: the tool with its upstream, actions and templates. Behind a line end, requests: a method and
//! a path on each line.

use tgp::fuzzing::{command_line_action, tool};
use tgp::manifest::{Diff, ToolManifest};
use tgp::store::tool::Action;
use tgp::verify::manifest::Manifest;
use tgp_request::target::{EscapedSlash, PathTemplate, canonical_with};

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (body, requests) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(action) = command_line_action(body) {
        from_the_command_line(body, &action);
        return true;
    }
    let Some(checked) = tool(body.as_bytes()) else { return false };
    let written = checked.as_written().clone();
    let (about, stored) = checked.into_stored().expect("what was read can be written");
    let actions: Vec<Action> = stored.iter().map(|new| new.action.clone()).collect();
    let manifest = Manifest::parse(&actions).expect("checked");
    let again = ToolManifest::stored(&about, stored).expect("what was stored can be read");
    assert_eq!(again, written);
    assert!(Diff::between(&written, &again).is_empty());
    assert!(again.check().is_ok(), "what is stored holds together");
    let mut reversed = actions.clone();
    reversed.reverse();
    let reversed = Manifest::parse(&reversed).expect("the order makes no difference to what is accepted");
    for request in requests.lines() {
        let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
        judged(&manifest, &reversed, &actions, method, path);
    }
    // Each can be called: some request is it, or something more specific.
    for action in &actions {
        let template: PathTemplate = action.template.parse().expect("it was read");
        let path = template.fill(|_| Some("x")).expect("filled");
        let matched = manifest.matched(&action.method, &path).expect("some request is it");
        assert_eq!(Some(matched.action), manifest.action(&action.method, &path), "{path}");
    }
    true
}

/// A request is the action of the most specific template that matches, whatever order they were named in.
fn judged(manifest: &Manifest, reversed: &Manifest, actions: &[Action], method: &str, path: &str) {
    let mut fitting: Vec<(Vec<usize>, &Action)> = actions
        .iter()
        .filter(|action| action.method == method)
        .filter_map(|action| {
            let template: PathTemplate = action.template.parse().expect("it was read");
            template.matches(path).is_some().then(|| (template.specificity(), action))
        })
        .collect();
    fitting.sort_by(|one, other| one.0.cmp(&other.0));
    let found = manifest.action(method, path).map(ToString::to_string);
    let Some((best, action)) = fitting.last() else {
        return assert_eq!(found, None, "{method} {path}");
    };
    let equals = fitting.iter().filter(|(rank, _)| rank == best).count();
    if equals == 1 {
        assert_eq!(found.as_deref(), Some(action.name.as_str()), "{method} {path}");
        assert_eq!(reversed.action(method, path).map(ToString::to_string), found);
        if path.to_ascii_lowercase().contains("%2f") && canonical_with(path, EscapedSlash::Allowed).is_ok() {
            let template: PathTemplate = action.template.parse().expect("it was read");
            assert!(template.takes_escaped_slash() && manifest.takes_escaped_slash(method, path));
        }
    }
}

fn from_the_command_line(text: &str, action: &Action) {
    let Action { name, method, template, stream, resource } = action;
    assert!(!stream && text.starts_with(&format!("{name}={method} ")) && text.contains(template.as_str()));
    let on = resource.as_ref().map(|resource| format!(" on {resource}")).unwrap_or_default();
    let again = command_line_action(&format!("{name}={method} {template}{on}")).expect("our own spelling");
    assert_eq!(&again, action);
}
