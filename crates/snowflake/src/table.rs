//! What the destination says of the table behind a pipe, asked by SQL.
//!
//! Source: docs.snowflake.com, "SHOW TABLES": columns `created_on`, `name`, `enable_schema_evolution`, `error_logging`; any
//! right on the table is enough to see it. The default pipe of a table is called `<TABLE>-STREAMING` (docs.snowflake.com,
//! "Snowpipe Streaming: high-performance architecture"); what another pipe writes to is not told.

use crate::error::Error;
use crate::pipe::TableFacts;
use crate::sql::{Column, Rows, SqlClient};

/// The table of a default pipe.
pub(crate) fn table_of(pipe: &str) -> Option<&str> {
    pipe.strip_suffix("-STREAMING").filter(|table| !table.is_empty())
}

/// Asks for the facts of one table; none where the role does not see it.
pub(crate) async fn facts(
    sql: &SqlClient,
    database: &str,
    schema: &str,
    table: &str,
) -> Result<Option<TableFacts>, Error> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let statement = format!(
        "SHOW TABLES LIKE '{}' IN SCHEMA {}.{}",
        table.replace('\\', "\\\\").replace('\'', "''"),
        quoted(database),
        quoted(schema)
    );
    match sql.execute(&statement).await {
        Ok(rows) => Ok(read(&rows, table)),
        Err(error) if error.kind().may_heal() => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the table cannot be looked at");
            Ok(None)
        }
    }
}

fn read(rows: &Rows, table: &str) -> Option<TableFacts> {
    let index = |name: &str| {
        let is = |column: &Column| column.name.eq_ignore_ascii_case(name);
        rows.columns.iter().position(is)
    };
    let (name, created) = (index("name")?, index("created_on")?);
    // LIKE ignores case and takes `_` for any character.
    let row = rows
        .rows
        .iter()
        .find(|row| row.get(name).is_some_and(|cell| cell.as_deref() == Some(table)))?;
    let yes = |column: &str| match row.get(index(column)?)?.as_deref()? {
        "Y" | "ON" | "true" => Some(true),
        "N" | "OFF" | "false" | "" => Some(false),
        _ => None,
    };
    Some(TableFacts {
        created_on_ms: moment(row.get(created)?.as_deref()?)?,
        error_logging: yes("error_logging"),
        schema_evolution: yes("enable_schema_evolution"),
    })
}

/// Seconds since 1970 with a fraction, and perhaps a time zone behind a space, as milliseconds.
fn moment(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split(' ').next()?.split_once('.')?;
    let ms: String = fraction.chars().chain("000".chars()).take(3).collect();
    seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(ms.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[[&str; 4]]) -> Rows {
        let names = ["created_on", "name", "enable_schema_evolution", "error_logging"];
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            kind: "text".to_owned(),
            scale: None,
        };
        let row = |cells: &[&str; 4]| cells.iter().map(|cell| Some((*cell).to_owned())).collect();
        Rows {
            columns: names.iter().map(column).collect(),
            rows: cells.iter().map(row).collect(),
        }
    }

    #[test]
    fn the_row_of_just_this_table_is_read() {
        let all = rows(&[
            ["1700000000.000000000", "TXA", "N", "N"],
            ["1767355445.678000000 1440", "T_A", "Y", "ON"],
        ]);
        let expected = TableFacts {
            created_on_ms: 1_767_355_445_678,
            error_logging: Some(true),
            schema_evolution: Some(true),
        };
        assert_eq!(read(&all, "T_A"), Some(expected));
        assert_eq!(read(&all, "t_a"), None);
        let unreadable = rows(&[["yesterday", "T", "Y", "Y"]]);
        assert_eq!(read(&unreadable, "T"), None);
        let unknown = rows(&[["1.0", "T", "", "perhaps"]]);
        let facts = read(&unknown, "T").expect("a row");
        assert_eq!((facts.created_on_ms, facts.error_logging), (1000, None));
    }

    #[test]
    fn only_default_pipes_tell_their_table() {
        assert_eq!(table_of("EVENTS-STREAMING"), Some("EVENTS"));
        assert_eq!(table_of("-STREAMING"), None);
        assert_eq!(table_of("MY_PIPE"), None);
    }
}
