create table members (
    id            bigint      primary key,
    name          text        not null,
    name_key      text        not null,
    email         text        not null,
    email_key     text        not null,
    password      text        not null,
    roles         text[]      not null default '{}',
    state         text        not null default 'active' check (state in ('active', 'suspended', 'deleted')),
    created_at    timestamptz not null default now(),
    version       integer     not null default 1
);
create unique index members_by_name on members (name_key);
create unique index members_by_email on members (email_key);

create table sessions (
    id          bigint      primary key,
    member_id   bigint      not null references members (id) on delete cascade,
    digest      bytea       not null,
    agent       text        not null default '',
    created_at  timestamptz not null default now(),
    seen_at     timestamptz not null default now(),
    proved_at   timestamptz not null default now(),
    expires_at  timestamptz not null
);
create unique index sessions_by_digest on sessions (digest);
create index sessions_by_member on sessions (member_id);

create table tokens (
    id         bigint      primary key,
    member_id  bigint      not null references members (id) on delete cascade,
    name       text        not null,
    digest     bytea       not null,
    hint       text        not null,
    scopes     text[]      not null,
    created_at timestamptz not null default now(),
    used_at    timestamptz,
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create unique index tokens_by_digest on tokens (digest);
create index tokens_by_member on tokens (member_id, id desc);
