-- Every granted download, once. era and xid order the rows for the rollup as in events; at is the moment
-- inside id, so that an id alone finds its partition and no two rows share an id.
create table grants (
    at          timestamptz not null,
    id          bigint      not null,
    era         integer     not null default current_era(),
    xid         xid8        not null default pg_current_xact_id(),
    game_id     bigint      not null,
    mod_id      bigint      not null,
    release_id  bigint      not null,
    place       integer     not null default 0,
    artifact_id bigint      not null,
    member_id   bigint,
    reason      text        not null default 'direct' check (reason in ('direct', 'dependency', 'update', 'collection')),
    primary key (at, id)
) partition by range (at);
create index grants_in_order on grants (era, xid, id);
create index grants_by_mod on grants (mod_id, at);

-- Takes what no daily partition was made for; it counts like any other.
create table grants_elsewhen partition of grants default;

-- Made as a table of its own and then attached: that locks neither the parent nor its other partitions
-- against inserts. Days are those of UTC, whatever the session's time zone.
create function make_grant_partition(day date) returns void
    language plpgsql as $$
declare
    partition text := 'grants_' || to_char(day, 'YYYYMMDD');
begin
    perform pg_advisory_xact_lock(hashtext('make_grant_partition'));
    if to_regclass(partition) is not null then
        return;
    end if;
    execute format('create table %I (like grants including defaults including constraints)', partition);
    execute format(
        'alter table grants attach partition %I for values from (%L) to (%L)',
        partition, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
exception
    -- rows of that day already lie in grants_elsewhen, and stay there
    when check_violation then null;
end $$;

create table release_counters (
    release_id bigint primary key references releases (id),
    downloads  bigint not null default 0
);
