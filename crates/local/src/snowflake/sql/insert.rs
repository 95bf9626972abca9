//! INSERT and CREATE TABLE ... AS: rows of a query become a segment, all or none.
//!
//! CREATE TABLE ... AS is two steps: a crash between them leaves the table empty.

use arrow::datatypes::{DataType as Arrow, Field};
use sqlparser::ast::{CreateTable, Insert, Query, Statement, TableObject};

use super::access::Access;
use super::define::{self, parts};
use super::select::{picked, place};
use super::words::TableOptions;
use super::{Engine, QueryResult, Result, Session, SqlError, query, result, sequences};
use crate::snowflake::catalog::commit::{Outcome, TableCommit};
use crate::snowflake::catalog::now_ms;
use crate::snowflake::committer::{advance, widen};
use crate::snowflake::model::{ColumnDef, DataType, TableDef, TableKind};
use crate::snowflake::rows::{self, MAX_VARCHAR, Picked, TYPE_KEY, Typed};
use crate::snowflake::{iceberg, row_timestamps, stored};

/// Rows of one INSERT, in bytes of their values.
const LARGEST: usize = 256 * 1024 * 1024;

/// The column that an INSERT answers.
pub(super) const INSERTED: &str = "number of rows inserted";

/// Runs an INSERT.
pub(super) async fn run(engine: &Engine, session: &Session, insert: Insert) -> Result<QueryResult> {
    let plain = insert.on.is_none() && insert.returning.is_none();
    let (TableObject::TableName(name), Some(source), true) = (&insert.table, insert.source, plain) else {
        return Err(SqlError::unsupported("this form of INSERT"));
    };
    let name = session.resolve(&parts(name)?)?;
    Access::of(&engine.catalog, session).table_for(&name, &["INSERT"])?;
    let missing = || SqlError::missing("Table", &name.to_string());
    let table = engine.catalog.table(&name.database, &name.schema, &name.name)?;
    let table = table.ok_or_else(missing)?;
    let (id, overwrite) = (table.id, insert.overwrite);
    if table.kind == TableKind::Iceberg && overwrite {
        return Err(SqlError::unsupported("INSERT OVERWRITE of an Iceberg table"));
    }
    if table.kind == TableKind::Interactive && !overwrite {
        return Err(SqlError::unsupported(
            "INSERT into an interactive table without OVERWRITE (as in the service)",
        ));
    }
    let (_, values) = collect(engine, session, source).await?;
    let count = values.len();
    put(
        engine,
        id,
        |table| {
            let targets = match insert.columns.as_slice() {
                [] => (0..table.columns.len()).collect(),
                names => names
                    .iter()
                    .map(|name| place(table, &name.value))
                    .collect::<Result<Vec<_>>>()?,
            };
            fits(targets.len(), &values)?;
            Ok(targets)
        },
        &values,
        overwrite,
    )
    .await?;
    Ok(inserted(count))
}

fn inserted(count: usize) -> QueryResult {
    QueryResult::numbers(INSERTED, vec![count])
}

fn fits(expected: usize, values: &[Vec<Picked>]) -> Result<()> {
    match values.first().map(Vec::len) {
        Some(got) if got != expected => Err(SqlError {
            code: "002020",
            sql_state: "21S01",
            message: format!(
                "SQL compilation error: Insert value list does not match column list expecting {expected} but got {got}"
            ),
        }),
        _ => Ok(()),
    }
}

/// Runs CREATE TABLE ... AS SELECT.
pub(super) async fn create(
    engine: &Engine,
    session: &Session,
    mut create: CreateTable,
    options: TableOptions,
) -> Result<QueryResult> {
    let Some(source) = create.query.take() else {
        return Err(SqlError::syntax("AS SELECT is missing"));
    };
    let name = session.resolve(&parts(&create.name)?)?;
    let (fields, values) = collect(engine, session, source).await?;
    let told = define::table_of(&engine.catalog, session, create, options, |named| {
        if named.is_empty() {
            return fields.iter().map(column).collect();
        }
        fits(named.len(), &values)?;
        Ok(named)
    })?;
    let table = engine.catalog.table(&name.database, &name.schema, &name.name)?;
    if let Some(table) = table.filter(|_| told.is_new) {
        put(
            engine,
            table.id,
            |table| Ok((0..table.columns.len()).collect()),
            &values,
            false,
        )
        .await?;
    }
    Ok(told.result)
}

