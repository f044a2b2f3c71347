-- The outbox (DESIGN, laws 1 and 2).
--
-- Ids are handed out before commit, so a reader that follows ids alone skips a row whose transaction
-- commits late. Readers follow (era, xid, id) and stop at the oldest transaction that still runs: behind
-- it nothing can appear any more. The era grows at each restore into another cluster, whose transaction
-- ids start again.
create table event_era (
    singleton boolean primary key default true check (singleton),
    era       integer not null
);
insert into event_era (era) values (1);

create function current_era() returns integer
    language sql stable parallel safe
    as 'select era from event_era';

create function bump_event_era() returns integer
    language sql
    as 'update event_era set era = era + 1 returning era';

create table events (
    era      integer     not null default current_era(),
    xid      xid8        not null default pg_current_xact_id(),
    id       bigint      generated always as identity,
    at       timestamptz not null default clock_timestamp(),
    kind     text        not null,
    subject  bigint,
    game_id  bigint,
    actor_id bigint,
    data     jsonb       not null,
    primary key (era, xid, id)
);
create index events_by_subject on events (subject, id desc);

create table event_cursors (
    consumer   text        primary key,
    era        integer     not null default 0,
    xid        xid8        not null default '0',
    id         bigint      not null default 0,
    moved_at   timestamptz not null default now()
);

-- One row per (caller, key): its presence is the guard, its answer the replay.
create table idempotency_keys (
    caller     text        not null,
    key        text        not null,
    request    bytea       not null,
    started_at timestamptz not null default now(),
    took_effect boolean    not null default false,
    status     integer,
    headers    jsonb,
    body       bytea,
    primary key (caller, key)
);
create index idempotency_keys_by_age on idempotency_keys (started_at);
