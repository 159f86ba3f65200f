-- Partitions are made ahead and dropped by functions that run as the owner: the roles at run time can
-- neither make nor drop a table.
--
-- CREATE TABLE … PARTITION OF locks the parent against everything; LIKE and ATTACH do not. DROP does
-- lock it, for an instant, so it gives up soon when somebody is reading and is tried again next time.

create function make_partition(parent text, name text, lower text, upper text) returns boolean
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
begin
  if to_regclass(format('public.%I', name)) is not null then
    return false;
  end if;
  execute format('create table public.%I (like public.%I including defaults including constraints)', name, parent);
  -- Nobody is granted anything on a partition: it is reached through its parent, under the parent's
  -- policies. Row-level security without a policy is the second lock.
  execute format('alter table public.%I enable row level security', name);
  execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
                 parent, name, lower, upper);
  return true;
end $$;

-- Makes what the next hours and days need and drops the replay memory and the tokens that have run out,
-- as seen at `at`. Nobody at run time may call this one: whoever chooses the time could have live nonces
-- dropped. Returns how many partitions were made and how many dropped.
create function maintain_partitions_at(at timestamptz, out made int, out dropped int)
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
declare
  unix bigint := floor(extract(epoch from at));
  today date := (at at time zone 'utc')::date;
  n bigint;
  name text;
begin
  made := 0;
  dropped := 0;
  -- One at a time: gateways start together.
  perform pg_advisory_xact_lock(7284, 1);

  -- Ten minutes each, an hour ahead, and the one before for what was signed a moment ago.
  for n in select generate_series(unix / 600 - 1, unix / 600 + 6) loop
    made := made + make_partition('nonce', 'nonce_' || n, n::text, (n + 1)::text)::int;
  end loop;
  -- An hour each, three ahead.
  for n in select generate_series(unix / 3600, unix / 3600 + 3) loop
    made := made + make_partition('token', 'token_' || n, (n * 3600)::text, ((n + 1) * 3600)::text)::int;
  end loop;
  -- A day each, three ahead, and yesterday's for clocks that differ around midnight.
  for n in select generate_series(-1, 3) loop
    made := made + make_partition('audit', 'audit_' || to_char(today + n::int, 'YYYYMMDD'),
                                  (today + n::int)::text, (today + n::int + 1)::text)::int;
    made := made + make_partition('outcome', 'outcome_' || to_char(today + n::int, 'YYYYMMDD'),
                                  (today + n::int)::text, (today + n::int + 1)::text)::int;
  end loop;

  perform set_config('lock_timeout', '200ms', true);
  for name in
    select c.relname from pg_class c join pg_inherits i on i.inhrelid = c.oid
    -- When its last row ran out: the end of its ten minutes or its hour. A case, because the terms of an
    -- `and` are evaluated in any order, and other tables' names hold no such number.
    where case i.inhparent
            when 'public.nonce'::regclass then (substr(c.relname, 7)::bigint + 1) * 600
            when 'public.token'::regclass then (substr(c.relname, 7)::bigint + 1) * 3600
          -- Kept 15 minutes longer, and one for the window and the clocks.
          end < unix - 16 * 60
    order by c.relname
  loop
    begin
      execute format('drop table public.%I', name);
      dropped := dropped + 1;
    exception when lock_not_available then
      exit;
    end;
  end loop;
  delete from public.token_revocation where expires < unix - 16 * 60;
  delete from public.failure_summary where minute < at - interval '30 days';
end $$;

create function maintain_partitions(out made int, out dropped int)
  language sql security definer set search_path = pg_catalog, public, pg_temp
  as $$ select * from public.maintain_partitions_at(now()) $$;
grant execute on function maintain_partitions() to tgp_gateway;

-- The audit is dropped by a person with the owner's login and never by a gateway: whoever holds one
-- must not be able to remove what it did.
create function drop_audit_before(keep_from date) returns int
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
declare
  name text;
  dropped int := 0;
begin
  for name in
    select c.relname from pg_class c join pg_inherits i on i.inhrelid = c.oid
    where case i.inhparent
            when 'public.audit'::regclass then to_date(substr(c.relname, 7), 'YYYYMMDD')
            when 'public.outcome'::regclass then to_date(substr(c.relname, 9), 'YYYYMMDD')
          end < keep_from
    order by c.relname
  loop
    execute format('drop table public.%I', name);
    dropped := dropped + 1;
  end loop;
  return dropped;
end $$;

select maintain_partitions();