/// The rows of a query, as values.
async fn collect(
    engine: &Engine,
    session: &Session,
    source: Box<Query>,
) -> Result<(Vec<Field>, Vec<Vec<Picked>>)> {
    let statement = Statement::Query(source);
    let mut running = query::start(&engine.catalog, &engine.files, session, statement).await?;
    let fields: Vec<Field> = running
        .fields
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    let (mut values, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = running.next().await? {
        bytes += batch.get_array_memory_size();
        if bytes > LARGEST {
            return Err(SqlError::running(format!(
                "more than {LARGEST} bytes in one INSERT"
            )));
        }
        let begin = values.len();
        values.resize_with(begin + batch.num_rows(), Vec::new);
        for (field, array) in fields.iter().zip(batch.columns()) {
            let cells = picked(field, array).map_err(SqlError::running)?;
            for (row, cell) in values.iter_mut().skip(begin).zip(cells) {
                row.push(cell);
            }
        }
    }
    Ok((fields, values))
}

/// Commits rows to a table, behind or instead of those that it has. A change of the table in between is met by doing it again.
async fn put(
    engine: &Engine,
    table_id: i64,
    targets: impl Fn(&TableDef) -> Result<Vec<usize>>,
    values: &[Vec<Picked>],
    overwrite: bool,
) -> Result<()> {
    loop {
        let gone = || SqlError::missing("Table", &table_id.to_string());
        let table = engine.catalog.table_by_id(table_id)?.ok_or_else(gone)?;
        let numbers = sequences::numbers(&engine.catalog, &table, values.len())?;
        let inserted =
            rows::insert(&table, &targets(&table)?, values, now_ms(), &numbers).map_err(refused)?;
        let is_empty = inserted.rows.num_rows() == 0;
        if is_empty && !overwrite {
            return Ok(());
        }
        let rows = row_timestamps::stamp(&table, inserted.rows, now_ms());
        let mut columns_after = table.columns.clone();
        advance(&mut columns_after, &inserted.identities);
        widen(&mut columns_after, &inserted.micros);
        let changes = columns_after != table.columns;
        let here = engine.clone();
        let done = tokio::task::spawn_blocking(move || {
            let (disk, catalog) = (here.disk.as_ref(), &here.catalog);
            let turn = iceberg::is_it(&table).then(|| catalog.turn(table_id));
            let _mine = turn.as_ref().map(iceberg::held);
            let written = stored::write(disk, catalog, &table, None, &rows)?;
            let commit = TableCommit {
                table_id,
                columns_before: table.columns,
                columns_after: changes.then_some(columns_after),
                segment: written.segment,
                errors: None,
                channels: Vec::new(),
                overwrite,
                iceberg: written.iceberg,
            };
            let outcome = catalog.commit(&commit);
            if !matches!(outcome, Ok(Outcome::Done)) {
                stored::discard(disk, &commit);
            }
            outcome
        });
        let outcome = done.await.map_err(SqlError::running)?;
        match outcome? {
            Outcome::Done => return Ok(()),
            Outcome::TableGone => return Err(gone()),
            Outcome::TableChanged | Outcome::Fenced(_) => {}
        }
    }
}

fn refused(refusal: rows::Refusal) -> SqlError {
    let (code, sql_state) = match refusal.code {
        100_072 => ("100072", "22000"),
        100_078 => ("100078", "22000"),
        2003 => ("002003", "02000"),
        _ => ("100038", "22018"),
    };
    let at = refusal
        .column
        .map(|column| format!(" (column {column})"))
        .unwrap_or_default();
    SqlError {
        code,
        sql_state,
        message: format!("{}{at}", refusal.message),
    }
}

/// The column that holds what a query gives.
fn column(field: &Field) -> Result<ColumnDef> {
    let json = field.metadata().get(TYPE_KEY).map(String::as_str);
    let data_type = match (field.data_type(), json) {
        (kind, _) if Typed::of(kind).is_some() => {
            Typed::data_type(kind).ok_or_else(|| SqlError::unsupported("a column of this type"))?
        }
        (_, Some("OBJECT" | "MAP")) => DataType::Object,
        (_, Some("ARRAY")) => DataType::Array,
        (_, Some(_)) => DataType::Variant,
        (Arrow::Decimal128(precision, scale), _) => DataType::Number {
            precision: *precision,
            scale: *scale,
        },
        (kind, _) if kind.is_integer() => DataType::Number {
            precision: 38,
            scale: 0,
        },
        (kind, _) if kind.is_floating() => DataType::Float,
        (Arrow::Boolean, _) => DataType::Boolean,
        (Arrow::Date32 | Arrow::Date64, _) => DataType::Date,
        (Arrow::Time32(_) | Arrow::Time64(_), _) => DataType::Time { scale: 9 },
        (Arrow::Timestamp(_, None), _) => DataType::TimestampNtz { scale: 9 },
        (Arrow::Timestamp(..), _) => DataType::TimestampLtz { scale: 9 },
        (Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView, _) => DataType::Binary {
            length: 8 * 1024 * 1024,
        },
        (Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View | Arrow::Null, _) => {
            DataType::Varchar { length: MAX_VARCHAR }
        }
        (other, _) => return Err(SqlError::unsupported(&format!("a column of {other}"))),
    };
    Ok(ColumnDef::new(result::column(field).name, data_type))
}
