-- What a tool logs in to the gateway with. The key is random and never here: whoever reads this table has digests that
-- nobody finds a key for. Whoever can write it can make himself a verifier of a tool, and learn what that tool may.

create table verifier_key (
  id      uuid        not null,
  tenant  uuid        not null,
  tool    text        not null,
  digest  bytea       not null,
  created timestamptz not null default now(),
  -- From then on it is no key: set ahead by a rotation, to now by a revocation; null while it is good.
  ends    timestamptz,
  constraint verifier_key_pkey primary key (id),
  constraint verifier_key_digest_key unique (digest),
  constraint verifier_key_tool_fkey foreign key (tenant, tool) references tool (tenant, slug),
  constraint verifier_key_digest_form check (octet_length(digest) = 32)
);
create index verifier_key_tool on verifier_key (tool);
alter table verifier_key enable row level security;
create policy verifier_key_gateway on verifier_key to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on verifier_key to tgp_gateway;
grant update (ends) on verifier_key to tgp_gateway;

create function verifier_key_changes() returns trigger
  language plpgsql set search_path = pg_catalog
  as $$
begin
  -- What has ended stays so, and an end only comes nearer.
  new.ends := least(new.ends, old.ends);
  return new;
end $$;
create trigger verifier_key_changes before update on verifier_key
  for each row execute function verifier_key_changes();

-- A key names no tenant. This answers only to whoever knows the key, and asks the clock of the database, so that an end
-- is the same moment for every gateway.
create function verifier_of(digest bytea) returns table (id uuid, tenant uuid, tool text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  as $$
  select k.id, k.tenant, k.tool from public.verifier_key k
  where k.digest = $1 and (k.ends is null or k.ends > now())
$$;
revoke execute on function verifier_of(bytea) from public;
grant execute on function verifier_of(bytea) to tgp_gateway;

-- A resource is a token's audience, and stock verifiers look at nothing else: two tools must not have the same.
alter table tool add constraint tool_resource_key unique (resource);
