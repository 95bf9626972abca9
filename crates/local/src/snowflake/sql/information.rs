//! The views of INFORMATION_SCHEMA, made anew for each query from the catalog: what the session's role sees of one database.
//!
//! Source: Snowflake documentation, "Snowflake Information Schema", the pages of each view. Columns that say nothing here
//! (collations, domains, replication) are left out; `SELECT *` has fewer columns than in the service.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType as Arrow, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;

use super::access::Access;
use super::{Name, Result, Session, SqlError, ddl, pipe, query, show};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::model::{ColumnDef, DataType, TableDef};

/// The schema that each database has.
pub(super) const SCHEMA: &str = "INFORMATION_SCHEMA";

/// A cell of a view.
enum Cell {
    Text(Option<String>),
    Number(Option<i64>),
    /// Milliseconds since 1970.
    Moment(i64),
}

use Cell::{Moment, Number, Text};

fn text(text: impl Into<String>) -> Cell {
    Text(Some(text.into()))
}

fn yes(truth: bool) -> Cell {
    text(if truth { "YES" } else { "NO" })
}

/// What a view's column holds.
#[derive(Clone, Copy)]
enum Kind {
    Texts,
    Numbers,
    Moments,
}

struct View {
    columns: &'static [(&'static str, Kind)],
    rows: Vec<Vec<Cell>>,
}

/// A view of this name, whose schema is [`SCHEMA`].
pub(super) fn view(catalog: &Catalog, session: &Session, name: &Name) -> Result<Arc<dyn TableProvider>> {
    let missing = || SqlError::missing("Object", &name.to_string());
    let access = Access::of(catalog, session);
    let database = access.find("DATABASE", std::slice::from_ref(&name.database))?;
    if !database.map_or(Ok(false), |found| access.sees(&found))? {
        return Err(missing());
    }
    let views = Views {
        catalog,
        session,
        access,
        database: &name.database,
    };
    let view = match name.name.as_str() {
        "DATABASES" => views.databases()?,
        "SCHEMATA" => views.schemata()?,
        "TABLES" => views.tables()?,
        "COLUMNS" => views.columns()?,
        "PIPES" => views.pipes()?,
        "VIEWS" => View {
            columns: &VIEWS,
            rows: Vec::new(),
        },
        "ENABLED_ROLES" => views.roles()?,
        _ => return Err(missing()),
    };
    view.table()
}

impl View {
    fn table(self) -> Result<Arc<dyn TableProvider>> {
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (place, (name, kind)) in self.columns.iter().enumerate() {
            let cells = self.rows.iter().map(|row| row.get(place));
            let array: ArrayRef = match kind {
                Kind::Texts => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Some(Text(text)) => text.as_deref(),
                            _ => None,
                        })
                        .collect::<StringArray>(),
                ),
                Kind::Numbers => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Some(Number(number)) => *number,
                            _ => None,
                        })
                        .collect::<Int64Array>(),
                ),
                Kind::Moments => {
                    let nanos = cells.map(|cell| match cell {
                        Some(Moment(ms)) => Some(ms.saturating_mul(1_000_000)),
                        _ => None,
                    });
                    Arc::new(nanos.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
                }
            };
            fields.push(Field::new(*name, array.data_type().clone(), true));
            arrays.push(array);
        }
        debug_assert!(fields.iter().all(|field| matches!(
            field.data_type(),
            Arrow::Utf8 | Arrow::Int64 | Arrow::Timestamp(TimeUnit::Nanosecond, _)
        )));
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
            .expect("one array for each field, all as long as there are rows");
        let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(query::run_error)?;
        Ok(Arc::new(table))
    }
}

const DATABASES: [(&str, Kind); 4] = [
    ("DATABASE_NAME", Kind::Texts),
    ("DATABASE_OWNER", Kind::Texts),
    ("CREATED", Kind::Moments),
    ("RETENTION_TIME", Kind::Numbers),
];

const SCHEMATA: [(&str, Kind); 4] = [
    ("CATALOG_NAME", Kind::Texts),
    ("SCHEMA_NAME", Kind::Texts),
    ("SCHEMA_OWNER", Kind::Texts),
    ("CREATED", Kind::Moments),
];

