-- Tells every gateway which of its cached entries is old. Only ids travel: anybody who can connect can
-- listen. A lost notice costs nothing but a second look, since admission compares versions itself.

create function notify_agent() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  perform pg_notify('tgp_change', 'agent:' || coalesce(new.id, old.id));
  return null;
end $$;
create trigger agent_notifies after update or delete on agent
  for each row execute function notify_agent();

create function notify_tool() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  perform pg_notify('tgp_change', 'tool:' || coalesce(new.slug, old.slug));
  return null;
end $$;
-- Actions and credential change the tool's version, so they come through here too.
create trigger tool_notifies after update or delete on tool
  for each row execute function notify_tool();

create function notify_grant() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  perform pg_notify('tgp_change', 'grant:' || coalesce(new.agent, old.agent) || ':' || coalesce(new.tool, old.tool));
  return null;
end $$;
create trigger grant_notifies after insert or update or delete on "grant"
  for each row execute function notify_grant();

create function notify_revocation() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  perform pg_notify('tgp_change', 'token:' || new.jti);
  return null;
end $$;
create trigger token_revocation_notifies after insert on token_revocation
  for each row execute function notify_revocation();
