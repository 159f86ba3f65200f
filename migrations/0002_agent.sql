-- Agents, their keys and certificates, and the numbers that are never given twice.

-- The register of AANs. A number outlives its agent: rows come only from the trigger below and are never
-- changed or removed, not by the owner either, so that a number read over the phone years later still
-- means one agent. Nobody at run time has any privilege here.
create table aan (
  number text        not null,
  agent  uuid        not null,
  tenant uuid        not null,
  issued timestamptz not null default now(),
  constraint aan_pkey primary key (number),
  constraint aan_form check (number ~ '^[0-9]{16}$')
);
alter table aan enable row level security;

create function aan_is_forever() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  raise exception 'an agent authentication number is never changed or removed'
    using errcode = 'check_violation', constraint = 'aan_is_forever';
end $$;
create trigger aan_is_forever before update or delete on aan
  for each row execute function aan_is_forever();
create trigger aan_is_not_truncated before truncate on aan
  for each statement execute function aan_is_forever();

create table agent (
  id                  uuid        not null,
  tenant              uuid        not null,
  handle              text        not null,
  aan                 text        not null,
  status              text        not null default 'invited',
  -- Bumped by trigger on every change that a decision could depend on; admission compares it.
  version             bigint      not null default 1,
  -- The active identity key, in clear: it is a public key. Null until enrolment.
  keyid               text,
  jwk                 jsonb,
  -- What the inviter signed, as it came: {statement, signature}.
  invitation          jsonb       not null,
  -- The vault's sealed record; opaque here. Null until enrolment.
  record              bytea,
  record_version      int         not null default 0,
  name_sealed         bytea,
  name_version        int         not null default 0,
  name_index          bytea,
  description_sealed  bytea,
  description_version int         not null default 0,
  created             timestamptz not null default now(),
  enrolled            timestamptz,
  frozen              timestamptz,
  retired             timestamptz,
  constraint agent_pkey primary key (id),
  -- What other tables refer to, so that no row of one tenant can point at another's agent: foreign keys
  -- are checked past row-level security.
  constraint agent_tenant_id_key unique (tenant, id),
  constraint agent_tenant_fkey foreign key (tenant) references tenant (id),
  constraint agent_handle_key unique (tenant, handle),
  constraint agent_aan_key unique (aan),
  constraint agent_aan_fkey foreign key (aan) references aan (number),
  constraint agent_keyid_key unique (keyid),
  constraint agent_handle_form check (handle ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  constraint agent_status_known check (status in ('invited', 'active', 'frozen', 'retired')),
  constraint agent_enrolled_whole check ((keyid is null) = (jwk is null) and (keyid is null) = (record is null)),
  constraint agent_active_is_enrolled check (status <> 'active' or keyid is not null)
);
create index agent_name_index on agent (tenant, name_index) where name_index is not null;
alter table agent enable row level security;
create policy agent_gateway on agent to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
create policy agent_admission on agent for select to tgp_admission using (true);
grant select, insert on agent to tgp_gateway;
grant update (status, keyid, jwk, record, record_version, name_sealed, name_version, name_index,
              description_sealed, description_version) on agent to tgp_gateway;
grant select (id, tenant, status, version) on agent to tgp_admission;

create function agent_takes_its_number() returns trigger
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp
  as $$
begin
  new.version := 1;
  insert into public.aan (number, agent, tenant) values (new.aan, new.id, new.tenant);
  return new;
end $$;
create trigger agent_takes_its_number before insert on agent
  for each row execute function agent_takes_its_number();

-- The database, not its caller, says when a decision's ground has moved.
create function agent_changes() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  if old.status = 'retired' and new.status <> 'retired' then
    raise exception 'a retired agent stays retired'
      using errcode = 'check_violation', constraint = 'agent_retired_is_final';
  end if;
  if new.status <> old.status then
    new.frozen := case when new.status = 'frozen' then now() end;
    new.retired := case when new.status = 'retired' then now() end;
  end if;
  if new.keyid is distinct from old.keyid and old.keyid is null then
    new.enrolled := now();
  end if;
  new.version := old.version + case when
    (new.status, new.keyid, new.jwk, new.record, new.tenant, new.handle, new.aan)
      is distinct from (old.status, old.keyid, old.jwk, old.record, old.tenant, old.handle, old.aan)
    then 1 else 0 end;
  return new;
end $$;
create trigger agent_changes before update on agent
  for each row execute function agent_changes();

-- Every identity key an agent ever had: evidence for signatures made with it.
create table agent_key (
  tenant  uuid        not null,
  agent   uuid        not null,
  keyid   text        not null,
  jwk     jsonb       not null,
  created timestamptz not null default now(),
  retired timestamptz,
  constraint agent_key_pkey primary key (keyid),
  constraint agent_key_agent_fkey foreign key (tenant, agent) references agent (tenant, id)
);
create index agent_key_agent on agent_key (agent);
alter table agent_key enable row level security;
create policy agent_key_gateway on agent_key to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on agent_key to tgp_gateway;
grant update (retired) on agent_key to tgp_gateway;

-- Certificates we issued. Times are the certificate's own, in Unix seconds.
create table agent_certificate (
  tenant      uuid        not null,
  agent       uuid        not null,
  serial      bytea       not null,
  sha256      bytea       not null,
  not_before  bigint      not null,
  not_after   bigint      not null,
  created     timestamptz not null default now(),
  revoked     timestamptz,
  constraint agent_certificate_pkey primary key (agent, serial),
  constraint agent_certificate_agent_fkey foreign key (tenant, agent) references agent (tenant, id),
  constraint agent_certificate_sha256_form check (octet_length(sha256) = 32)
);
alter table agent_certificate enable row level security;
create policy agent_certificate_gateway on agent_certificate to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on agent_certificate to tgp_gateway;
grant update (revoked) on agent_certificate to tgp_gateway;

-- A certificate names an agent and no tenant; this is the one question that crosses tenants. It answers
-- with an id and nothing else.
create function tenant_of_agent(agent uuid) returns uuid
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  as $$ select a.tenant from public.agent a where a.id = $1 $$;
grant execute on function tenant_of_agent(uuid) to tgp_gateway;
