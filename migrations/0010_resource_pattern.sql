-- What a request touches inside a tool, and which of it a grant covers.

-- How an action's resource is composed of its template's parameters, `{owner}/{repo}`.
alter table tool_action add column resource text;

-- Patterns, as signed; none restrict nothing.
alter table "grant" add column resources text[] not null default '{}';
grant update (resources) on "grant" to tgp_gateway;
