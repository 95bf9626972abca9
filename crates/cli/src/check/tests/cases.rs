//! Set-ups of Snowflake that are broken, each in one place.

use frazil_runtime::config::{ConnectorConfig, OnRowError, Target};
use frazil_runtime::exit::Exit;

/// A key pair's public half that nobody here has the private one of.
pub(super) const FOREIGN_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAx0T4B6hGzmdiqx5oUNeJMB5kXgpfhrMUnz5yiAFpUl8lGImoG7+skIoft8qi0EIs/znydIeRoCBQBqUzYSsg0hto0Hz2BT694d3WrAiO/OJgTFfg2OVIbkn9hEGDJQ8xpOD9C4jKyojtqF7vmPd5Jgwc9DJBWrhv4ONNQbSytw1j3RFC4Jd+W3t4Malnj3rR0v/3qjpzqtRys+wa9xSuqIW9jxwUfhR08kMLa6EAWWgrHBQ3yhd/9XPDXyPXishtn2cKP+PxoO4iGsLrtBx4/wU9ClVswmhM642OGVW48eO/41WlaWEtCr/X669bt7PZaAo9IjHPaV7L54DBtlPytQIDAQAB";

/// A set-up, what is broken in it, and what is found; `{n}` stands for its number.
pub(super) struct Broken {
    pub(super) what: &'static str,
    pub(super) sql: &'static [&'static str],
    pub(super) change: fn(&mut ConnectorConfig),
    /// State and id of each finding that is not proved or unknowable, in order.
    pub(super) found: &'static [&'static str],
    /// The statements that repair it, or keys of the configuration.
    pub(super) repair: &'static [&'static str],
    pub(super) exit: Exit,
    /// What a person does where only words can be printed.
    pub(super) by_hand: &'static [&'static str],
}

const WHOLE: Broken = Broken {
    what: "",
    sql: &[],
    change: |_| {},
    found: &[],
    repair: &[],
    exit: Exit::Unauthorized,
    by_hand: &[],
};

/// Turns a connector to the pipe P.
pub(super) fn pipe(connector: &mut ConnectorConfig) {
    connector.destination.target = Target::Pipe("P".to_owned());
}

/// Gives a connector a second pipe, P.
fn two_pipes(connector: &mut ConnectorConfig) {
    connector.destination.more_pipes = vec!["P".to_owned()];
}

pub(super) const PIPE: &str = "CREATE PIPE D{n}.S.P AS COPY INTO D{n}.S.T FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                    MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE";
const NEW_PIPE: &str = "CREATE PIPE IF NOT EXISTS \"D{n}\".\"S\".\"P\" AS COPY INTO \"D{n}\".\"S\".\"T\" FROM \
                        TABLE(DATA_SOURCE(TYPE => 'STREAMING')) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE";
const NEW_TABLE: &str = "CREATE TABLE IF NOT EXISTS \"D{n}\".\"S\".\"T\" (\"KINESISMETADATA\" OBJECT) \
                         ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE";
const INSERT: &str = "GRANT INSERT ON TABLE \"D{n}\".\"S\".\"T\" TO ROLE \"R{n}\"";
const EVOLVE: &str = "GRANT EVOLVE SCHEMA ON TABLE \"D{n}\".\"S\".\"T\" TO ROLE \"R{n}\"";
const USE_DATABASE: &str = "GRANT USAGE ON DATABASE \"D{n}\" TO ROLE \"R{n}\"";
const USE_SCHEMA: &str = "GRANT USAGE ON SCHEMA \"D{n}\".\"S\" TO ROLE \"R{n}\"";
const OPERATE: &str = "GRANT OPERATE ON PIPE \"D{n}\".\"S\".\"P\" TO ROLE \"R{n}\"";

