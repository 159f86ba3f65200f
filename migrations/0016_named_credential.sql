-- A tool may have several credentials; the grant says which one is used under it. The unnamed one has the empty name.
alter table tool_credential add column name text not null default '';
alter table tool_credential add constraint tool_credential_name_form check (name ~ '^([a-z0-9][a-z0-9-]{0,62})?$');
-- What is made of the secret, without where it goes: whether a token must be fetched with it is asked before the
-- vault is, and lists show it.
alter table tool_credential add column kind text not null default 'unknown';
alter table tool_credential alter column kind drop default;
alter table tool_credential drop constraint tool_credential_pkey;
alter table tool_credential add constraint tool_credential_pkey primary key (tool, name);
grant update (kind) on tool_credential to tgp_gateway;

alter table "grant" add column credential text not null default '';
grant update (credential) on "grant" to tgp_gateway;
