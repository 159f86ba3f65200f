//! What a request really is: method and path against the tool's actions. Of several templates that
//! match, the most specific decides.

use std::cmp::Reverse;
use std::str::FromStr as _;

use tgp_request::name::ActionName;
use tgp_request::target::PathTemplate;

use crate::store::tool::Action;

/// A tool's actions, parsed, most specific first.
#[derive(Debug)]
pub struct Manifest {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    method: String,
    template: PathTemplate,
    action: ActionName,
    stream: bool,
}

/// An action that cannot be used; its tool answers nothing until that is mended.
#[derive(Debug, thiserror::Error)]
#[error("action {name}: {problem}")]
pub struct ManifestError {
    pub name: String,
    pub problem: String,
}

impl Manifest {
    pub fn parse(actions: &[Action]) -> Result<Self, ManifestError> {
        let mut routes: Vec<Route> = actions.iter().map(Route::parse).collect::<Result<_, _>>()?;
        // Stable: templates of one rank stay in the order of their names.
        routes.sort_by_key(|route| Reverse(route.template.specificity()));
        Ok(Self { routes })
    }

    /// The one action that `method` on `path` (without query, relative to the tool) is.
    pub fn action(&self, method: &str, path: &str) -> Option<&ActionName> {
        self.find(method, path).map(|route| &route.action)
    }

    /// Whether that action's template lets an escaped slash stand in a parameter.
    pub fn takes_escaped_slash(&self, method: &str, path: &str) -> bool {
        self.find(method, path).is_some_and(|route| route.template.takes_escaped_slash())
    }

    /// Whether bodies of that action too long to be read whole are passed on as they come.
    pub fn streams(&self, method: &str, path: &str) -> bool {
        self.find(method, path).is_some_and(|route| route.stream)
    }

    fn find(&self, method: &str, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.method == method && route.template.matches(path).is_some())
    }
}

impl Route {
    fn parse(action: &Action) -> Result<Self, ManifestError> {
        let Action { name, method, template, stream, resource: _ } = action;
        let error = |problem: String| ManifestError { name: name.clone(), problem };
        if !is_method(method) {
            return Err(error(format!("{method:?} is not a method in upper case")));
        }
        Ok(Self {
            method: method.clone(),
            template: PathTemplate::from_str(template).map_err(|problem| error(problem.to_string()))?,
            action: name.parse().map_err(|problem: tgp_request::name::NameError| error(problem.to_string()))?,
            stream: *stream,
        })
    }
}

/// Upper-case letters; not those that are about connections rather than resources. WebDAV's have hyphens.
fn is_method(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        && !matches!(text, "CONNECT" | "TRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(name: &str, method: &str, template: &str) -> Action {
        Action { name: name.into(), method: method.into(), template: template.into(), stream: false, resource: None }
    }

    fn mail() -> Manifest {
        Manifest::parse(&[
            action("read", "GET", "/messages/{id}"),
            action("drafts", "GET", "/messages/drafts"),
            action("delete", "DELETE", "/messages/{id}"),
            action("send", "POST", "/messages"),
        ])
        .expect("a manifest")
    }

    fn name(manifest: &Manifest, method: &str, path: &str) -> Option<String> {
        manifest.action(method, path).map(ToString::to_string)
    }

    #[test]
    fn method_and_path_together_say_what_a_request_is() {
        let mail = mail();
        assert_eq!(name(&mail, "POST", "/messages").as_deref(), Some("send"));
        assert_eq!(name(&mail, "GET", "/messages/1").as_deref(), Some("read"));
        assert_eq!(name(&mail, "DELETE", "/messages/1").as_deref(), Some("delete"));
        assert_eq!(name(&mail, "PUT", "/messages/1"), None);
        assert_eq!(name(&mail, "GET", "/messages/1/raw"), None);
        assert_eq!(name(&mail, "GET", "/messages/"), None);
        assert_eq!(name(&mail, "get", "/messages/1"), None);
    }

    #[test]
    fn a_literal_wins_over_a_parameter_whatever_the_order() {
        assert_eq!(name(&mail(), "GET", "/messages/drafts").as_deref(), Some("drafts"));
    }

    #[test]
    fn an_action_that_cannot_be_called_is_refused() {
        for bad in
            [action("x", "get", "/"), action("x", "CONNECT", "/"), action("x", "GET", "a"), action("a b", "GET", "/")]
        {
            assert!(Manifest::parse(&[bad]).is_err());
        }
    }
}
