-- Access tokens that were fetched with a credential, sealed by the vault; and who is fetching the next one.
--
-- A refresh token that rotates is good once: two gateways that used the same one would lose both. So one of them
-- claims the fetch, for a bounded time in case it dies, and no other asks the token endpoint meanwhile. A claim is a
-- row and no advisory lock: a lock would hold a connection for as long as the token endpoint takes.
create table access_token (
  tenant             uuid        not null,
  tool               text        not null,
  credential         text        not null,
  -- Of the credential that it was fetched with: what an older one fetched is worthless, also to the vault.
  credential_version int         not null,
  -- Counts what was fetched, so that the one that a tool refused is told from the one that came after it.
  serial             bigint      not null default 0,
  -- Null until the first was fetched.
  record             bytea,
  -- Unix seconds; from then on the next one is fetched. Earlier than its end.
  fresh_until        bigint      not null default 0,
  claim              uuid,
  claim_until        timestamptz,
  constraint access_token_pkey primary key (tool, credential),
  constraint access_token_credential_fkey foreign key (tool, credential) references tool_credential (tool, name)
    on delete cascade,
  constraint access_token_tool_fkey foreign key (tenant, tool) references tool (tenant, slug) on delete cascade,
  constraint access_token_claim_whole check ((claim is null) = (claim_until is null))
);
alter table access_token enable row level security;
create policy access_token_gateway on access_token to tgp_gateway
  using (tenant = (select current_tenant())) with check (tenant = (select current_tenant()));
grant select, insert on access_token to tgp_gateway;
grant update (credential_version, serial, record, fresh_until, claim, claim_until) on access_token to tgp_gateway;
