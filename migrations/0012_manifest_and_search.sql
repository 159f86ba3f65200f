-- Manifests that say more, and the catalogue's search over them.

alter table tool_action
  -- What inside the tool a request touches, from the path's parameters: `{owner}/{repo}`.
  add column if not exists resource text,
  add column title       text  not null default '',
  add column description text  not null default '',
  -- Parameters and bodies that it takes, as JSON Schema. The hot path never reads it.
  add column request     jsonb,
  -- The trigger's, from name, title and description.
  add column search      tsvector not null default '';

-- Words near the one that was asked for are found by their trigrams. The extension comes with PostgreSQL and is trusted: who may create
-- in the database may create it. It lives in a schema of its own, so that nothing of it is in reach by accident.
create schema trigram;
do $$
begin
  if exists (select from pg_extension where extname = 'pg_trgm') then
    alter extension pg_trgm set schema trigram;
  else
    create extension pg_trgm schema trigram;
  end if;
end $$;

-- `repos.createWebhook` as words: `repos create webhook`. Names and questions are split alike, at every ASCII character that is no
-- letter or digit, whatever the database's locale.
create function search_words(given text) returns text
  language sql immutable parallel safe set search_path = pg_catalog
  as $$
    select lower(regexp_replace(regexp_replace(given, '([a-z0-9])([A-Z])', '\1 \2', 'g'), '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'))
  $$;
grant execute on function search_words(text) to tgp_gateway;

create function tool_action_is_searched() returns trigger
  language plpgsql set search_path = pg_catalog, public
  as $$
declare
  tool_title text := (select coalesce(t.manifest ->> 'title', '') from tool t where t.slug = new.tool);
begin
  new.search := setweight(to_tsvector('english', search_words(new.name)), 'A')
    || setweight(to_tsvector('english', new.title), 'B')
    || setweight(to_tsvector('english', search_words(new.tool) || ' ' || tool_title), 'C')
    || setweight(to_tsvector('english', new.description), 'D');
  return new;
end $$;
create trigger tool_action_is_searched before insert or update on tool_action
  for each row execute function tool_action_is_searched();

-- The words of names and titles: what a misspelt one may have meant. One that no action has any more stays, and finds nothing.
create table tool_word (
  tenant uuid not null,
  -- In the order of its octets, so that an index finds what begins alike.
  word   text collate "C" not null,
  constraint tool_word_pkey primary key (tenant, word),
  constraint tool_word_tenant_fkey foreign key (tenant) references tenant (id)
);
-- No policy: only the functions below, which run as the owner, reach it.
alter table tool_word enable row level security;

-- One change of a manifest is one change of its tool, however many actions it has: by statement, not by row.
drop trigger tool_action_changes_tool on tool_action;
create function tool_actions_change() returns trigger
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp
  as $$
begin
  update public.tool set version = version where slug in (select distinct tool from changed);
  if tg_op <> 'DELETE' then
    insert into public.tool_word (tenant, word)
      select distinct tenant, word
      from changed, unnest(string_to_array(search_words(name || ' ' || title), ' ')) as w (word)
      where length(word) between 3 and 40
      order by tenant, word -- two changes that wait for each other would wait for ever
      on conflict do nothing;
  end if;
  return null;
end $$;
create trigger tool_actions_come after insert on tool_action
  referencing new table as changed for each statement execute function tool_actions_change();
create trigger tool_actions_turn after update on tool_action
  referencing new table as changed for each statement execute function tool_actions_change();
create trigger tool_actions_go after delete on tool_action
  referencing old table as changed for each statement execute function tool_actions_change();

-- Those that are there already.
update tool_action set title = title;

-- Without a list of what is still to be sorted in: whoever searches next would pay for it.
create index tool_action_search on tool_action using gin (search) with (fastupdate = off);
create index tool_word_near on tool_word using gin (word trigram.gin_trgm_ops);

-- The actions of the caller's tenant that answer a question, best first: those with all of its words; after them, where those
-- are few, those that have for each of its words one that begins so or is spelt nearly so.
--
-- As the owner, because row-level security keeps an index from answering `@@` (the operator is not leakproof, so every row of
-- the tenant would be read): the tenant is compared here, and whoever asks joins the answer with tables that compare it again.
--
-- What has a long name and title says less by each of its words.
--
-- `after_*` is the last row of the page before, or null. Of more than 4000 actions that fit, 4000 are ranked.
create function search_actions(
  question text, only_tool text, after_score int, after_tool text, after_name text, most int
) returns table (tool text, name text, score int)
  language plpgsql stable security definer
  set search_path = pg_catalog, public, trigram, pg_temp
  set pg_trgm.similarity_threshold = '0.3'
  as $$
#variable_conflict use_column
declare
  asked  constant uuid := current_tenant();
  words  constant text := btrim(search_words(question));
  plain  constant tsquery := plainto_tsquery('english', words);
  -- Of descriptions, tools, titles and names: however often a description says a word, a title weighs more.
  weights constant real[] := '{0.02, 0.1, 0.4, 1.0}';
  nearly tsquery;
  each   tsquery;
  term   text;
  few    boolean;
begin
  few := (select count(*) < 20 from (
    select from public.tool_action a
    where a.search @@ plain and a.tenant = asked and (only_tool is null or a.tool = only_tool) limit 20) as first);
  if few then
    foreach term in array (string_to_array(words, ' '))[:8] loop
      -- In quotes, which no word holds: nothing of it is read as the search's own language.
      each := to_tsquery('english', format(E'\'%s\':*', term));
      -- A word that a name or title begins with is not misspelt.
      if not exists (select from public.tool_word w
                     where w.tenant = asked and w.word >= term and w.word < term || chr(1114111)) then
        for term in
          select w.word from public.tool_word w
          where w.tenant = asked and w.word % term order by similarity(w.word, term) desc, w.word limit 8
        loop
          each := each || plainto_tsquery('english', term);
        end loop;
      end if;
      -- A word that says nothing (`of`, `the`) asks for nothing.
      nearly := case when numnode(each) = 0 then nearly when nearly is null then each else nearly && each end;
    end loop;
  end if;
  return query
    with fitting as materialized (
      select a.tool, a.name, 10 + length(a.name || a.title) as length, a.search from public.tool_action a
      where a.search @@ plain and a.tenant = asked and (only_tool is null or a.tool = only_tool)
      limit 4000
    ), near as materialized (
      select a.tool, a.name, 10 + length(a.name || a.title) as length, a.search from public.tool_action a
      where a.search @@ nearly and a.tenant = asked and (only_tool is null or a.tool = only_tool)
      limit 4000
    ), found as (
      select f.tool, f.name, 1000000 + (ts_rank(weights, f.search, plain) * 100000 / ln(f.length))::int as score from fitting f
      union all
      select n.tool, n.name, (ts_rank(weights, n.search, nearly) * 100000 / ln(n.length))::int from near n
      where not exists (select from fitting f where f.tool = n.tool and f.name = n.name)
    )
    select f.tool, f.name, f.score from found f
    where after_score is null or f.score < after_score
      or f.score = after_score and (f.tool, f.name) > (after_tool, after_name)
    order by f.score desc, f.tool, f.name limit most;
end $$;
grant execute on function search_actions(text, text, int, text, text, int) to tgp_gateway;