const TABLES: [(&str, Kind); 14] = [
    ("TABLE_CATALOG", Kind::Texts),
    ("TABLE_SCHEMA", Kind::Texts),
    ("TABLE_NAME", Kind::Texts),
    ("TABLE_OWNER", Kind::Texts),
    ("TABLE_TYPE", Kind::Texts),
    ("IS_TRANSIENT", Kind::Texts),
    ("CLUSTERING_KEY", Kind::Texts),
    ("ROW_COUNT", Kind::Numbers),
    ("BYTES", Kind::Numbers),
    ("RETENTION_TIME", Kind::Numbers),
    ("CREATED", Kind::Moments),
    ("AUTO_CLUSTERING_ON", Kind::Texts),
    ("COMMENT", Kind::Texts),
    ("IS_ICEBERG", Kind::Texts),
];

const COLUMNS: [(&str, Kind); 19] = [
    ("TABLE_CATALOG", Kind::Texts),
    ("TABLE_SCHEMA", Kind::Texts),
    ("TABLE_NAME", Kind::Texts),
    ("COLUMN_NAME", Kind::Texts),
    ("ORDINAL_POSITION", Kind::Numbers),
    ("COLUMN_DEFAULT", Kind::Texts),
    ("IS_NULLABLE", Kind::Texts),
    ("DATA_TYPE", Kind::Texts),
    ("CHARACTER_MAXIMUM_LENGTH", Kind::Numbers),
    ("CHARACTER_OCTET_LENGTH", Kind::Numbers),
    ("NUMERIC_PRECISION", Kind::Numbers),
    ("NUMERIC_PRECISION_RADIX", Kind::Numbers),
    ("NUMERIC_SCALE", Kind::Numbers),
    ("DATETIME_PRECISION", Kind::Numbers),
    ("IS_IDENTITY", Kind::Texts),
    ("IDENTITY_START", Kind::Texts),
    ("IDENTITY_INCREMENT", Kind::Texts),
    ("COMMENT", Kind::Texts),
    ("SCHEMA_EVOLUTION_RECORD", Kind::Texts),
];

const PIPES: [(&str, Kind); 7] = [
    ("PIPE_CATALOG", Kind::Texts),
    ("PIPE_SCHEMA", Kind::Texts),
    ("PIPE_NAME", Kind::Texts),
    ("PIPE_OWNER", Kind::Texts),
    ("DEFINITION", Kind::Texts),
    ("CREATED", Kind::Moments),
    ("COMMENT", Kind::Texts),
];

const VIEWS: [(&str, Kind); 4] = [
    ("TABLE_CATALOG", Kind::Texts),
    ("TABLE_SCHEMA", Kind::Texts),
    ("TABLE_NAME", Kind::Texts),
    ("VIEW_DEFINITION", Kind::Texts),
];

const ENABLED_ROLES: [(&str, Kind); 2] = [("ROLE_NAME", Kind::Texts), ("ROLE_OWNER", Kind::Texts)];

struct Views<'a> {
    catalog: &'a Catalog,
    session: &'a Session,
    access: Access<'a>,
    database: &'a str,
}

