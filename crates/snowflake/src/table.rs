//! What the destination says of the table behind a pipe, asked by SQL.
//!
//! Source: docs.snowflake.com, "SHOW TABLES": columns `created_on`, `name`, `enable_schema_evolution`, `error_logging`; any
//! right on the table is enough to see it. The default pipe of a table is called `<TABLE>-STREAMING` (docs.snowflake.com,
//! "Snowpipe Streaming: high-performance architecture"); what another pipe writes to stands in its COPY statement ("SHOW PIPES":
//! column `definition`).

use crate::error::Error;
use crate::pipe::TableFacts;
use crate::probe::{Copy, quoted_path};
use crate::sql::{Column, Rows, SqlClient};

/// The table of a default pipe.
pub(crate) fn table_of(pipe: &str) -> Option<&str> {
    pipe.strip_suffix("-STREAMING").filter(|table| !table.is_empty())
}

/// Asks for the facts of the table that a pipe writes to; none where the role does not see the pipe or the table.
pub(crate) async fn facts(
    sql: &SqlClient,
    database: &str,
    schema: &str,
    pipe: &str,
) -> Result<Option<TableFacts>, Error> {
    let [database, schema, table] = match table_of(pipe) {
        Some(table) => [database, schema, table].map(str::to_owned),
        None => {
            let rows = shown(sql, "PIPES", database, schema, pipe).await?;
            match rows.and_then(|rows| target(&rows, database, schema, pipe)) {
                Some(path) => path,
                None => return Ok(None),
            }
        }
    };
    let rows = shown(sql, "TABLES", &database, &schema, &table).await?;
    Ok(rows.and_then(|rows| read(&rows, &database, &schema, &table)))
}

/// What a SHOW lists; none where it is refused.
async fn shown(
    sql: &SqlClient,
    kind: &str,
    database: &str,
    schema: &str,
    name: &str,
) -> Result<Option<Rows>, Error> {
    let statement = format!(
        "SHOW {kind} LIKE '{}' IN SCHEMA {}",
        name.replace('\\', "\\\\").replace('\'', "''"),
        quoted_path(&[database, schema])
    );
    match sql.execute(&statement).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.kind().may_heal() => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the table cannot be looked at");
            Ok(None)
        }
    }
}

fn column(rows: &Rows, name: &str) -> Option<usize> {
    let is = |column: &Column| column.name.eq_ignore_ascii_case(name);
    rows.columns.iter().position(is)
}

/// The row of just this name: LIKE ignores case and takes `_` for any character.
fn named<'a>(rows: &'a Rows, wanted: &str) -> Option<&'a Vec<Option<String>>> {
    let name = column(rows, "name")?;
    let is = |row: &&Vec<Option<String>>| row.get(name).is_some_and(|cell| cell.as_deref() == Some(wanted));
    rows.rows.iter().find(is)
}

/// Database, schema and name of the table that a pipe's statement names.
fn target(rows: &Rows, database: &str, schema: &str, pipe: &str) -> Option<[String; 3]> {
    let definition = named(rows, pipe)?.get(column(rows, "definition")?)?;
    Copy::read(definition.as_deref()?)?.table_in(database, schema)
}

fn read(rows: &Rows, database: &str, schema: &str, table: &str) -> Option<TableFacts> {
    let (created, row) = (column(rows, "created_on")?, named(rows, table)?);
    let yes = |name: &str| match row.get(column(rows, name)?)?.as_deref()? {
        "Y" | "ON" | "true" => Some(true),
        "N" | "OFF" | "false" | "" => Some(false),
        _ => None,
    };
    Some(TableFacts {
        name: quoted_path(&[database, schema, table]),
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
            name: "\"D\".\"S\".\"T_A\"".to_owned(),
            created_on_ms: 1_767_355_445_678,
            error_logging: Some(true),
            schema_evolution: Some(true),
        };
        assert_eq!(read(&all, "D", "S", "T_A"), Some(expected));
        assert_eq!(read(&all, "D", "S", "t_a"), None);
        let unreadable = rows(&[["yesterday", "T", "Y", "Y"]]);
        assert_eq!(read(&unreadable, "D", "S", "T"), None);
        let unknown = rows(&[["1.0", "T", "", "perhaps"]]);
        let facts = read(&unknown, "D", "S", "T").expect("a row");
        assert_eq!((facts.created_on_ms, facts.error_logging), (1000, None));
    }

    #[test]
    fn a_pipe_of_ones_own_tells_its_table_by_its_statement() {
        let pipes = |definition: &str| Rows {
            columns: ["name", "definition"]
                .map(|name| Column {
                    name: name.to_owned(),
                    kind: "text".to_owned(),
                    scale: None,
                })
                .into(),
            rows: [["PxA", "COPY INTO OTHER FROM X"], ["P_A", definition]]
                .map(|row| row.map(|cell| Some(cell.to_owned())).into())
                .into(),
        };
        let from = "FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE";
        for (table, expected) in [
            ("clicks", Some(["D", "S", "CLICKS"])),
            ("o.\"Clicks\"", Some(["D", "O", "Clicks"])),
            ("E.O.CLICKS (A, B)", Some(["E", "O", "CLICKS"])),
            ("A.B.C.D", None),
        ] {
            let found = target(&pipes(&format!("COPY INTO {table} {from}")), "D", "S", "P_A");
            assert_eq!(found, expected.map(|path| path.map(str::to_owned)), "{table}");
        }
        assert_eq!(target(&pipes("SELECT 1"), "D", "S", "P_A"), None);
        assert_eq!(target(&pipes(""), "D", "S", "p_a"), None);
    }

    #[test]
    fn only_default_pipes_tell_their_table_by_their_name() {
        assert_eq!(table_of("EVENTS-STREAMING"), Some("EVENTS"));
        assert_eq!(table_of("-STREAMING"), None);
        assert_eq!(table_of("MY_PIPE"), None);
    }
}
