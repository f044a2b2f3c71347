-- Gallery pictures; the bytes are blobs, made anew from what was uploaded.
create table mod_images (
    id         bigint      primary key,
    mod_id     bigint      not null references mods (id),
    place      integer     not null,
    sha256     bytea       not null check (length(sha256) = 32),
    size       bigint      not null,
    width      integer     not null,
    height     integer     not null,
    caption    text        not null default '',
    created_at timestamptz not null default now()
);
create index mod_images_by_mod on mod_images (mod_id, place, id);
