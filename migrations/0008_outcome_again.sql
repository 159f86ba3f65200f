-- What a gateway needs to write outcomes that are not lost and not doubled, and to end the streams of
-- agents that were stopped while it could not hear of it.

-- How many matches of the tool's credential were masked in the reply.
alter table outcome add column masked bigint not null default 0;

-- A batch whose answer was lost may have been committed: what it wrote is looked for, by id from the
-- last one known and by request, before it is written again.
create policy outcome_admission_looks on outcome for select to tgp_admission using (true);
grant select (id, request) on outcome to tgp_admission;
grant select on sequence outcome_id_seq to tgp_admission;

-- The agents among these that may not act, of any tenant; one that does not exist may not either.
create function stopped_agents(agents uuid[]) returns table (agent uuid, status text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  as $$
  select asked, a.status from unnest(agents) as asked left join public.agent a on a.id = asked
  where a.status is distinct from 'active'
$$;
revoke execute on function stopped_agents(uuid[]) from public;
grant execute on function stopped_agents(uuid[]) to tgp_gateway;
