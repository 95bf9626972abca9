//! SELECT, by DataFusion over one snapshot of each table.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::Fields;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::CatalogProvider;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use sqlparser::ast::{Query, Statement, TableFactor, Visit as _, Visitor, visit_relations};

use super::access::Access;
use super::define::parts;
use super::files::Files;
use super::values;
use super::words::error_table_of;
use super::{
    Name, QueryResult, Result, ResultColumn, Session, SqlError, arithmetic, flatten, information, naming,
    result, rewrite, structured, timed, travel, udf, view,
};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::error_table;
use crate::snowflake::model::{DataType, SegmentKind, TableSnapshot};

/// Runs a SELECT.
pub(super) async fn run(
    catalog: &Arc<Catalog>,
    files: &Files,
    session: &Session,
    statement: Statement,
) -> Result<QueryResult> {
    let mut running = start(catalog, files, session, statement).await?;
    let columns = running.columns();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = running.next().await? {
        result::append(&mut rows, batch.columns(), batch.num_rows(), &mut bytes)?;
    }
    Ok(QueryResult {
        columns,
        rows,
        statement_type: 0,
    })
}

/// A SELECT under way. The files of its tables stay as long as this lives, even if they are merged away meanwhile.
pub(super) struct Running {
    pub(super) fields: Fields,
    stream: SendableRecordBatchStream,
    _snapshots: HashMap<Name, TableSnapshot>,
}

impl Running {
    /// What its columns are.
    pub(super) fn columns(&self) -> Vec<ResultColumn> {
        self.fields.iter().map(|field| result::column(field)).collect()
    }

    /// Its next rows.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.stream.next().await.transpose().map_err(run_error)
    }
}

/// Plans a SELECT and begins to run it.
pub(super) async fn start(
    catalog: &Arc<Catalog>,
    files: &Files,
    session: &Session,
    mut statement: Statement,
) -> Result<Running> {
    refuse_samples(&statement)?;
    values::name_columns(&mut statement);
    naming::resolve(catalog, session, &mut statement)?;
    travel::resolve(catalog, files, session, &mut statement).await?;
    let flattened = flatten::rewrite(&mut statement)?;
    let (snapshots, described) = snapshots(catalog, files, session, &statement)?;
    let mut variants = variants(&snapshots);
    variants.extend(flattened);
    rewrite::run(&mut statement, &variants)?;
    let is_timed = timed::is_named(&statement);
    if is_timed {
        let common = common_names(&statement);
        timed::leave_out_of_wildcards(&mut statement, &common);
    }
    let state = files.state(session)?;
    for name in &described {
        register(&state, name, information::view(catalog, session, name)?)?;
    }
    for (name, snapshot) in &snapshots {
        let until_ms = travel::moment_of(&name.name).map(|(_, at_ms)| at_ms);
        let table = view::of(&state, snapshot, files, is_timed, until_ms)?;
        let table = structured::shown(&state, &snapshot.table.columns, table).map_err(run_error)?;
        register(&state, name, table)?;
    }
    let parsed = datafusion::sql::parser::Statement::Statement(Box::new(statement));
    let plan = state.statement_to_plan(parsed).await.map_err(compile_error)?;
    let fields = plan.schema().fields().clone();
    let plan = state.create_physical_plan(&plan).await.map_err(run_error)?;
    let stream = execute_stream(plan, state.task_ctx()).map_err(run_error)?;
    Ok(Running {
        fields,
        stream,
        _snapshots: snapshots,
    })
}

