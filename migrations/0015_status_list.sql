-- What offline verifiers and open streams need to know of tokens that may no longer be used.

-- The tokens among these that were revoked, of any tenant.
create function revoked_tokens(tokens uuid[]) returns setof uuid
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  as $$ select k.jti from public.token_revocation k where k.jti = any(tokens) $$;
revoke execute on function revoked_tokens(uuid[]) from public;
grant execute on function revoked_tokens(uuid[]) to tgp_gateway;

create index agent_stopped on agent (greatest(frozen, retired)) where status in ('frozen', 'retired');

-- The status list: agents that were stopped, and live tokens that were revoked, of every tenant. A token lives for
-- fifteen minutes and none is issued to an agent that was stopped, so what was stopped earlier need not be named; one
-- minute more for the clocks. `most` of each at most, and one more where there are more.
create function status_list(most int) returns table (kind text, id uuid)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  as $$
  (select 'agent', a.id from public.agent a
   where a.status in ('frozen', 'retired') and greatest(a.frozen, a.retired) > now() - interval '16 minutes'
   order by a.id limit most + 1)
  union all
  (select 'token', k.jti from public.token_revocation k
   where k.expires > extract(epoch from now()) - 60 order by k.jti limit most + 1)
$$;
revoke execute on function status_list(int) from public;
grant execute on function status_list(int) to tgp_gateway;
