-- Tools, what can be done with them, what opens them, and who was granted what.

create table tool (
  slug             text        not null,
  tenant           uuid        not null,
  -- Bumped by trigger when the tool, its actions or its credential change.
  version          bigint      not null default 1,
  resource         text        not null,
  upstream_sealed  bytea       not null,
  upstream_version int         not null,
  -- Whether the upstream may live at a private address.
  allow_private    boolean     not null default false,
  -- The public part of the manifest: title, public hosts.
  manifest         jsonb       not null default '{}',
  created          timestamptz not null default now(),
  constraint tool_pkey primary key (slug),
  constraint tool_tenant_slug_key unique (tenant, slug),
  constraint tool_tenant_fkey foreign key (tenant) references tenant (id),
  constraint tool_slug_form check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$')
);
alter table tool enable row level security;
create policy tool_gateway on tool to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
create policy tool_admission on tool for select to tgp_admission using (true);
grant select, insert on tool to tgp_gateway;
grant update (resource, upstream_sealed, upstream_version, allow_private, manifest) on tool to tgp_gateway;
grant select (slug, tenant, version) on tool to tgp_admission;

create function tool_begins() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  new.version := 1;
  return new;
end $$;
create trigger tool_begins before insert on tool
  for each row execute function tool_begins();

create function tool_changes() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  -- An update that comes from a trigger is `tool_part_changes` below: a part of the tool changed.
  new.version := old.version + case when pg_trigger_depth() > 1
    or (new.slug, new.tenant, new.resource, new.upstream_sealed, new.allow_private, new.manifest)
      is distinct from (old.slug, old.tenant, old.resource, old.upstream_sealed, old.allow_private, old.manifest)
    then 1 else 0 end;
  return new;
end $$;
create trigger tool_changes before update on tool
  for each row execute function tool_changes();

create table tool_action (
  tenant   uuid    not null,
  tool     text    not null,
  name     text    not null,
  method   text    not null,
  template text    not null,
  stream   boolean not null default false,
  constraint tool_action_pkey primary key (tool, name),
  constraint tool_action_route_key unique (tool, method, template),
  constraint tool_action_tool_fkey foreign key (tenant, tool) references tool (tenant, slug) on delete cascade,
  constraint tool_action_name_form check (name ~ '^[A-Za-z0-9_.:-]{1,128}$')
);
alter table tool_action enable row level security;
create policy tool_action_gateway on tool_action to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert, update, delete on tool_action to tgp_gateway;

-- What the upstream wants; the record is the vault's and opens only against a signed request.
create table tool_credential (
  tenant    uuid        not null,
  tool      text        not null,
  version   int         not null,
  record    bytea       not null,
  -- What the granter signed, as it came; it holds a hash of the secret, never the secret.
  statement jsonb       not null,
  created   timestamptz not null default now(),
  constraint tool_credential_pkey primary key (tool),
  constraint tool_credential_tool_fkey foreign key (tenant, tool) references tool (tenant, slug) on delete cascade
);
alter table tool_credential enable row level security;
create policy tool_credential_gateway on tool_credential to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on tool_credential to tgp_gateway;
grant update (version, record, statement) on tool_credential to tgp_gateway;

create function tool_credential_changes() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  if new.version <= old.version then
    raise exception 'a tool credential''s version only grows'
      using errcode = 'check_violation', constraint = 'tool_credential_version_grows';
  end if;
  new.created := now();
  return new;
end $$;
create trigger tool_credential_changes before update on tool_credential
  for each row execute function tool_credential_changes();

-- Runs as the owner, since nobody may set `tool.version`; it can only reach the tool whose part the
-- caller was allowed to touch.
create function tool_part_changes() returns trigger
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp
  as $$
begin
  update public.tool set version = version where slug = coalesce(new.tool, old.tool);
  return null;
end $$;
create trigger tool_action_changes_tool after insert or update or delete on tool_action
  for each row execute function tool_part_changes();
create trigger tool_credential_changes_tool after insert or update or delete on tool_credential
  for each row execute function tool_part_changes();

-- No permission exists that no person signed: `statement` is what the granter signed, `record` what the
-- vault made of it, and the other columns are the same facts in clear, for the decision and for lists.
create table "grant" (
  id                uuid        not null,
  tenant            uuid        not null,
  agent             uuid        not null,
  tool              text        not null,
  resource          text        not null,
  actions           text[]      not null,
  -- Unix seconds, as signed.
  not_before        bigint      not null,
  not_after         bigint      not null,
  status            text        not null default 'active',
  version           bigint      not null default 1,
  -- The signed version number of the statement that this row copies.
  statement_version int         not null,
  statement         jsonb       not null,
  record            bytea       not null,
  created           timestamptz not null default now(),
  revoked           timestamptz,
  constraint grant_pkey primary key (id),
  constraint grant_agent_fkey foreign key (tenant, agent) references agent (tenant, id),
  constraint grant_tool_fkey foreign key (tenant, tool) references tool (tenant, slug),
  constraint grant_status_known check (status in ('active', 'revoked')),
  constraint grant_actions_some check (cardinality(actions) > 0),
  constraint grant_validity_order check (not_before < not_after)
);
create index grant_agent_tool on "grant" (agent, tool);
create index grant_tool on "grant" (tool);
alter table "grant" enable row level security;
create policy grant_gateway on "grant" to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
create policy grant_admission on "grant" for select to tgp_admission using (true);
grant select, insert on "grant" to tgp_gateway;
grant update (resource, actions, not_before, not_after, status, statement_version, statement, record)
  on "grant" to tgp_gateway;
grant select (id, tenant, agent, tool, status, version) on "grant" to tgp_admission;

create function grant_begins() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  new.version := 1;
  return new;
end $$;
create trigger grant_begins before insert on "grant"
  for each row execute function grant_begins();

create function grant_changes() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  if old.status = 'revoked' then
    raise exception 'a revoked grant stays revoked'
      using errcode = 'check_violation', constraint = 'grant_revoked_is_final';
  end if;
  if new.statement_version < old.statement_version then
    raise exception 'a grant''s signed version only grows'
      using errcode = 'check_violation', constraint = 'grant_version_grows';
  end if;
  if new.status = 'revoked' then
    new.revoked := now();
  end if;
  new.version := old.version + 1;
  return new;
end $$;
create trigger grant_changes before update on "grant"
  for each row execute function grant_changes();

-- A called path names a tool and no tenant.
create function tenant_of_tool(tool text) returns uuid
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  as $$ select t.tenant from public.tool t where t.slug = $1 $$;
grant execute on function tenant_of_tool(text) to tgp_gateway;