/// A sample would be all rows.
fn refuse_samples(statement: &Statement) -> Result<()> {
    struct Samples;
    impl Visitor for Samples {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match statement.visit(&mut Samples) {
        ControlFlow::Break(()) => Err(SqlError::unsupported("SAMPLE")),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A snapshot of each table that is named, and the views of INFORMATION_SCHEMA that are; names of WITH are none.
fn snapshots(
    catalog: &Catalog,
    files: &Files,
    session: &Session,
    statement: &Statement,
) -> Result<(HashMap<Name, TableSnapshot>, HashSet<Name>)> {
    let common = common_names(statement);
    let mut found = HashMap::new();
    let mut described = HashSet::new();
    let mut failed = None;
    let _ = visit_relations(statement, |relation| {
        let named = parts(relation).and_then(|parts| {
            if matches!(parts.as_slice(), [one] if common.contains(one)) {
                return Ok(());
            }
            let name = session.resolve(&parts)?;
            if name.schema == information::SCHEMA {
                described.insert(name);
                return Ok(());
            }
            if let Entry::Vacant(vacant) = found.entry(name) {
                Access::of(catalog, session).read(vacant.key())?;
                let snapshot = snapshot(catalog, files, vacant.key())?;
                vacant.insert(snapshot);
            }
            Ok(())
        });
        match named {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    failed.map_or(Ok((found, described)), Err)
}

fn snapshot(catalog: &Catalog, files: &Files, name: &Name) -> Result<TableSnapshot> {
    let (database, schema) = (&name.database, &name.schema);
    if let Some((table, at_ms)) = travel::moment_of(&name.name) {
        return travel::snapshot(catalog, files, name, table, at_ms);
    }
    let Some(table) = error_table_of(&name.name) else {
        let found = catalog.snapshot(database, schema, &name.name, SegmentKind::Rows)?;
        return found.ok_or_else(|| SqlError::missing("Object", &name.to_string()));
    };
    let found = catalog.snapshot(database, schema, table, SegmentKind::Errors)?;
    let mut found = found
        .filter(|found| found.table.error_logging)
        .ok_or_else(|| SqlError::missing("Error table of", &format!("{database}.{schema}.{table}")))?;
    found.table.columns = error_table::columns();
    Ok(found)
}

/// Names that a WITH gives, wherever it stands.
fn common_names(statement: &Statement) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(tables.map(|table| table.alias.name.value.clone()));
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _: ControlFlow<()> = statement.visit(&mut names);
    names.0
}

/// Columns that hold JSON wherever their name stands.
fn variants(snapshots: &HashMap<Name, TableSnapshot>) -> HashSet<String> {
    let columns = || snapshots.values().flat_map(|snapshot| &snapshot.table.columns);
    let is_variant = |data_type: &DataType| data_type.json_kind().is_some();
    let mut names: HashSet<String> = columns()
        .filter(|column| is_variant(&column.data_type))
        .map(|column| column.name.clone())
        .collect();
    for column in columns().filter(|column| !is_variant(&column.data_type)) {
        names.remove(&column.name);
    }
    names
}

fn register(state: &SessionState, name: &Name, table: Arc<dyn TableProvider>) -> Result<()> {
    let databases = state.catalog_list();
    let database = databases.catalog(&name.database).unwrap_or_else(|| {
        let made: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
        databases.register_catalog(name.database.clone(), Arc::clone(&made));
        made
    });
    let schema = match database.schema(&name.schema) {
        Some(schema) => schema,
        None => {
            let made: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
            database
                .register_schema(&name.schema, Arc::clone(&made))
                .map_err(run_error)?;
            made
        }
    };
    schema
        .register_table(name.name.clone(), table)
        .map_err(run_error)?;
    Ok(())
}

pub(super) fn compile_error(error: DataFusionError) -> SqlError {
    let text = first_line(&error);
    if text.contains("No field named") || text.contains("not found") && text.contains("column") {
        let message = format!("SQL compilation error: invalid identifier: {text}");
        return SqlError {
            code: "000904",
            sql_state: "42000",
            message,
        };
    }
    if let Some(name) = text
        .split_once("Invalid function '")
        .and_then(|(_, rest)| rest.split('\'').next())
    {
        return udf::unknown(&name.to_uppercase());
    }
    SqlError::syntax(text)
}

pub(super) fn run_error(error: DataFusionError) -> SqlError {
    let text = first_line(&error);
    // The remainder is DataFusion's own.
    if text.contains(arithmetic::BY_ZERO) || text.contains("Divide by zero") {
        return SqlError {
            code: "100051",
            sql_state: "22012",
            message: arithmetic::BY_ZERO.to_owned(),
        };
    }
    SqlError::running(text)
}

/// What went wrong at the root, without the rules of the planner that it went through.
pub(super) fn first_line(error: &DataFusionError) -> String {
    error
        .find_root()
        .strip_backtrace()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
