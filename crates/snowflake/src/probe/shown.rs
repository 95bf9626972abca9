//! Rows of SHOW and DESCRIBE, read by the names of their columns (Snowflake documentation, "SHOW TABLES", "DESCRIBE TABLE",
//! "SHOW PIPES", "SHOW GRANTS"). A column that is not there says nothing.

use super::name::path_of;
use super::{Grant, Sight};
use crate::sql::Rows;

/// What a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// A standard table.
    Standard,
    /// An Iceberg table.
    Iceberg,
    /// An interactive table.
    Interactive,
    /// One that Snowpipe Streaming does not write to: `external`, `temporary`, `dynamic`, `hybrid`, `event`.
    Other(&'static str),
}

/// A table as SHOW TABLES tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownTable {
    /// What it is.
    pub kind: TableKind,
    /// Its owner.
    pub owner: Option<String>,
    /// `ENABLE_SCHEMA_EVOLUTION`.
    pub schema_evolution: Option<bool>,
    /// `ERROR_LOGGING`.
    pub error_logging: Option<bool>,
    /// `ROW_TIMESTAMP`.
    pub row_timestamp: Option<bool>,
    /// The external volume of an Iceberg table.
    pub volume: Option<String>,
    /// The catalog of an Iceberg table; `SNOWFLAKE` where Snowflake manages it.
    pub catalog: Option<String>,
}

/// A column as DESCRIBE TABLE tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownColumn {
    /// Its name.
    pub name: String,
    /// Its type, as `VARCHAR(10)`.
    pub kind: String,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Its DEFAULT, or `IDENTITY ...`.
    pub default: Option<String>,
}

/// A pipe as SHOW PIPES tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPipe {
    /// Its COPY statement.
    pub definition: String,
}

/// The rows.
#[derive(Debug, Default)]
pub(super) struct Shown(pub(super) Rows);

type Row = Vec<Option<String>>;

fn truth(text: &str) -> Option<bool> {
    match text {
        "Y" | "YES" | "ON" | "true" | "TRUE" => Some(true),
        "N" | "NO" | "OFF" | "false" | "FALSE" | "" => Some(false),
        _ => None,
    }
}

impl Shown {
    fn place(&self, name: &str) -> Option<usize> {
        let columns = &self.0.columns;
        columns
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn text(&self, row: &Row, name: &str) -> Option<String> {
        row.get(self.place(name)?)?
            .clone()
            .filter(|text| !text.is_empty())
    }

    fn yes(&self, row: &Row, name: &str) -> Option<bool> {
        truth(row.get(self.place(name)?)?.as_deref().unwrap_or_default())
    }

    /// The texts of a column.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.0
            .rows
            .iter()
            .filter_map(|row| self.text(row, name))
            .collect()
    }

    /// The row of just this name.
    pub(super) fn sight(&self, name: &str) -> Sight<&Row> {
        let named = |row: &&Row| self.text(row, "name").as_deref() == Some(name);
        if let Some(row) = self.0.rows.iter().find(named) {
            return Sight::Seen(row);
        }
        let others = self.texts("name").into_iter();
        let others: Vec<String> = others
            .filter(|other| other.to_lowercase() == name.to_lowercase())
            .collect();
        if others.is_empty() {
            Sight::Unseen
        } else {
            Sight::OtherCase(others)
        }
    }

    pub(super) fn table(&self, row: &Row) -> ShownTable {
        let is = |name: &str| self.yes(row, name) == Some(true);
        let kind = self.text(row, "kind").unwrap_or_default();
        let kind = match kind.as_str() {
            _ if is("is_external") => TableKind::Other("external"),
            _ if is("is_dynamic") => TableKind::Other("dynamic"),
            _ if is("is_hybrid") => TableKind::Other("hybrid"),
            _ if is("is_event") => TableKind::Other("event"),
            "TEMPORARY" => TableKind::Other("temporary"),
            _ if is("is_iceberg") => TableKind::Iceberg,
            _ if is("is_interactive") => TableKind::Interactive,
            _ => TableKind::Standard,
        };
        ShownTable {
            kind,
            owner: self.text(row, "owner"),
            schema_evolution: self.yes(row, "enable_schema_evolution"),
            error_logging: self.yes(row, "error_logging"),
            row_timestamp: self.yes(row, "row_timestamp"),
            volume: None,
            catalog: None,
        }
    }

