//! The tables of the catalog file. Ids are never reused (AUTOINCREMENT): they stand in the log and in tokens.

/// Run at each open.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, created_on_ms INTEGER NOT NULL, password BLOB) STRICT;
CREATE TABLE IF NOT EXISTS user_keys (
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    slot INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key BLOB NOT NULL,
    PRIMARY KEY (user, slot)) STRICT;
CREATE TABLE IF NOT EXISTS databases (name TEXT PRIMARY KEY, created_on_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS schemas (
    database TEXT NOT NULL REFERENCES databases (name),
    name TEXT NOT NULL,
    created_on_ms INTEGER NOT NULL,
    PRIMARY KEY (database, name)) STRICT;
CREATE TABLE IF NOT EXISTS tables (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    database TEXT NOT NULL,
    schema TEXT NOT NULL,
    name TEXT NOT NULL,
    columns TEXT NOT NULL,
    schema_evolution INTEGER NOT NULL,
    error_logging INTEGER NOT NULL,
    row_timestamp_ms INTEGER,
    created_on_ms INTEGER NOT NULL,
    kind TEXT NOT NULL DEFAULT 'standard',
    cluster_by TEXT,
    comment TEXT,
    owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN',
    UNIQUE (database, schema, name),
    FOREIGN KEY (database, schema) REFERENCES schemas (database, name)) STRICT;
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables (id),
    path TEXT NOT NULL UNIQUE,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    kind INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX IF NOT EXISTS segments_by_table ON segments (table_id);
CREATE TABLE IF NOT EXISTS garbage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL,
    generation INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS pipes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables (id),
    database TEXT NOT NULL,
    schema TEXT NOT NULL,
    name TEXT NOT NULL,
    created_on_ms INTEGER NOT NULL,
    copy TEXT,
    comment TEXT,
    UNIQUE (database, schema, name)) STRICT;
CREATE TABLE IF NOT EXISTS channels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipe_id INTEGER NOT NULL REFERENCES pipes (id),
    table_id INTEGER NOT NULL REFERENCES tables (id),
    name TEXT NOT NULL,
    lookup TEXT NOT NULL,
    status_code TEXT NOT NULL DEFAULT 'SUCCESS',
    created_on_ms INTEGER NOT NULL,
    client_sequencer INTEGER NOT NULL DEFAULT 0,
    committed_row_sequencer INTEGER NOT NULL DEFAULT 0,
    last_request_id TEXT,
    offset_token TEXT,
    rows_parsed INTEGER NOT NULL DEFAULT 0,
    rows_inserted INTEGER NOT NULL DEFAULT 0,
    rows_error_count INTEGER NOT NULL DEFAULT 0,
    last_error_message TEXT,
    last_error_offset_upper_bound TEXT,
    last_error_timestamp_ms INTEGER,
    UNIQUE (pipe_id, lookup)) STRICT;
CREATE INDEX IF NOT EXISTS channels_by_table ON channels (table_id);
CREATE INDEX IF NOT EXISTS pipes_by_table ON pipes (table_id);
";

/// What a catalog file of an earlier version lacks, by version; each step is run once.
pub(super) const UPGRADES: [&str; 5] = [
    "ALTER TABLE segments ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE pipes ADD COLUMN copy TEXT; ALTER TABLE pipes ADD COLUMN comment TEXT;",
    "ALTER TABLE users ADD COLUMN password BLOB;",
    "ALTER TABLE tables ADD COLUMN row_timestamp_ms INTEGER;",
    "ALTER TABLE tables ADD COLUMN kind TEXT NOT NULL DEFAULT 'standard'; ALTER TABLE tables ADD COLUMN cluster_by TEXT;
     ALTER TABLE tables ADD COLUMN comment TEXT; ALTER TABLE tables ADD COLUMN owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN';",
];
