//! Path templates of a tool's actions: `/messages/{id}`.

use std::fmt;
use std::str::FromStr;

use super::canonical;

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path template: {0}")]
pub struct TemplateError(&'static str);

/// A path with parameters. A parameter takes one or more characters and never a slash; written
/// `{name%2F}` it also takes an escaped slash. A segment holds at most one parameter, with literal
/// text before and after it (`/v1/{name}:cancel`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter { before: String, name: String, after: String, escaped_slash: bool },
}

impl PathTemplate {
    /// The parameters' values, undecoded, when `path` (without query) is one of the template's.
    pub fn matches<'t, 'p>(&'t self, path: &'p str) -> Option<Vec<(&'t str, &'p str)>> {
        let mut parameters = Vec::new();
        let mut parts = path.strip_prefix('/')?.split('/');
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Literal(_) => return None,
                Segment::Parameter { before, name, after, escaped_slash } => {
                    let value = part.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    let has_slash = value.contains("%2F") || value.contains("%2f");
                    if value.is_empty() || (has_slash && !escaped_slash) {
                        return None;
                    }
                    parameters.push((name.as_str(), value));
                }
            }
        }
        parts.next().is_none().then_some(parameters)
    }

    /// Whether a parameter takes an escaped slash; see [`EscapedSlash`](super::EscapedSlash).
    pub fn takes_escaped_slash(&self) -> bool {
        self.segments.iter().any(|it| matches!(it, Segment::Parameter { escaped_slash: true, .. }))
    }

    /// For each segment, how much of it is literal: a whole literal before any parameter. Of two
    /// templates that match a path, the one that compares greater is the more specific.
    pub fn specificity(&self) -> Vec<usize> {
        let literal_characters = |segment: &Segment| match segment {
            Segment::Literal(_) => usize::MAX,
            Segment::Parameter { before, after, .. } => before.len() + after.len(),
        };
        self.segments.iter().map(literal_characters).collect()
    }

    /// The path with every parameter filled in by `value`, already escaped by the caller.
    pub fn fill<'v>(&self, mut value: impl FnMut(&str) -> Option<&'v str>) -> Option<String> {
        let mut path = String::with_capacity(self.text.len());
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Literal(literal) => path.push_str(literal),
                Segment::Parameter { before, name, after, .. } => {
                    path.push_str(before);
                    path.push_str(value(name)?);
                    path.push_str(after);
                }
            }
        }
        Some(path)
    }

    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter { name, .. } => Some(name.as_str()),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TemplateError("it starts with a slash"))?;
        let segments: Vec<Segment> = rest.split('/').map(parse_segment).collect::<Result<_, _>>()?;
        let template = Self { text: text.to_owned(), segments };
        let names: Vec<&str> = template.parameters().collect();
        if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
            return Err(TemplateError("two of its parameters have one name"));
        }
        // What it matches must be able to be canonical, or the action could never be called.
        let sample = template.fill(|_| Some("x")).expect("every parameter was given a value");
        if sample.contains('?') || canonical(&sample).is_err() {
            return Err(TemplateError("its literal text is not a canonical path"));
        }
        Ok(template)
    }
}

fn parse_segment(text: &str) -> Result<Segment, TemplateError> {
    let Some((before, rest)) = text.split_once('{') else {
        return if text.contains('}') {
            Err(TemplateError("a brace is not closed"))
        } else {
            Ok(Segment::Literal(text.to_owned()))
        };
    };
    let (name, after) = rest.split_once('}').ok_or(TemplateError("a brace is not closed"))?;
    let (name, escaped_slash) = match name.strip_suffix("%2F") {
        Some(name) => (name, true),
        None => (name, false),
    };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        return Err(TemplateError("a parameter's name has only letters, digits and '_-.'"));
    }
    if [before, after].iter().any(|it| it.contains(['{', '}'])) {
        return Err(TemplateError("a segment holds at most one parameter"));
    }
    Ok(Segment::Parameter { before: before.to_owned(), name: name.to_owned(), after: after.to_owned(), escaped_slash })
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> PathTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn a_parameter_takes_one_segment_or_a_part_of_it() {
        let message = template("/messages/{id}");
        assert_eq!(message.matches("/messages/1"), Some(vec![("id", "1")]));
        for other in [
            "/messages",
            "/messages/",
            "/messages/1/",
            "/messages/1/2",
            "/Messages/1",
            "messages/1",
            "/messages/a%2Fb",
            "/messages/a%2fb",
        ] {
            assert_eq!(message.matches(other), None, "{other}");
        }
        let cancel = template("/jobs/job-{id}:cancel");
        assert_eq!(cancel.matches("/jobs/job-7:cancel"), Some(vec![("id", "7")]));
        for other in ["/jobs/job-:cancel", "/jobs/7:cancel", "/jobs/job-7"] {
            assert_eq!(cancel.matches(other), None, "{other}");
        }
    }

    #[test]
    fn overlapping_literals_do_not_lend_each_other_characters() {
        assert_eq!(template("/aa{x}aa").matches("/aaa"), None);
        assert_eq!(template("/aa{x}aa").matches("/aaaaa"), Some(vec![("x", "a")]));
    }

    #[test]
    fn literals_match_themselves() {
        assert_eq!(template("/").matches("/"), Some(vec![]));
        assert_eq!(template("/a/").matches("/a/"), Some(vec![]));
        assert_eq!(template("/a/").matches("/a"), None);
        assert_eq!(template("/a").matches("/a/"), None);
    }

    #[test]
    fn a_marked_parameter_takes_an_escaped_slash() {
        let file = template("/files/{name%2F}/raw");
        assert!(file.takes_escaped_slash());
        assert_eq!(file.matches("/files/a%2Fb/raw"), Some(vec![("name", "a%2Fb")]));
        assert_eq!(file.matches("/files/a/b/raw"), None);
        assert!(!template("/files/{name}").takes_escaped_slash());
    }

    #[test]
    fn the_more_literal_template_is_the_more_specific() {
        let order = ["/{a}/{b}", "/{a}/x{b}", "/{a}/b", "/a/{b}", "/a/b"];
        for pair in order.windows(2) {
            assert!(template(pair[0]).specificity() < template(pair[1]).specificity(), "{pair:?}");
        }
    }

    #[test]
    fn what_could_never_be_called_is_no_template() {
        for bad in [
            "", "a", "/{", "/}", "/{}", "/{a", "/a}", "/{a}{b}", "/{{a}}", "/{a}/{a}", "/{a b}", "/a?b", "/a//b",
            "/../a", "/a;b", "/%41", "/a%2Fb", "/{a}/.",
        ] {
            assert!(bad.parse::<PathTemplate>().is_err(), "{bad}");
        }
    }
}
