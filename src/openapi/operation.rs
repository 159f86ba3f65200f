//! One operation: what of it a manifest can say.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schema::Schemas;
use super::{clean, text_of};
use crate::manifest::{
    BodySchema, LARGEST_REQUEST, LONGEST_DESCRIPTION, LONGEST_TITLE, Parameter, Place, RequestSchema, header,
    is_template,
};
use crate::proxy::headers;

/// Members of a path item that are no operations.
pub(super) const IGNORED: &[&str] = &["$ref", "summary", "description", "servers", "parameters"];
const METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch"];
/// OpenAPI: header parameters of these names are ignored, other members say what they would.
const SAID_ELSEWHERE: &[&str] = &["accept", "authorization", "content-type"];
const MOST_PARAMETERS: usize = 200;

#[derive(Debug)]
pub(super) struct Operation {
    pub id: Option<String>,
    pub method: String,
    pub path: String,
    pub title: String,
    pub description: String,
    pub request: Option<RequestSchema>,
    /// Fields that its parameters name, and that have to be let through.
    pub headers: Vec<String>,
    pub notes: Vec<String>,
}

/// Why an operation is left out.
#[derive(Debug)]
pub(super) struct Left(pub String);

impl Operation {
    pub(super) fn read(
        method: &str,
        path: &str,
        item: &Map<String, Value>,
        body: &Value,
        upstream: Option<&str>,
        schemas: &mut Schemas<'_>,
    ) -> Result<Self, Left> {
        if !METHODS.contains(&method) {
            return Err(Left(format!("{method} is no method that is forwarded")));
        }
        let body = body.as_object().ok_or_else(|| Left("it is no object".to_owned()))?;
        is_template(path).map_err(Left)?;
        if path.len() > 1024 {
            return Err(Left("its path has more than 1024 characters".to_owned()));
        }
        if let Some(other) = elsewhere(body, item, upstream) {
            return Err(Left(format!("it is at another server, {other}: make that a tool of its own")));
        }
        let body = Value::Object(body.clone());
        let mut operation = Self {
            id: body["operationId"].as_str().map(str::to_owned),
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            title: text_of(&body, "summary", LONGEST_TITLE, false),
            description: text_of(&body, "description", LONGEST_DESCRIPTION, true),
            request: None,
            headers: Vec::new(),
            notes: Vec::new(),
        };
        schemas.begin();
        let parameters = operation.parameters(&body, item, schemas);
        let content = operation.body(&body["requestBody"], schemas);
        let mut request = RequestSchema { parameters, body: content };
        if schemas.overran() || request.size() > LARGEST_REQUEST {
            // What it takes is still told, if not of what form.
            let forget = |schema: &mut Value| *schema = Value::Object(Map::new());
            request.body.iter_mut().flat_map(|body| body.content.values_mut()).for_each(forget);
            if request.size() > LARGEST_REQUEST {
                request.parameters.iter_mut().for_each(|parameter| parameter.schema = Value::Null);
            }
            operation
                .notes
                .push(format!("its schemas are longer than {LARGEST_REQUEST} bytes: not all of them are kept"));
        }
        operation.notes.extend(schemas.missing());
        operation.request = (request.size() <= LARGEST_REQUEST).then_some(request);
        Ok(operation)
    }

    /// The path's and the operation's own, which go before.
    fn parameters(&mut self, body: &Value, item: &Map<String, Value>, schemas: &mut Schemas<'_>) -> Vec<Parameter> {
        let lists = [item.get("parameters"), body.get("parameters")];
        let mut all: BTreeMap<(String, String), Parameter> = BTreeMap::new();
        let mut order: Vec<(String, String)> = Vec::new();
        for written in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
            let Some(written) = schemas.resolve(written) else {
                self.notes.push("one of its parameters is not in the document: left out".to_owned());
                continue;
            };
            let (name, place) =
                (text_of(written, "name", LONGEST_TITLE, false), written["in"].as_str().unwrap_or_default());
            let Some(place) = self.place(&name, place) else { continue };
            let schema = match written.get("schema") {
                Some(schema) => schemas.expand(schema),
                None => written["content"]
                    .as_object()
                    .and_then(|content| content.values().next())
                    .and_then(|media| media.get("schema"))
                    .map_or(Value::Null, |schema| schemas.expand(schema)),
            };
            let key = (written["in"].as_str().unwrap_or_default().to_owned(), name.clone());
            if all.len() == MOST_PARAMETERS && !all.contains_key(&key) {
                self.notes.push(format!("it has more than {MOST_PARAMETERS} parameters: the others are not told"));
                break;
            }
            let parameter = Parameter {
                name,
                place,
                required: written["required"] == true,
                description: text_of(written, "description", 500, true),
                schema,
            };
            if all.insert(key.clone(), parameter).is_none() {
                order.push(key);
            }
        }
        order.iter().filter_map(|key| all.remove(key)).collect()
    }

    fn place(&mut self, name: &str, place: &str) -> Option<Place> {
        match place {
            "path" => Some(Place::Path),
            "query" => Some(Place::Query),
            "header" => {
                let lower = name.to_ascii_lowercase();
                if SAID_ELSEWHERE.contains(&lower.as_str()) {
                    return None;
                }
                match header(&lower) {
                    Ok(_) => {
                        if !headers::always_goes_up(&lower) {
                            self.headers.push(lower);
                        }
                        Some(Place::Header)
                    }
                    Err(why) => {
                        self.notes.push(format!("header parameter {name} {why}: not told"));
                        None
                    }
                }
            }
            "cookie" => {
                self.notes.push(format!("cookie parameter {name}: no cookie goes upstream"));
                None
            }
            other => {
                self.notes.push(format!("parameter {name} is in {other:.40?}, which is not known: not told"));
                None
            }
        }
    }

    fn body(&mut self, written: &Value, schemas: &mut Schemas<'_>) -> Option<BodySchema> {
        if written.is_null() {
            return None;
        }
        let Some(written) = schemas.resolve(written) else {
            self.notes.push("its body is not in the document: not told".to_owned());
            return None;
        };
        let content = written["content"].as_object()?;
        let media = |(kind, media): (&String, &Value)| {
            let schema = media.get("schema").map(|schema| schemas.expand(schema));
            (clean(kind, 200, false), schema.unwrap_or_else(|| Value::Object(Map::new())))
        };
        Some(BodySchema {
            required: written["required"] == true,
            description: text_of(written, "description", 500, true),
            content: content.iter().take(20).map(media).collect(),
        })
    }
}

/// Another server of its own than the tool's.
fn elsewhere(body: &Map<String, Value>, item: &Map<String, Value>, upstream: Option<&str>) -> Option<String> {
    let servers = body.get("servers").or_else(|| item.get("servers"))?.as_array()?;
    let urls: Vec<String> = servers.iter().map(server_url).collect();
    let slashless = |url: &str| url.trim_end_matches('/').to_owned();
    let same = upstream.is_some_and(|upstream| urls.iter().any(|url| slashless(url) == slashless(upstream)));
    if same { None } else { urls.into_iter().next() }
}

/// A server's URL with its variables' defaults.
pub(super) fn server_url(server: &Value) -> String {
    let mut url = server["url"].as_str().unwrap_or_default().to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten().take(20) {
        url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
        if url.len() > 2000 {
            break;
        }
    }
    clean(&url, 200, false)
}
