-- What the vault made and cannot keep: wrapped keys, public key records, rosters. All of it is either
-- wrapped, sealed or public, and the vault believes none of it on the database's word.

create table dek (
  id        uuid        not null,
  tenant    uuid        not null,
  purpose   text        not null,
  wrapped   bytea       not null,
  statement jsonb       not null,
  created   timestamptz not null default now(),
  constraint dek_pkey primary key (id),
  constraint dek_tenant_fkey foreign key (tenant) references tenant (id),
  constraint dek_purpose_known check (purpose in ('record', 'metadata'))
);
create index dek_tenant_purpose on dek (tenant, purpose, created);
alter table dek enable row level security;
create policy dek_gateway on dek to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on dek to tgp_gateway;

-- The token's keys as the vault last reported them: label, and the public half or the check value. They
-- are the deployment's, not a tenant's, and hold nothing secret.
create table key_record (
  label       text        not null,
  fingerprint bytea       not null,
  attributes  jsonb       not null,
  created     timestamptz not null default now(),
  constraint key_record_pkey primary key (label, fingerprint)
);
alter table key_record enable row level security;
create policy key_record_gateway on key_record to tgp_gateway using (true) with check (true);
grant select, insert on key_record to tgp_gateway;

-- Rosters name operators by id and key only; the deployment's, not a tenant's. The vault's state file
-- rules which one holds: this is the history.
create table roster (
  version    int         not null,
  document   jsonb       not null,
  statements jsonb       not null,
  created    timestamptz not null default now(),
  constraint roster_pkey primary key (version)
);
alter table roster enable row level security;
create policy roster_gateway on roster to tgp_gateway using (true) with check (true);
grant select, insert on roster to tgp_gateway;