/// Rights that are missing, or not the role's own.
pub(super) fn of_rights() -> Vec<Broken> {
    vec![
        Broken {
            what: "no USAGE on the database",
            sql: &["REVOKE USAGE ON DATABASE D{n} FROM ROLE R{n}"],
            found: &["refused USAGE ON DATABASE"],
            repair: &[USE_DATABASE],
            ..WHOLE
        },
        Broken {
            what: "no USAGE on the schema",
            sql: &["REVOKE USAGE ON SCHEMA D{n}.S FROM ROLE R{n}"],
            found: &["refused USAGE ON SCHEMA"],
            repair: &[USE_SCHEMA],
            ..WHOLE
        },
        Broken {
            what: "no INSERT on the table",
            sql: &["REVOKE INSERT ON TABLE D{n}.S.T FROM ROLE R{n}"],
            found: &["refused INSERT ON TABLE"],
            repair: &[INSERT],
            ..WHOLE
        },
        Broken {
            what: "no EVOLVE SCHEMA on the table",
            sql: &["REVOKE EVOLVE SCHEMA ON TABLE D{n}.S.T FROM ROLE R{n}"],
            found: &["refused EVOLVE SCHEMA ON TABLE"],
            repair: &[EVOLVE],
            ..WHOLE
        },
        Broken {
            what: "no right on the table at all",
            sql: &["REVOKE INSERT, EVOLVE SCHEMA ON TABLE D{n}.S.T FROM ROLE R{n}"],
            found: &["refused snowflake.table"],
            repair: &[NEW_TABLE, INSERT, EVOLVE],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "no OPERATE on the pipe, which is seen",
            sql: &[PIPE, "GRANT MONITOR ON PIPE D{n}.S.P TO ROLE R{n}"],
            change: pipe,
            found: &["refused OPERATE ON PIPE"],
            repair: &[OPERATE],
            ..WHOLE
        },
        Broken {
            what: "no right on the pipe at all",
            sql: &[PIPE],
            change: pipe,
            found: &["refused snowflake.pipe"],
            repair: &[NEW_PIPE, OPERATE],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "no right on a second pipe of the table",
            sql: &[PIPE],
            change: two_pipes,
            found: &["refused snowflake.pipe"],
            repair: &[NEW_PIPE, OPERATE],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "no OPERATE on a second pipe, which is seen",
            sql: &[PIPE, "GRANT MONITOR ON PIPE D{n}.S.P TO ROLE R{n}"],
            change: two_pipes,
            found: &["refused OPERATE ON PIPE"],
            repair: &[OPERATE],
            ..WHOLE
        },
        Broken {
            what: "a second pipe of another table",
            sql: &[
                "CREATE TABLE D{n}.S.T2 (KINESISMETADATA OBJECT)",
                "CREATE PIPE D{n}.S.P AS COPY INTO D{n}.S.T2 FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                 MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
                "GRANT OPERATE ON PIPE D{n}.S.P TO ROLE R{n}",
            ],
            change: two_pipes,
            found: &["refused snowflake.pipe"],
            exit: Exit::Usage,
            by_hand: &[
                "DROP PIPE D{n}.S.P",
                PIPE,
                "GRANT OPERATE ON PIPE D{n}.S.P TO ROLE R{n}",
            ],
            ..WHOLE
        },
        Broken {
            what: "INSERT is only inherited",
            sql: &[
                "REVOKE INSERT ON TABLE D{n}.S.T FROM ROLE R{n}",
                "CREATE ROLE ABOVE{n}",
                "GRANT INSERT ON TABLE D{n}.S.T TO ROLE ABOVE{n}",
                "GRANT ROLE ABOVE{n} TO ROLE R{n}",
            ],
            found: &["refused INSERT ON TABLE"],
            repair: &[INSERT],
            ..WHOLE
        },
        Broken {
            what: "USAGE on the database is inherited from a role two steps away",
            sql: &[
                "REVOKE USAGE ON DATABASE D{n} FROM ROLE R{n}",
                "CREATE ROLE ABOVE{n}",
                "CREATE ROLE HIGH{n}",
                "GRANT USAGE ON DATABASE D{n} TO ROLE HIGH{n}",
                "GRANT ROLE HIGH{n} TO ROLE ABOVE{n}",
                "GRANT ROLE ABOVE{n} TO ROLE R{n}",
            ],
            found: &["refused USAGE ON DATABASE"],
            repair: &[USE_DATABASE],
            ..WHOLE
        },
        Broken {
            what: "no USAGE on the external volume",
            sql: &[
                "CREATE ICEBERG TABLE D{n}.S.ICE (KINESISMETADATA STRING) EXTERNAL_VOLUME = 'VOL' CATALOG = 'SNOWFLAKE' \
                 BASE_LOCATION = 'ice{n}' ICEBERG_VERSION = 3 ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE",
                "GRANT INSERT, EVOLVE SCHEMA ON TABLE D{n}.S.ICE TO ROLE R{n}",
            ],
            change: |connector| connector.destination.target = Target::Table("ICE".to_owned()),
            found: &["refused USAGE ON EXTERNAL VOLUME"],
            repair: &["GRANT USAGE ON EXTERNAL VOLUME \"VOL\" TO ROLE \"R{n}\""],
            ..WHOLE
        },
    ]
}

