-- Every granted download, once. era and xid order the rows for the rollup as in events.
create table grants (
    at          timestamptz not null,
    id          bigint      not null,
    era         integer     not null default current_era(),
    xid         xid8        not null default pg_current_xact_id(),
    game_id     bigint      not null,
    mod_id      bigint      not null,
    release_id  bigint      not null,
    artifact_id bigint      not null,
    member_id   bigint,
    reason      text        not null default 'direct' check (reason in ('direct', 'dependency', 'update', 'collection')),
    primary key (at, id)
) partition by range (at);
create index grants_in_order on grants (era, xid, id);
create index grants_by_mod on grants (mod_id, at);

create table grants_elsewhen partition of grants default;

create function make_grant_partition(day date) returns void
    language plpgsql as $$
begin
    execute format(
        'create table if not exists %I partition of grants for values from (%L) to (%L)',
        'grants_' || to_char(day, 'YYYYMMDD'), day, day + 1);
exception
    -- another process made it first, or rows of that day already lie in the default partition
    when duplicate_table or check_violation then null;
end $$;

create table release_counters (
    release_id bigint primary key references releases (id),
    downloads  bigint not null default 0
);
