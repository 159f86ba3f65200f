-- Who may ask, and how tenants are kept apart.
--
-- Three roles. The owner (whoever runs these migrations) makes and changes tables and does nothing at
-- run time. `tgp_gateway` reads and writes one tenant at a time: it names the tenant in the setting
-- `tgp.tenant` for one transaction, and without it sees nothing. `tgp_admission` may cross tenants,
-- because requests of several tenants share one statement, and touches only what admission needs.
--
-- Roles belong to the whole cluster and several databases of one cluster may be migrated at once, so
-- that creating them must be harmless when they are there already. No password is set here: the
-- administrator sets one, or lets the cluster's own rules (peer, certificates) say who they are.
do $$
begin
  create role tgp_gateway login noinherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
exception when duplicate_object or unique_violation then null;
end $$;

do $$
begin
  create role tgp_admission login noinherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
exception when duplicate_object or unique_violation then null;
end $$;

-- PostgreSQL 14 still lets everybody create in `public`; a function planted there could shadow ours.
revoke create on schema public from public;
grant usage on schema public to tgp_gateway, tgp_admission;

-- Functions are executable by everybody unless one says otherwise. We say otherwise, for this and for
-- every later migration of the same owner.
alter default privileges revoke execute on functions from public;

-- The tenant of this transaction, or null. After a transaction-local setting has ended, the session
-- remembers it as the empty string: that must not read as a tenant (nor as an error).
create function current_tenant() returns uuid
  language sql stable parallel safe
  set search_path = pg_catalog
  as $$ select nullif(current_setting('tgp.tenant', true), '')::uuid $$;
grant execute on function current_tenant() to tgp_gateway;

create table tenant (
  id      uuid        not null,
  handle  text        not null,
  created timestamptz not null default now(),
  constraint tenant_pkey primary key (id),
  constraint tenant_handle_key unique (handle),
  constraint tenant_handle_form check (handle ~ '^[a-z0-9][a-z0-9-]{0,62}$')
);
alter table tenant enable row level security;
create policy tenant_gateway on tenant to tgp_gateway
  using (id = (select current_tenant())) with check (id = (select current_tenant()));
grant select, insert on tenant to tgp_gateway;

insert into tenant (id, handle) values ('00000000-0000-4000-8000-000000000001', 'default');

-- A person who administers. What he may do stands in the vault's roster, never here: this table only
-- keeps what a console shows. Names and addresses are sealed; they are found by exact match through a
-- blind index.
create table operator (
  id            uuid        not null,
  tenant        uuid        not null,
  name_sealed   bytea,
  name_version  int         not null default 0,
  email_sealed  bytea,
  email_version int         not null default 0,
  email_index   bytea,
  created       timestamptz not null default now(),
  constraint operator_pkey primary key (id),
  constraint operator_tenant_fkey foreign key (tenant) references tenant (id),
  constraint operator_email_key unique (tenant, email_index)
);
alter table operator enable row level security;
create policy operator_gateway on operator to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on operator to tgp_gateway;
grant update (name_sealed, name_version, email_sealed, email_version, email_index) on operator to tgp_gateway;