/// Names that are wrong, and users that are not let in.
pub(super) fn of_names() -> Vec<Broken> {
    vec![
        Broken {
            what: "the table's name in another case",
            change: |connector| connector.destination.target = Target::Table("t".to_owned()),
            found: &["refused snowflake.table"],
            repair: &["destination.table: T"],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the schema's name in another case",
            change: |connector| connector.destination.schema = "s".to_owned(),
            found: &["refused snowflake.schema"],
            repair: &["destination.schema: S"],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the database's name in another case",
            change: |connector| {
                connector.destination.database = connector.destination.database.to_lowercase()
            },
            found: &["refused snowflake.database"],
            repair: &["destination.database: D{n}"],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the pipe's name in another case",
            sql: &[PIPE, "GRANT OPERATE ON PIPE D{n}.S.P TO ROLE R{n}"],
            change: |connector| connector.destination.target = Target::Pipe("p".to_owned()),
            found: &["refused snowflake.pipe"],
            repair: &["destination.pipe: P"],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the pipe is missing",
            change: pipe,
            found: &["refused snowflake.pipe"],
            repair: &[NEW_PIPE, OPERATE],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the table is missing",
            sql: &["DROP TABLE D{n}.S.T"],
            found: &["refused snowflake.table"],
            repair: &[NEW_TABLE, INSERT, EVOLVE],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the database is missing",
            sql: &["DROP DATABASE D{n}"],
            found: &[
                "refused snowflake.database",
                "refused snowflake.schema",
                "refused snowflake.table",
            ],
            repair: &[
                "CREATE DATABASE IF NOT EXISTS \"D{n}\"",
                USE_DATABASE,
                "CREATE SCHEMA IF NOT EXISTS \"D{n}\".\"S\"",
                USE_SCHEMA,
                NEW_TABLE,
                INSERT,
                EVOLVE,
            ],
            exit: Exit::Missing,
            ..WHOLE
        },
        Broken {
            what: "the role was not granted to the user",
            sql: &["REVOKE ROLE R{n} FROM USER FRAZIL"],
            found: &["refused snowflake.role"],
            repair: &[
                "CREATE ROLE IF NOT EXISTS \"R{n}\"",
                "GRANT ROLE \"R{n}\" TO USER \"FRAZIL\"",
            ],
            ..WHOLE
        },
        Broken {
            what: "no role is named, and the user has no default one",
            sql: &["CREATE USER U{n}", "GRANT ROLE R{n} TO USER U{n}"],
            change: |connector| {
                connector.destination.user = connector.destination.database.replace('D', "U");
                connector.destination.role = None;
            },
            found: &["refused snowflake.role"],
            repair: &["destination.role: R{n}"],
            ..WHOLE
        },
        Broken {
            what: "another public key is the user's",
            sql: &[
                "CREATE USER U{n} RSA_PUBLIC_KEY = '{key}'",
                "GRANT ROLE R{n} TO USER U{n}",
            ],
            change: |connector| connector.destination.user = connector.destination.database.replace('D', "U"),
            found: &["refused snowflake.login"],
            repair: &[
                "CREATE USER IF NOT EXISTS \"U{n}\" TYPE = SERVICE",
                "GRANT ROLE \"R{n}\" TO USER \"U{n}\"",
                "ALTER USER \"U{n}\" SET RSA_PUBLIC_KEY = '{own key}'",
            ],
            ..WHOLE
        },
        Broken {
            what: "there is no such user",
            change: |connector| connector.destination.user = connector.destination.database.replace('D', "U"),
            found: &["refused snowflake.login"],
            repair: &[
                "CREATE USER IF NOT EXISTS \"U{n}\" TYPE = SERVICE",
                "GRANT ROLE \"R{n}\" TO USER \"U{n}\"",
                "ALTER USER \"U{n}\" SET RSA_PUBLIC_KEY = '{own key}'",
            ],
            ..WHOLE
        },
    ]
}

