//! What a request really is: method and path against the tool's actions. Of several templates that
//! match, the most specific decides. And what it touches inside the tool, where the action says so: its resource,
//! composed of the path's parameters as they were signed.

use std::cmp::Reverse;
use std::str::FromStr as _;

use tgp_request::name::{ActionName, Resource};
use tgp_request::target::PathTemplate;

use crate::store::tool::Action;

/// A resource template's longest text, in bytes.
const MAX_TEMPLATE: usize = 512;

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
    resource: Option<ResourceTemplate>,
    stream: bool,
}

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<'a> {
    pub action: &'a ActionName,
    /// None where the action names none, or where what it touches could be read in two ways.
    pub resource: Option<Resource>,
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

    /// What `method` on `path` (without query, relative to the tool) is.
    pub fn matched(&self, method: &str, path: &str) -> Option<Matched<'_>> {
        let (route, parameters) = self.find(method, path)?;
        let resource = route.resource.as_ref().and_then(|template| template.fill(&parameters));
        Some(Matched { action: &route.action, resource })
    }

    /// The one action that it is.
    pub fn action(&self, method: &str, path: &str) -> Option<&ActionName> {
        self.find(method, path).map(|(route, _)| &route.action)
    }

    /// Whether that action's template lets an escaped slash stand in a parameter.
    pub fn takes_escaped_slash(&self, method: &str, path: &str) -> bool {
        self.find(method, path).is_some_and(|(route, _)| route.template.takes_escaped_slash())
    }

    /// Whether bodies of that action too long to be read whole are passed on as they come.
    pub fn streams(&self, method: &str, path: &str) -> bool {
        self.find(method, path).is_some_and(|(route, _)| route.stream)
    }

    fn find<'m, 'p>(&'m self, method: &str, path: &'p str) -> Option<(&'m Route, Vec<(&'m str, &'p str)>)> {
        let mut of_method = self.routes.iter().filter(|route| route.method == method);
        of_method.find_map(|route| Some((route, route.template.matches(path)?)))
    }
}

/// Whether what a request touches can be composed so of that path's parameters.
pub fn check_resource(text: &str, path: &PathTemplate) -> Result<(), String> {
    ResourceTemplate::parse(text, path).map(drop)
}

/// `{owner}/{repo}`: text with parameters of the action's path template in it.
#[derive(Debug)]
struct ResourceTemplate(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Parameter(String),
}

impl ResourceTemplate {
    fn parse(text: &str, path: &PathTemplate) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('{') {
            let (name, tail) = tail.split_once('}').ok_or("a brace of its resource is not closed")?;
            if !path.parameters().any(|parameter| parameter == name) {
                return Err(format!("its resource names {{{name}}}, which its path does not"));
            }
            pieces.extend([Piece::Text(before.to_owned()), Piece::Parameter(name.to_owned())]);
            rest = tail;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        let template = Self(pieces);
        // A value may not reach over a slash, so the text around it must not be one with it.
        let braces = template.0.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('}')));
        let sample: Vec<(&str, &str)> = path.parameters().map(|name| (name, "x")).collect();
        match template.fill(&sample) {
            Some(_) if text.len() <= MAX_TEMPLATE && !braces => Ok(template),
            _ => Err("its resource is not segments of visible characters with parameters in braces".to_owned()),
        }
    }

    fn fill(&self, parameters: &[(&str, &str)]) -> Option<Resource> {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Parameter(name) => parameters.iter().find(|(parameter, _)| parameter == name)?.1,
            });
        }
        text.parse().ok()
    }
}

impl Route {
    fn parse(action: &Action) -> Result<Self, ManifestError> {
        let Action { name, method, template, stream, resource } = action;
        let error = |problem: String| ManifestError { name: name.clone(), problem };
        if !is_method(method) {
            return Err(error(format!("{method:?} is not a method in upper case")));
        }
        let template = PathTemplate::from_str(template).map_err(|problem| error(problem.to_string()))?;
        let resource = resource.as_deref().map(|text| ResourceTemplate::parse(text, &template)).transpose();
        Ok(Self {
            method: method.clone(),
            resource: resource.map_err(error)?,
            template,
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

    fn touching(template: &str, resource: &str) -> Action {
        Action { resource: Some(resource.into()), ..action("x", "GET", template) }
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
    fn a_requests_resource_is_made_of_its_paths_parameters_as_they_were_signed() {
        for (template, resource, path, touched) in [
            ("/repos/{owner}/{repo}", "{owner}/{repo}", "/repos/octocat/hello", Some("octocat/hello")),
            ("/repos/{owner}/{repo}", "{repo}", "/repos/octocat/hello", Some("hello")),
            ("/r/{owner}/{repo}", "repo:{owner}/{repo}/", "/r/a/caf%C3%A9", Some("repo:a/caf%C3%A9/")),
            ("/files/{name%2F}", "{name}", "/files/a%2Fb", Some("a%2Fb")),
            ("/files/{name%2F}", "{name}", "/files/..%2Fb", None),
            ("/files/{name%2F}", "{name}", "/files/a%2F.", None),
            ("/r/{owner}", "..{owner}", "/r/a", Some("..a")),
            ("/inbox", "inbox", "/inbox", Some("inbox")),
        ] {
            let manifest = Manifest::parse(&[touching(template, resource)]).expect(template);
            let matched = manifest.matched("GET", path).expect(path);
            assert_eq!(matched.resource.as_ref().map(Resource::as_str), touched, "{resource} of {path}");
        }
        let plain = mail();
        let matched = plain.matched("GET", "/messages/1").expect("an action");
        assert_eq!((matched.action.as_str(), matched.resource), ("read", None));
        assert_eq!(plain.matched("GET", "/nothing"), None);
    }

    #[test]
    fn a_resource_that_its_path_cannot_give_is_refused() {
        let long = "a".repeat(MAX_TEMPLATE + 1);
        for resource in ["", "{b}", "{a", "a}", "{a}}", "{{a}}", "{}", "a b", "{a}/..", "\\{a}", "é", &long] {
            assert!(Manifest::parse(&[touching("/x/{a}", resource)]).is_err(), "{resource:?}");
        }
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
