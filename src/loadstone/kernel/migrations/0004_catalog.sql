create table games (
    id             bigint      primary key,
    slug           text        not null,
    name           text        not null,
    summary        text        not null default '',
    version_scheme text        not null default 'hybrid',
    archive_profile text       not null default 'default',
    next_mod_number integer    not null default 1,
    created_at     timestamptz not null default now(),
    version        integer     not null default 1
);
create unique index games_by_slug on games (slug);

create table builds (
    game_id     bigint      not null references games (id),
    name        text        not null,
    place       integer     not null,
    released_at timestamptz,
    primary key (game_id, name)
);
create unique index builds_by_place on builds (game_id, place);

create table loaders (
    game_id bigint not null references games (id),
    slug    text   not null,
    name    text   not null,
    primary key (game_id, slug)
);

-- path is the slugs from the root, "weapons/swords": a subtree is a prefix.
create table categories (
    id      bigint primary key,
    game_id bigint not null references games (id),
    path    text   not null,
    name    text   not null
);
create unique index categories_by_path on categories (game_id, path text_pattern_ops);

create table teams (
    id         bigint      primary key,
    name       text        not null,
    created_at timestamptz not null default now()
);
create table team_members (
    team_id   bigint      not null references teams (id) on delete cascade,
    member_id bigint      not null references members (id) on delete cascade,
    role      text        not null check (role in ('owner', 'maintainer')),
    since     timestamptz not null default now(),
    primary key (team_id, member_id)
);
create index team_members_by_member on team_members (member_id);

create table mods (
    id           bigint      primary key,
    game_id      bigint      not null references games (id),
    number       integer     not null,
    slug         text        not null,
    name         text        not null,
    summary      text        not null default '',
    description  text        not null default '',
    authors      text[]      not null default '{}',
    category_id  bigint      references categories (id),
    tags         text[]      not null default '{}',
    licence      text        not null default '',
    links        jsonb       not null default '{}',
    team_id      bigint      references teams (id),
    visibility   text        not null default 'draft'
        check (visibility in ('draft', 'unlisted', 'published', 'hidden', 'quarantined', 'removed')),
    visibility_reason text   not null default '',
    source       text        not null default 'local',
    source_key   text,
    created_at   timestamptz not null default now(),
    published_at timestamptz,
    updated_at   timestamptz not null default now(),
    version      integer     not null default 1
);
create unique index mods_by_number on mods (game_id, number);
create unique index mods_by_source on mods (game_id, source, source_key) where source_key is not null;
create index mods_by_team on mods (team_id, id desc);
create index mods_new on mods (game_id, published_at desc, id desc) where visibility = 'published';
create index mods_updated on mods (game_id, updated_at desc, id desc) where visibility = 'published';
create index mods_recent on mods (updated_at desc, id desc) where visibility = 'published';
create index mods_by_name on mods (game_id, lower(name), id) where visibility = 'published';

-- Every slug that a mod ever had; one of them is the current one (mods.slug). None passes to another mod.
create table mod_slugs (
    game_id bigint not null references games (id),
    slug    text   not null,
    mod_id  bigint not null references mods (id) deferrable,
    primary key (game_id, slug)
);

-- Counters live beside mods, so that a download does not rewrite a description.
create table mod_counters (
    mod_id    bigint primary key references mods (id),
    game_id   bigint not null,
    downloads bigint not null default 0
);
create index mod_counters_most on mod_counters (game_id, downloads desc, mod_id desc);

-- package is the solver's name of the chain inside its game; it never changes.
create table chains (
    id         bigint      primary key,
    mod_id     bigint      not null references mods (id),
    game_id    bigint      not null references games (id),
    package    text        not null,
    slug       text        not null,
    name       text        not null,
    category   text        not null default 'main' check (category in ('main', 'optional', 'miscellaneous', 'patch')),
    place      integer     not null default 0,
    is_default boolean     not null default false,
    created_at timestamptz not null default now()
);
create unique index chains_by_slug on chains (mod_id, slug);
create unique index chains_by_package on chains (game_id, package);
create unique index chains_default on chains (mod_id) where is_default;