/// Tables and pipes that lose something.
pub(super) fn of_tables() -> Vec<Broken> {
    vec![
        Broken {
            what: "error logging is off",
            sql: &["ALTER TABLE D{n}.S.T SET ERROR_LOGGING = FALSE"],
            found: &["warning snowflake.error_logging"],
            repair: &["ALTER TABLE \"D{n}\".\"S\".\"T\" SET ERROR_LOGGING = TRUE"],
            exit: Exit::Done,
            ..WHOLE
        },
        Broken {
            what: "error logging is off, and row errors are passed over",
            sql: &["ALTER TABLE D{n}.S.T SET ERROR_LOGGING = FALSE"],
            change: |connector| connector.on_row_error = Some(OnRowError::Continue),
            found: &["warning snowflake.error_logging"],
            repair: &["ALTER TABLE \"D{n}\".\"S\".\"T\" SET ERROR_LOGGING = TRUE"],
            exit: Exit::Done,
            ..WHOLE
        },
        Broken {
            what: "no schema evolution, and no right to it",
            sql: &[
                "ALTER TABLE D{n}.S.T SET ENABLE_SCHEMA_EVOLUTION = FALSE",
                "REVOKE EVOLVE SCHEMA ON TABLE D{n}.S.T FROM ROLE R{n}",
            ],
            found: &["warning snowflake.evolution"],
            repair: &[
                "ALTER TABLE \"D{n}\".\"S\".\"T\" SET ENABLE_SCHEMA_EVOLUTION = TRUE",
                EVOLVE,
            ],
            exit: Exit::Done,
            ..WHOLE
        },
        Broken {
            what: "a NOT NULL column without a default",
            sql: &["ALTER TABLE D{n}.S.T ALTER COLUMN N SET NOT NULL"],
            found: &["warning snowflake.not_null"],
            repair: &["ALTER TABLE \"D{n}\".\"S\".\"T\" ALTER COLUMN \"N\" DROP NOT NULL"],
            exit: Exit::Done,
            ..WHOLE
        },
        Broken {
            what: "no column for the metadata, and none can be added",
            sql: &[
                "ALTER TABLE D{n}.S.T DROP COLUMN KINESISMETADATA",
                "ALTER TABLE D{n}.S.T SET ENABLE_SCHEMA_EVOLUTION = FALSE",
            ],
            found: &["warning snowflake.evolution", "warning snowflake.metadata"],
            repair: &[
                "ALTER TABLE \"D{n}\".\"S\".\"T\" SET ENABLE_SCHEMA_EVOLUTION = TRUE",
                "ALTER TABLE \"D{n}\".\"S\".\"T\" ADD COLUMN \"KINESISMETADATA\" OBJECT",
            ],
            exit: Exit::Done,
            ..WHOLE
        },
        Broken {
            what: "the metadata's column is a number",
            sql: &[
                "ALTER TABLE D{n}.S.T DROP COLUMN KINESISMETADATA",
                "ALTER TABLE D{n}.S.T ADD COLUMN KINESISMETADATA NUMBER",
            ],
            found: &["refused snowflake.metadata"],
            repair: &["metadata.key: kinesisMetadataOf"],
            exit: Exit::Usage,
            ..WHOLE
        },
        Broken {
            what: "Openflow's structured column, whose arrival is a number",
            sql: &[
                "CREATE TABLE D{n}.S.T2 (KINESISMETADATA OBJECT(stream STRING, shardId STRING, approximateArrival BIGINT, \
                 partitionKey STRING, sequenceNumber STRING, subSequenceNumber INTEGER, shardedSequenceNumber STRING)) \
                 ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE",
                "GRANT INSERT, EVOLVE SCHEMA ON TABLE D{n}.S.T2 TO ROLE R{n}",
            ],
            change: |connector| connector.destination.target = Target::Table("T2".to_owned()),
            found: &["refused snowflake.metadata"],
            repair: &["metadata.approximate_arrival: epoch_ms"],
            exit: Exit::Usage,
            ..WHOLE
        },
        Broken {
            what: "a default of the pipe's time",
            sql: &[
                "CREATE TABLE D{n}.S.T2 (KINESISMETADATA OBJECT, AT TIMESTAMP_NTZ DEFAULT CURRENT_TIMESTAMP(), \
                 ID NUMBER AUTOINCREMENT, Z NUMBER NOT NULL DEFAULT 0) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE",
                "GRANT INSERT, EVOLVE SCHEMA ON TABLE D{n}.S.T2 TO ROLE R{n}",
            ],
            change: |connector| connector.destination.target = Target::Table("T2".to_owned()),
            found: &["warning snowflake.defaults"],
            exit: Exit::Done,
            by_hand: &["ALTER TABLE D{n}.S.T2 DROP COLUMN AT"],
            ..WHOLE
        },
        Broken {
            what: "a pipe whose SELECT leaves the metadata out",
            sql: &[
                "CREATE PIPE D{n}.S.P AS COPY INTO D{n}.S.T (N) FROM (SELECT $1:n::NUMBER FROM TABLE(DATA_SOURCE(TYPE => \
                 'STREAMING')))",
                "GRANT OPERATE ON PIPE D{n}.S.P TO ROLE R{n}",
            ],
            change: pipe,
            found: &["warning snowflake.metadata"],
            exit: Exit::Done,
            by_hand: &[
                "CREATE OR REPLACE PIPE D{n}.S.P AS COPY INTO D{n}.S.T FROM (SELECT $1:kinesisMetadata::OBJECT, \
                 $1:n::NUMBER FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
                "GRANT OPERATE ON PIPE D{n}.S.P TO ROLE R{n}",
            ],
            ..WHOLE
        },
    ]
}
