-- A resumable upload. received counts the bytes that are safe on disk; what lies behind it was never acknowledged.
-- open -> complete -> used (a release took it) -> stored (its bytes are a blob); or expired, also when ended by hand.
create table uploads (
    id           bigint      primary key,
    member_id    bigint      not null references members (id),
    length       bigint      not null check (length > 0),
    received     bigint      not null default 0 check (received >= 0 and received <= length),
    metadata     jsonb       not null default '{}',
    state        text        not null default 'open' check (state in ('open', 'complete', 'used', 'stored', 'expired')),
    sha256       bytea       check (length(sha256) = 32),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index uploads_by_member on uploads (member_id, id desc);
create index uploads_unused on uploads (member_id) where state in ('open', 'complete');
create index uploads_expiring on uploads (expires_at) where state in ('open', 'complete', 'expired');

-- The objects that an upload's bytes lie in, in order; a local upload is one growing file and has none.
create table upload_pieces (
    upload_id bigint not null references uploads (id) on delete cascade,
    start     bigint not null,
    length    bigint not null check (length > 0),
    name      text   not null,
    primary key (upload_id, start)
);

-- One row per stage of a release's way; made when the release is, so that the creator sees what is to come.
create table release_stages (
    release_id  bigint      not null references releases (id),
    place       integer     not null,
    stage       text        not null,
    state       text        not null default 'waiting' check (state in ('waiting', 'running', 'done', 'refused', 'parked')),
    detail      text        not null default '',
    data        jsonb       not null default '{}',
    started_at  timestamptz,
    finished_at timestamptz,
    primary key (release_id, place)
);
create unique index release_stages_by_name on release_stages (release_id, stage);

-- Which upload becomes which file of a release; an upload becomes one file once.
create table release_uploads (
    release_id bigint  not null references releases (id),
    place      integer not null,
    upload_id  bigint  not null references uploads (id),
    primary key (release_id, place)
);
create unique index release_uploads_once on release_uploads (upload_id);

-- What the gate said of an artifact under a game's profile and a promised extension: nothing is read twice.
create table artifact_verdicts (
    artifact_id bigint      not null references artifacts (id) on delete cascade,
    profile     text        not null,
    extension   text        not null,
    verdict     text        not null check (verdict in ('accept', 'refuse')),
    reasons     jsonb       not null default '[]',
    warnings    jsonb       not null default '[]',
    at          timestamptz not null default now(),
    primary key (artifact_id, profile, extension)
);
