//! The tables of the catalog file. Ids are never reused (AUTOINCREMENT): they stand in the log and in tokens.

/// Files of tables. One file may be named by several tables (clones); the rows that name it are its reference count.
macro_rules! segments {
    () => {
        "
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables (id),
    path TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    kind INTEGER NOT NULL DEFAULT 0,
    UNIQUE (path, table_id)) STRICT;
CREATE INDEX IF NOT EXISTS segments_by_table ON segments (table_id);
CREATE TABLE IF NOT EXISTS removed_segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables (id),
    path TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    removed_on_ms INTEGER NOT NULL,
    UNIQUE (path, table_id)) STRICT;
CREATE INDEX IF NOT EXISTS removed_segments_by_table ON removed_segments (table_id);
"
    };
}

/// Run at each open.
pub(super) const TABLES: &str = concat!(
    "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, created_on_ms INTEGER NOT NULL, password BLOB, default_role TEXT) STRICT;
CREATE TABLE IF NOT EXISTS user_keys (
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    slot INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key BLOB NOT NULL,
    PRIMARY KEY (user, slot)) STRICT;
CREATE TABLE IF NOT EXISTS databases (
    name TEXT PRIMARY KEY,
    created_on_ms INTEGER NOT NULL,
    owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN',
    row_timestamp_default INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS schemas (
    database TEXT NOT NULL REFERENCES databases (name),
    name TEXT NOT NULL,
    created_on_ms INTEGER NOT NULL,
    owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN',
    row_timestamp_default INTEGER,
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
    renames INTEGER NOT NULL DEFAULT 0,
    retention_days INTEGER NOT NULL DEFAULT 1,
    transform TEXT,
    dropped_on_ms INTEGER,
    UNIQUE (database, schema, name),
    FOREIGN KEY (database, schema) REFERENCES schemas (database, name)) STRICT;
"
        ,segments!(),"
CREATE TABLE IF NOT EXISTS table_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables (id),
    until_ms INTEGER NOT NULL,
    columns TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS table_versions_by_table ON table_versions (table_id);
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
    owner TEXT,
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
"
);

/// Roles and what they may do. Source of the built-in ones: Snowflake documentation, "Overview of Access Control",
/// "System-defined roles".
macro_rules! grants {
    () => {
        "
CREATE TABLE IF NOT EXISTS roles (
    name TEXT PRIMARY KEY,
    owner TEXT,
    comment TEXT,
    created_on_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS role_grants (
    role TEXT NOT NULL,
    grantee_kind TEXT NOT NULL,
    grantee TEXT NOT NULL,
    granted_by TEXT,
    created_on_ms INTEGER NOT NULL,
    PRIMARY KEY (grantee_kind, grantee, role)) STRICT;
CREATE TABLE IF NOT EXISTS grants (
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    role TEXT NOT NULL,
    privilege TEXT NOT NULL,
    grant_option INTEGER NOT NULL,
    granted_by TEXT,
    created_on_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, object, role, privilege)) STRICT;
INSERT OR IGNORE INTO roles (name, created_on_ms) VALUES
    ('ACCOUNTADMIN', 0), ('SECURITYADMIN', 0), ('USERADMIN', 0), ('SYSADMIN', 0), ('PUBLIC', 0);
INSERT OR IGNORE INTO role_grants (role, grantee_kind, grantee, created_on_ms) VALUES
    ('SECURITYADMIN', 'ROLE', 'ACCOUNTADMIN', 0), ('SYSADMIN', 'ROLE', 'ACCOUNTADMIN', 0),
    ('USERADMIN', 'ROLE', 'SECURITYADMIN', 0);
INSERT OR IGNORE INTO grants (kind, object, role, privilege, grant_option, created_on_ms) VALUES
    ('ACCOUNT', '', 'SECURITYADMIN', 'MANAGE GRANTS', 1, 0),
    ('ACCOUNT', '', 'SECURITYADMIN', 'CREATE NETWORK POLICY', 1, 0),
    ('ACCOUNT', '', 'USERADMIN', 'CREATE USER', 1, 0),
    ('ACCOUNT', '', 'USERADMIN', 'CREATE ROLE', 1, 0),
    ('ACCOUNT', '', 'SYSADMIN', 'CREATE DATABASE', 1, 0),
    ('ACCOUNT', '', 'SYSADMIN', 'CREATE WAREHOUSE', 1, 0),
    ('ACCOUNT', '', 'ACCOUNTADMIN', 'CREATE EXTERNAL VOLUME', 1, 0),
    ('ACCOUNT', '', 'ACCOUNTADMIN', 'CREATE INTEGRATION', 1, 0);
"
    };
}

/// Iceberg tables. Run at each open, behind [`TABLES`]; a file of an earlier version lacks nothing else.
pub(super) const ICEBERG: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    table_id INTEGER PRIMARY KEY REFERENCES tables (id),
    volume TEXT NOT NULL,
    base_location TEXT NOT NULL,
    version INTEGER NOT NULL,
    folder TEXT NOT NULL UNIQUE,
    location TEXT NOT NULL,
    metadata TEXT NOT NULL,
    schema TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS iceberg_files (
    path TEXT PRIMARY KEY,
    table_id INTEGER NOT NULL,
    until INTEGER) STRICT;
CREATE INDEX IF NOT EXISTS iceberg_files_by_table ON iceberg_files (table_id, until);
CREATE TABLE IF NOT EXISTS iceberg_folders (folder TEXT PRIMARY KEY) STRICT;
";

/// Run at each open, behind [`TABLES`].
pub(super) const GRANTS: &str = grants!();

/// What a catalog file of an earlier version lacks, by version; each step is run once.
pub(super) const UPGRADES: [&str; 10] = [
    "ALTER TABLE segments ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE pipes ADD COLUMN copy TEXT; ALTER TABLE pipes ADD COLUMN comment TEXT;",
    "ALTER TABLE users ADD COLUMN password BLOB;",
    "ALTER TABLE tables ADD COLUMN row_timestamp_ms INTEGER;",
    "ALTER TABLE tables ADD COLUMN kind TEXT NOT NULL DEFAULT 'standard'; ALTER TABLE tables ADD COLUMN cluster_by TEXT;
     ALTER TABLE tables ADD COLUMN comment TEXT; ALTER TABLE tables ADD COLUMN owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN';",
    concat!(
        grants!(),
        "ALTER TABLE users ADD COLUMN default_role TEXT; UPDATE users SET default_role = 'ACCOUNTADMIN';
     ALTER TABLE databases ADD COLUMN owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN';
     ALTER TABLE schemas ADD COLUMN owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN';
     ALTER TABLE pipes ADD COLUMN owner TEXT; UPDATE pipes SET owner = 'ACCOUNTADMIN' WHERE copy IS NOT NULL;
     INSERT OR IGNORE INTO role_grants (role, grantee_kind, grantee, created_on_ms)
     SELECT 'ACCOUNTADMIN', 'USER', name, created_on_ms FROM users;"
    ),
    "ALTER TABLE tables ADD COLUMN renames INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE tables ADD COLUMN retention_days INTEGER NOT NULL DEFAULT 1;
     ALTER TABLE tables ADD COLUMN transform TEXT;
     ALTER TABLE databases ADD COLUMN row_timestamp_default INTEGER;
     ALTER TABLE schemas ADD COLUMN row_timestamp_default INTEGER;",
    // The Iceberg tables, which each open makes: an earlier program must not write such a file.
    "",
    // The same of sequences and functions.
    "",
    // Clones share files, so that a path is no longer unique; SQLite changes no constraint of a table that is there.
    concat!(
        "ALTER TABLE tables ADD COLUMN dropped_on_ms INTEGER;
     CREATE TABLE IF NOT EXISTS removed_segments (id INTEGER, table_id INTEGER, path TEXT, rows INTEGER, bytes INTEGER,
         removed_on_ms INTEGER);
     DROP INDEX IF EXISTS segments_by_table;
     ALTER TABLE segments RENAME TO unshared_segments;
     ALTER TABLE removed_segments RENAME TO unshared_removed_segments;",
        segments!(),
        "INSERT INTO segments (id, table_id, path, rows, bytes, kind)
         SELECT id, table_id, path, rows, bytes, kind FROM unshared_segments;
     INSERT INTO removed_segments (id, table_id, path, rows, bytes, removed_on_ms)
         SELECT id, table_id, path, rows, bytes, removed_on_ms FROM unshared_removed_segments;
     DROP TABLE unshared_segments; DROP TABLE unshared_removed_segments;"
    ),
];