    /// The names of a pipe's channels.
    pub(super) fn channels(&self, pipe: &str) -> Vec<String> {
        let of_pipe = |row: &&Row| self.text(row, "parent_name").as_deref() == Some(pipe);
        let rows = self.0.rows.iter().filter(of_pipe);
        rows.filter_map(|row| self.text(row, "name")).collect()
    }

    pub(super) fn pipe(&self, row: &Row) -> ShownPipe {
        ShownPipe {
            definition: self.text(row, "definition").unwrap_or_default(),
        }
    }

    pub(super) fn columns(&self) -> Vec<ShownColumn> {
        let column = |row: &Row| {
            Some(ShownColumn {
                name: self.text(row, "name")?,
                kind: self.text(row, "type").unwrap_or_default(),
                nullable: self.yes(row, "null?") != Some(false),
                default: self.text(row, "default"),
            })
        };
        self.0.rows.iter().filter_map(column).collect()
    }

    pub(super) fn grants(&self) -> Vec<Grant> {
        let grant = |row: &Row| {
            Some(Grant {
                privilege: self.text(row, "privilege")?,
                on: self.text(row, "granted_on")?.replace('_', " "),
                name: path_of(&self.text(row, "name")?),
            })
        };
        self.0.rows.iter().filter_map(grant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Column;

    fn shown(names: &[&str], rows: &[&[&str]]) -> Shown {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            kind: "text".to_owned(),
            scale: None,
        };
        let row = |cells: &&[&str]| cells.iter().map(|cell| Some((*cell).to_owned())).collect();
        Shown(Rows {
            columns: names.iter().map(column).collect(),
            rows: rows.iter().map(row).collect(),
        })
    }

    #[test]
    fn kinds_that_streaming_does_not_write_to_are_told_apart() {
        let names = [
            "name",
            "kind",
            "is_external",
            "is_dynamic",
            "is_hybrid",
            "is_event",
            "is_iceberg",
        ];
        for (cells, kind) in [
            (["T", "TABLE", "N", "N", "N", "N", "N"], TableKind::Standard),
            (["T", "TRANSIENT", "N", "N", "N", "N", "N"], TableKind::Standard),
            (
                ["T", "TEMPORARY", "N", "N", "N", "N", "N"],
                TableKind::Other("temporary"),
            ),
            (
                ["T", "TABLE", "Y", "N", "N", "N", "N"],
                TableKind::Other("external"),
            ),
            (
                ["T", "TABLE", "N", "Y", "N", "N", "N"],
                TableKind::Other("dynamic"),
            ),
            (
                ["T", "TABLE", "N", "N", "Y", "N", "N"],
                TableKind::Other("hybrid"),
            ),
            (["T", "TABLE", "N", "N", "N", "Y", "N"], TableKind::Other("event")),
            (["T", "TABLE", "N", "N", "N", "N", "Y"], TableKind::Iceberg),
        ] {
            let shown = shown(&names, &[&cells]);
            let table = shown.table(&shown.0.rows[0]);
            assert_eq!(table.kind, kind, "{cells:?}");
            assert_eq!(
                table.error_logging, None,
                "a column that is not there says nothing"
            );
        }
    }

    #[test]
    fn a_name_is_found_letter_by_letter_or_in_another_case() {
        let shown = shown(&["name"], &[&["Clicks"], &["CLICKS"], &["CLICKSX"]]);
        assert!(matches!(shown.sight("CLICKS"), Sight::Seen(_)));
        let other = Sight::OtherCase(vec!["Clicks".to_owned(), "CLICKS".to_owned()]);
        assert_eq!(shown.sight("clicks"), other);
        assert_eq!(shown.sight("CLICK"), Sight::Unseen);
    }
}
