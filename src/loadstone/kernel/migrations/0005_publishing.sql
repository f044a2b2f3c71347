create table uploads (
    id           bigint      primary key,
    member_id    bigint      not null references members (id),
    length       bigint      not null check (length >= 0),
    received     bigint      not null default 0 check (received >= 0 and received <= length),
    metadata     jsonb       not null default '{}',
    state        text        not null default 'open' check (state in ('open', 'complete', 'stored', 'used', 'expired')),
    sha256       bytea,
    artifact_id  bigint      references artifacts (id),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index uploads_by_member on uploads (member_id, id desc);
create index uploads_expiring on uploads (expires_at) where state in ('open', 'complete', 'stored');

-- One row per stage of a release's way; made when the release is, so that the creator sees what is to come.
create table release_stages (
    release_id  bigint      not null references releases (id),
    place       integer     not null,
    stage       text        not null,
    state       text        not null default 'waiting' check (state in ('waiting', 'running', 'done', 'refused')),
    detail      text        not null default '',
    data        jsonb       not null default '{}',
    started_at  timestamptz,
    finished_at timestamptz,
    primary key (release_id, place)
);
create unique index release_stages_by_name on release_stages (release_id, stage);
