-- What one admission statement reads and writes. Everything that grows with traffic is partitioned by
-- time: random keys on ten million rows cost five times as much as in a partition that fits in memory,
-- and what has run out is dropped, never deleted. There are no foreign keys here: they would cost two
-- look-ups a row for values that the same statement has just read.

-- One row for each token that was recorded and answered; kept for introspection until it has expired.
create table token (
  jti         uuid   not null,
  tenant      uuid   not null,
  agent       uuid   not null,
  tool        text   not null,
  "grant"     uuid   not null,
  actions     text[] not null,
  -- Unix seconds, as signed.
  expires     bigint not null,
  constraint token_pkey primary key (jti, expires)
) partition by range (expires);
alter table token enable row level security;
create policy token_gateway on token for select to tgp_gateway using (tenant = (select current_tenant()));
create policy token_admission on token to tgp_admission using (true) with check (true);
grant select on token to tgp_gateway;
grant insert on token to tgp_admission;

-- Revocation inserts here rather than updating `token`: admission then looks a jti up in a table that is
-- nearly always empty.
create table token_revocation (
  jti     uuid        not null,
  tenant  uuid        not null,
  agent   uuid        not null,
  expires bigint      not null,
  revoked timestamptz not null default now(),
  constraint token_revocation_pkey primary key (jti)
);
alter table token_revocation enable row level security;
create policy token_revocation_gateway on token_revocation to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
create policy token_revocation_admission on token_revocation for select to tgp_admission using (true);
grant select, insert on token_revocation to tgp_gateway;
grant select (jti, tenant) on token_revocation to tgp_admission;

-- Replay memory. `nonce` is SHA-256 over namespace, keyid and the nonce's own digest. The bucket is ten
-- minutes of the *signed* creation time, so that a replay meets the partition of the first use.
create table nonce (
  nonce   bytea  not null,
  bucket  int    not null,
  agent   uuid   not null,
  -- Unix seconds, as signed: until then the nonce is live and counts against its agent's cap.
  expires bigint not null,
  constraint nonce_pkey primary key (nonce, bucket),
  constraint nonce_form check (octet_length(nonce) = 32)
) partition by range (bucket);
create index nonce_live on nonce (agent, expires);
alter table nonce enable row level security;
create policy nonce_admission on nonce to tgp_admission using (true) with check (true);
grant select, insert on nonce to tgp_admission;

-- One row for each verdict on an authenticated caller, allowed or not, and for each act of an operator.
create table audit (
  id            bigint      not null generated always as identity,
  day           date        not null default (now() at time zone 'utc')::date,
  at            timestamptz not null default now(),
  request       uuid        not null,
  kind          text        not null,
  tenant        uuid        not null,
  agent         uuid,
  agent_version bigint,
  operator      uuid,
  tool          text,
  tool_version  bigint,
  "grant"       uuid,
  grant_version bigint,
  action        text,
  method        text,
  target_sha256 bytea,
  jti           uuid,
  -- `allowed`, or the protocol's code for the refusal.
  code          text        not null,
  detail        jsonb,
  constraint audit_pkey primary key (id, day)
) partition by range (day);
alter table audit enable row level security;
create policy audit_gateway_reads on audit for select to tgp_gateway using (tenant = (select current_tenant()));
create policy audit_gateway_adds on audit for insert to tgp_gateway with check (tenant = (select current_tenant()));
create policy audit_admission on audit for insert to tgp_admission with check (true);
-- Written once: no role but the owner can change or remove a row.
grant select, insert on audit to tgp_gateway;
grant insert on audit to tgp_admission;
-- To see how far ids have been handed out.
grant select on sequence audit_id_seq to tgp_gateway;

-- How a forwarded request ended.
create table outcome (
  id      bigint      not null generated always as identity,
  day     date        not null default (now() at time zone 'utc')::date,
  at      timestamptz not null default now(),
  request uuid        not null,
  tenant  uuid        not null,
  -- The upstream's status; null when there was none.
  status  int,
  bytes   bigint      not null,
  sha256  bytea,
  -- What broke, as a protocol code; null when nothing did.
  error   text,
  constraint outcome_pkey primary key (id, day)
) partition by range (day);
alter table outcome enable row level security;
create policy outcome_gateway on outcome for select to tgp_gateway using (tenant = (select current_tenant()));
create policy outcome_admission on outcome for insert to tgp_admission with check (true);
grant select on outcome to tgp_gateway;
grant insert on outcome to tgp_admission;
grant select on sequence outcome_id_seq to tgp_gateway;

-- What failed before anybody was authenticated: counted, not listed, so that nobody can flood the disk.
-- Without a caller there is no tenant.
create table failure_summary (
  minute  timestamptz not null,
  gateway uuid        not null,
  code    text        not null,
  count   bigint      not null,
  constraint failure_summary_pkey primary key (minute, gateway, code)
);
alter table failure_summary enable row level security;
create policy failure_summary_admission on failure_summary to tgp_admission using (true) with check (true);
grant select, insert, update on failure_summary to tgp_admission;