create table artifacts (
    id          bigint      primary key,
    sha256      bytea       not null check (length(sha256) = 32),
    size        bigint      not null check (size >= 0),
    md5         bytea,
    sha1        bytea,
    sha512      bytea,
    murmur2     bigint,
    format      text,
    verdict     text        not null default 'waiting' check (verdict in ('waiting', 'clean', 'refused', 'quarantined')),
    verdict_reason text     not null default '',
    entry_count integer,
    unpacked_size bigint,
    created_at  timestamptz not null default now()
);
create unique index artifacts_by_sha256 on artifacts (sha256);
create index artifacts_by_md5 on artifacts (md5) where md5 is not null;
create index artifacts_by_sha1 on artifacts (sha1) where sha1 is not null;
create index artifacts_by_sha512 on artifacts (sha512) where sha512 is not null;
create index artifacts_by_murmur2 on artifacts (murmur2) where murmur2 is not null;

create table artifact_entries (
    artifact_id bigint  not null references artifacts (id) on delete cascade,
    place       integer not null,
    path        text    not null,
    size        bigint  not null,
    sha256      bytea   not null,
    kind        text    not null,
    primary key (artifact_id, place)
);

create table releases (
    id           bigint      primary key,
    chain_id     bigint      not null references chains (id),
    mod_id       bigint      not null references mods (id),
    game_id      bigint      not null references games (id),
    version      text        not null,
    version_key  bytea       not null,
    channel      text        not null default 'release' check (channel in ('release', 'beta', 'alpha')),
    line         text        not null default '',
    place        integer     not null,
    changelog    text        not null default '',
    state        text        not null default 'processing'
        check (state in ('processing', 'refused', 'published', 'yanked', 'quarantined', 'archived')),
    state_reason text        not null default '',
    created_by   bigint,
    created_at   timestamptz not null default now(),
    published_at timestamptz,
    edit         integer     not null default 1
);
-- A version string of a chain is never reused; only a refused upload frees it.
create unique index releases_by_version on releases (chain_id, version) where state <> 'refused';
create unique index releases_by_place on releases (chain_id, place);
create index releases_by_mod_newest on releases (mod_id, id desc);
create index releases_by_game on releases (game_id, id);

-- Append-only: every change of a release's state, channel, line or changelog, and who made it.
create table release_records (
    release_id bigint      not null references releases (id),
    id         bigint      generated always as identity,
    at         timestamptz not null default now(),
    actor_id   bigint,
    change     text        not null,
    before     jsonb       not null,
    after      jsonb       not null,
    reason     text        not null default '',
    primary key (release_id, id)
);

-- A release's file: our artifact, or one that lies elsewhere (url), known by size and digest where given.
create table release_artifacts (
    release_id  bigint  not null references releases (id),
    place       integer not null default 0,
    artifact_id bigint  references artifacts (id),
    file_name   text    not null,
    role        text    not null default 'main' check (role in ('main', 'extra')),
    loaders     text[]  not null default '{}',
    os          text[]  not null default '{}',
    side        text    not null default 'both' check (side in ('both', 'client', 'server')),
    size        bigint,
    sha256      bytea,
    url         text,
    primary key (release_id, place)
);
create index release_artifacts_by_artifact on release_artifacts (artifact_id) where artifact_id is not null;

-- Append-only facts. A claim is taken back by another row that names it in withdraws.
create table claims (
    id          bigint      primary key,
    game_id     bigint      not null references games (id),
    chain_id    bigint      not null references chains (id),
    release_id  bigint      references releases (id),
    kind        text        not null check (kind in ('requires', 'any_of', 'provides', 'conflicts', 'discouraged',
        'recommends', 'patches', 'replaces', 'order_after', 'order_before', 'works_with', 'broken_in', 'needs')),
    about       text        not null default '',
    body        jsonb       not null,
    source      text        not null check (source in ('author', 'archive', 'curator', 'telemetry', 'import')),
    actor_id    bigint,
    at          timestamptz not null default now(),
    withdraws   bigint      references claims (id)
);
create index claims_by_chain on claims (chain_id, id);
create index claims_by_release on claims (release_id, id) where release_id is not null;
create index claims_by_game on claims (game_id, id);
create unique index claims_withdrawn_once on claims (withdraws) where withdraws is not null;
-- Who names this package? about is the named package for the kinds that name one.
create index claims_about on claims (game_id, about, kind) where about <> '';
