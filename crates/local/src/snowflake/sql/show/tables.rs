//! SHOW TABLES, and SHOW TABLES HISTORY with what was dropped.
//!
//! The gate looks at what is there by its name; dropped tables have none that it could look up, so they are looked at here.
//!
//! Source: Snowflake documentation, "SHOW TABLES".

use super::{clustering, moment, some};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::model::{TableDef, TableKind};
use crate::snowflake::sql::access::{self, Access};
use crate::snowflake::sql::{QueryResult, Result, Session};

/// The place of `dropped_on`, behind `retention_time` (Snowflake documentation, "SHOW TABLES").
const DROPPED_ON: usize = 11;

/// Tables of a database and schema, or all; with `history` those too that were dropped and may come back.
pub(super) fn show(
    catalog: &Catalog,
    session: &Session,
    (database, schema): (Option<&str>, Option<&str>),
    history: bool,
    wanted: impl Fn(&TableDef) -> bool,
) -> Result<QueryResult> {
    let listed = catalog.list_tables(database, schema)?.into_iter();
    let mut tables: Vec<_> = listed.map(|table| (table, None)).collect();
    if history {
        let access = Access::of(catalog, session);
        for dropped in catalog.dropped_tables(database, schema)? {
            if access.sees(&access::of_table(&dropped.table))? {
                tables.push((dropped.table, moment(dropped.dropped_on_ms)));
            }
        }
    }
    tables.retain(|(table, _)| wanted(table));
    rows(catalog, tables, history)
}

/// Tables, with the moment of its drop where one was dropped.
fn rows(catalog: &Catalog, tables: Vec<(TableDef, Option<String>)>, history: bool) -> Result<QueryResult> {
    let mut rows = Vec::new();
    for (table, dropped_on) in tables {
        let (count, bytes) = catalog.table_size(table.id)?;
        let yes = |truth| some(if truth { "Y" } else { "N" });
        let on = |truth| some(if truth { "ON" } else { "OFF" });
        let mut row = vec![
            moment(table.created_on_ms),
            some(table.name),
            some(table.database),
            some(table.schema),
            some("TABLE"),
            some(table.comment.unwrap_or_default()),
            some(clustering(table.cluster_by.as_deref())),
            some(count.to_string()),
            some(bytes.to_string()),
            some(table.owner),
            some(table.retention_days.to_string()),
            on(table.cluster_by.is_some()),
            on(false),
            yes(false),
            yes(table.schema_evolution),
            some("ROLE"),
            yes(false),
            yes(false),
            yes(table.kind == TableKind::Iceberg),
            yes(false),
            yes(table.kind == TableKind::Interactive),
            on(table.error_logging),
            on(table.row_timestamp_ms.is_some()),
        ];
        if history {
            row.insert(DROPPED_ON, dropped_on);
        }
        rows.push(row);
    }
    let mut names = vec![
        "created_on",
        "name",
        "database_name",
        "schema_name",
        "kind",
        "comment",
        "cluster_by",
        "rows",
        "bytes",
        "owner",
        "retention_time",
        "automatic_clustering",
        "change_tracking",
        "is_external",
        "enable_schema_evolution",
        "owner_role_type",
        "is_event",
        "is_hybrid",
        "is_iceberg",
        "is_dynamic",
        "is_interactive",
        "error_logging",
        "row_timestamp",
    ];
    if history {
        names.insert(DROPPED_ON, "dropped_on");
    }
    Ok(QueryResult::texts(&names, rows))
}