impl Views<'_> {
    fn shows(&self, kind: &str, parts: &[&str]) -> Result<Option<String>> {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let Some(found) = self.access.find(kind, &parts)? else {
            return Ok(None);
        };
        if !self.access.shows(kind, &parts)? {
            return Ok(None);
        }
        Ok(Some(self.catalog.owner(&found.object)?.unwrap_or_default()))
    }

    fn databases(&self) -> Result<View> {
        let mut rows = Vec::new();
        for row in self.catalog.list_databases()? {
            if let Some(owner) = self.shows("DATABASE", &[&row.database])? {
                rows.push(vec![
                    text(row.database),
                    text(owner),
                    Moment(row.created_on_ms),
                    Number(Some(1)),
                ]);
            }
        }
        Ok(View {
            columns: &DATABASES,
            rows,
        })
    }

    fn schemata(&self) -> Result<View> {
        let mut rows = Vec::new();
        for row in self.catalog.list_schemas(Some(self.database))? {
            if let Some(owner) = self.shows("SCHEMA", &[&row.database, &row.schema])? {
                rows.push(vec![
                    text(row.database),
                    text(row.schema),
                    text(owner),
                    Moment(row.created_on_ms),
                ]);
            }
        }
        Ok(View {
            columns: &SCHEMATA,
            rows,
        })
    }

    fn visible_tables(&self) -> Result<Vec<TableDef>> {
        let mut visible = Vec::new();
        for table in self.catalog.list_tables(Some(self.database), None)? {
            if self
                .shows("TABLE", &[&table.database, &table.schema, &table.name])?
                .is_some()
            {
                visible.push(table);
            }
        }
        Ok(visible)
    }

    fn tables(&self) -> Result<View> {
        let mut rows = Vec::new();
        for table in self.visible_tables()? {
            let (count, bytes) = self.catalog.table_size(table.id)?;
            let clustering = table
                .cluster_by
                .is_some()
                .then(|| show::clustering(table.cluster_by.as_deref()));
            rows.push(vec![
                text(&table.database),
                text(&table.schema),
                text(&table.name),
                text(&table.owner),
                text("BASE TABLE"),
                yes(false),
                Text(clustering),
                Number(i64::try_from(count).ok()),
                Number(i64::try_from(bytes).ok()),
                Number(Some(i64::from(table.retention_days))),
                Moment(table.created_on_ms),
                yes(table.cluster_by.is_some()),
                Text(table.comment.clone()),
                yes(table.kind == crate::snowflake::model::TableKind::Iceberg),
            ]);
        }
        Ok(View {
            columns: &TABLES,
            rows,
        })
    }

    fn columns(&self) -> Result<View> {
        let mut rows = Vec::new();
        for table in self.visible_tables()? {
            let numbered = table.columns.iter().zip(1_i64..);
            rows.extend(numbered.map(|(column, place)| column_row(&table, column, place)));
        }
        Ok(View {
            columns: &COLUMNS,
            rows,
        })
    }

    fn pipes(&self) -> Result<View> {
        let mut rows = Vec::new();
        for row in self.catalog.pipes(Some(self.database), None)? {
            let Some(owner) = self.shows("PIPE", &[&row.database, &row.schema, &row.name])? else {
                continue;
            };
            rows.push(vec![
                text(&row.database),
                text(&row.schema),
                text(&row.name),
                Text(Some(owner).filter(|owner| !owner.is_empty())),
                text(pipe::definition(&row)),
                Moment(row.created_on_ms),
                Text(pipe::comment(&row)),
            ]);
        }
        Ok(View {
            columns: &PIPES,
            rows,
        })
    }

    fn roles(&self) -> Result<View> {
        let mut rows = Vec::new();
        for role in self.catalog.roles()? {
            if self.catalog.holds(self.session.role(), &role.name)? {
                rows.push(vec![text(role.name), Text(role.owner)]);
            }
        }
        Ok(View {
            columns: &ENABLED_ROLES,
            rows,
        })
    }
}

fn column_row(table: &TableDef, column: &ColumnDef, place: i64) -> Vec<Cell> {
    let (mut characters, mut octets, mut precision, mut radix, mut scale, mut fraction) =
        (None, None, None, None, None, None);
    match &column.data_type {
        DataType::Number {
            precision: p,
            scale: s,
        } => {
            (precision, radix, scale) = (Some(i64::from(*p)), Some(10), Some(i64::from(*s)));
        }
        DataType::Varchar { length } => {
            characters = Some(i64::from(*length));
            octets = Some(i64::from(*length).saturating_mul(4).min(134_217_728));
        }
        DataType::Binary { length } => octets = Some(i64::from(*length)),
        DataType::Time { scale }
        | DataType::TimestampNtz { scale }
        | DataType::TimestampLtz { scale }
        | DataType::TimestampTz { scale } => fraction = Some(i64::from(*scale)),
        _ => {}
    }
    let (start, step) = match column.identity {
        Some((start, step)) => (Some(start.to_string()), Some(step.to_string())),
        None => (None, None),
    };
    vec![
        text(&table.database),
        text(&table.schema),
        text(&table.name),
        text(&column.name),
        Number(Some(place)),
        Text(column.default.clone()),
        yes(column.nullable),
        text(family(&column.data_type)),
        Number(characters),
        Number(octets),
        Number(precision),
        Number(radix),
        Number(scale),
        Number(fraction),
        yes(column.identity.is_some()),
        Text(start),
        Text(step),
        Text(column.comment.clone()),
        Text(ddl::evolution_record(column)),
    ]
}

/// The type without its lengths: a VARCHAR is TEXT here.
fn family(data_type: &DataType) -> String {
    match data_type {
        DataType::Varchar { .. } => "TEXT".to_owned(),
        other => {
            let full = show::type_text(other);
            full.split('(').next().unwrap_or_default().to_owned()
        }
    }
}
