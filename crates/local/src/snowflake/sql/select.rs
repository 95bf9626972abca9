//! The expressions of a pipe over its records.
//!
//! They are compiled by DataFusion against one column, `$1`, and evaluated over the records of a commit together; where that
//! fails, half by half, until the records that fail stand alone. `CURRENT_TIMESTAMP` is that of the commit, or what [`Scope`] says.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use sqlparser::ast::ExprWithAlias;

use super::pipe::{Copy, Source};
use super::{
    Result, Session, SqlError, arithmetic, casts, dates, naming, query, rewrite, sequences, texts, typed,
    variant,
};
use crate::snowflake::catalog::grants::Object;
use crate::snowflake::catalog::{Catalog, now_ms};
use crate::snowflake::model::{PipeRow, TableDef};
use crate::snowflake::rows::{self, Form, Mapping, Picked, TYPE_KEY, Typed};

/// The record's column.
const RECORD: &str = "$1";

/// What the expressions of a pipe go by beside their record.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Where sequences and functions are looked up, and with whose privileges.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) session: Session,
    /// What CURRENT_TIMESTAMP is, in milliseconds since 1970; if not given, the present.
    pub(crate) time_ms: Option<i64>,
}

impl Scope {
    /// For a statement of a session.
    pub(crate) fn of_session(catalog: &Arc<Catalog>, session: &Session) -> Self {
        Self {
            catalog: Arc::clone(catalog),
            session: session.clone(),
            time_ms: None,
        }
    }

    /// For a pipe: names are looked up in its schema, with the privileges of the role that owns it, or its table if it has none.
    pub(crate) fn of_pipe(catalog: &Arc<Catalog>, pipe: &PipeRow) -> crate::Result<Self> {
        let owner = match catalog.owner(&Object::Pipe(pipe.id))? {
            Some(owner) => Some(owner),
            None => catalog.owner(&Object::Table(pipe.table_id))?,
        };
        let session = Session {
            database: Some(pipe.database.clone()),
            schema: Some(pipe.schema.clone()),
            role: owner,
            ..Session::default()
        };
        Ok(Self::of_session(catalog, &session))
    }
}

/// What a pipe does with records, ready for one commit.
#[derive(Debug)]
pub(crate) enum Prepared {
    ByName { case_sensitive: bool },
    Select(Selection),
    Broken(String),
}

impl Prepared {
    /// For a pipe's COPY statement, or for a default pipe, which does what the table's own transform says.
    pub(crate) fn of(copy: Option<&str>, table: &TableDef, scope: &Scope) -> Self {
        let prepared = match (copy, &table.transform) {
            (Some(copy), _) => Copy::of(copy).and_then(|copy| match copy.table.last() {
                Some(target) if *target != table.name => Err(SqlError::missing("Table", target)),
                _ => mapping(&copy, table, scope),
            }),
            (None, Some(transform)) => {
                Copy::of_transform(transform).and_then(|copy| mapping(&copy, table, scope))
            }
            (None, None) => {
                return Self::ByName {
                    case_sensitive: false,
                };
            }
        };
        match prepared {
            Ok(prepared) => prepared,
            Err(error) => Self::Broken(error.message),
        }
    }

    pub(crate) fn mapping(&self) -> Mapping<'_> {
        match self {
            Self::ByName { case_sensitive } => Mapping::ByName {
                case_sensitive: *case_sensitive,
            },
            Self::Select(selection) => Mapping::Select(selection),
            Self::Broken(message) => Mapping::Broken(message),
        }
    }
}

/// Compiled expressions.
#[derive(Debug)]
pub(crate) struct Selection {
    targets: Vec<usize>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: Arc<Schema>,
}

/// Compiles a COPY statement against its table as it is now.
pub(super) fn mapping(copy: &Copy, table: &TableDef, scope: &Scope) -> Result<Prepared> {
    let (columns, expressions) = match &copy.source {
        Source::ByName { case_sensitive } => {
            return Ok(Prepared::ByName {
                case_sensitive: *case_sensitive,
            });
        }
        Source::Select { columns, expressions } => (columns, expressions),
    };
    let targets: Vec<usize> = match columns {
        None => (0..table.columns.len()).collect(),
        Some(names) => names
            .iter()
            .map(|name| place(table, name))
            .collect::<Result<_>>()?,
    };
    if targets.len() != expressions.len() {
        return Err(SqlError {
            code: "002020",
            sql_state: "21S01",
            message: format!(
                "SQL compilation error: Insert value list does not match column list expecting {} but got {}",
                targets.len(),
                expressions.len()
            ),
        });
    }
    let kind = HashMap::from([(TYPE_KEY.to_owned(), "VARIANT".to_owned())]);
    let field = Field::new(RECORD, DataType::Utf8, true).with_metadata(kind);
    let schema = Arc::new(Schema::new(vec![field]));
    let of_schema = DFSchema::try_from(Arc::clone(&schema)).map_err(SqlError::syntax)?;
    let context = context(&scope.catalog).map_err(SqlError::syntax)?;
    let state = context.state();
    let time_ms = scope.time_ms.unwrap_or_else(now_ms);
    let started = chrono::DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
    let simplifier = ExprSimplifier::new(
        SimplifyContext::default()
            .with_schema(Arc::new(of_schema.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(Some(started)),
    );
    let variants = HashSet::from([RECORD.to_owned()]);
    let compile = |expression: &sqlparser::ast::Expr| {
        let mut expr = expression.clone();
        naming::resolve(&scope.catalog, &scope.session, &mut expr)?;
        rewrite::expression(&mut expr, &variants)?;
        let with_alias = ExprWithAlias { expr, alias: None };
        let logical = state.create_logical_expr_from_sql_expr(with_alias, &of_schema);
        // Some functions exist only until they are simplified.
        let simplified = logical
            .and_then(|logical| simplifier.coerce(logical, &of_schema))
            .and_then(|coerced| simplifier.simplify(coerced));
        let compiled = simplified.and_then(|simple| state.create_physical_expr(simple, &of_schema));
        compiled.map_err(|error| SqlError::syntax(query::first_line(&error)))
    };
    let expressions = expressions.iter().map(compile).collect::<Result<_>>()?;
    Ok(Prepared::Select(Selection {
        targets,
        expressions,
        schema,
    }))
}

/// Fails if an expression without columns does not compile.
pub(super) fn compiles(scope: &Scope, mut expr: sqlparser::ast::Expr) -> Result<()> {
    naming::resolve(&scope.catalog, &scope.session, &mut expr)?;
    rewrite::expression(&mut expr, &HashSet::new())?;
    let context = context(&scope.catalog).map_err(SqlError::syntax)?;
    let nothing = DFSchema::empty();
    let logical = context
        .state()
        .create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, &nothing)
        .map_err(query::compile_error)?;
    let simplifier = ExprSimplifier::new(SimplifyContext::default().with_schema(Arc::new(nothing.clone())));
    let coerced = simplifier.coerce(logical, &nothing);
    coerced.map(|_| ()).map_err(query::compile_error)
}

/// Where a column stands.
pub(super) fn place(table: &TableDef, name: &str) -> Result<usize> {
    let place = table.columns.iter().position(|column| column.name == *name);
    place.ok_or_else(|| SqlError {
        code: "000904",
        sql_state: "42000",
        message: format!("SQL compilation error: invalid identifier '{name}'"),
    })
}

fn context(catalog: &Arc<Catalog>) -> std::result::Result<SessionContext, DataFusionError> {
    let mut config = datafusion::prelude::SessionConfig::new();
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    // Literals are exact.
    options.sql_parser.parse_float_as_decimal = true;
    let mut context = SessionContext::new_with_config(config);
    variant::register(&context);
    casts::register(&context);
    texts::register(&context);
    dates::register(&context);
    arithmetic::register(&context);
    sequences::register(&context, catalog);
    typed::register(&mut context)?;
    Ok(context)
}

impl rows::Select for Selection {
    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn select(&self, records: &[&str]) -> Vec<std::result::Result<Vec<Picked>, String>> {
        let mut selected = Vec::with_capacity(records.len());
        if !records.is_empty() {
            self.some(records, &mut selected);
        }
        selected
    }
}

impl Selection {
    /// At most so many levels deep as the records can be halved.
    fn some(&self, records: &[&str], selected: &mut Vec<std::result::Result<Vec<Picked>, String>>) {
        match self.evaluate(records) {
            Ok(rows) => selected.extend(rows.into_iter().map(Ok)),
            Err(error) if records.len() == 1 => selected.push(Err(query::first_line(&error))),
            Err(_) => {
                let (first, second) = records.split_at(records.len() / 2);
                self.some(first, selected);
                self.some(second, selected);
            }
        }
    }

    fn evaluate(&self, records: &[&str]) -> std::result::Result<Vec<Vec<Picked>>, DataFusionError> {
        let column: ArrayRef = Arc::new(StringArray::from(records.to_vec()));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?;
        let mut rows = vec![Vec::with_capacity(self.expressions.len()); records.len()];
        for expression in &self.expressions {
            let field = expression.return_field(&self.schema)?;
            let values = match expression.evaluate(&batch)? {
                ColumnarValue::Array(array) => array,
                ColumnarValue::Scalar(scalar) => scalar.to_array_of_size(records.len())?,
            };
            for (row, picked) in rows.iter_mut().zip(picked(&field, &values)?) {
                row.push(picked);
            }
        }
        Ok(rows)
    }
}

/// The values of a column that an expression gave.
pub(super) fn picked(field: &Field, values: &ArrayRef) -> std::result::Result<Vec<Picked>, DataFusionError> {
    let is_json = variant::is_json(field);
    let as_text = |array: &ArrayRef| -> std::result::Result<Vec<Picked>, DataFusionError> {
        let array = arrow::compute::cast(array, &DataType::Utf8)?;
        let texts = array.as_string::<i32>().iter();
        Ok(texts
            .map(|text| match (text, is_json) {
                (None, _) => Picked::Null,
                (Some(text), true) => Picked::Json(text.to_owned()),
                (Some(text), false) => Picked::Text(text.to_owned()),
            })
            .collect())
    };
    let kind = values.data_type();
    if *kind == DataType::Null {
        return Ok(vec![Picked::Null; values.len()]);
    }
    if let Some(typed) = Typed::of(kind) {
        let texts = typed.texts(values, Form::Canonical);
        let pick = |text: &str| match typed {
            Typed::Vector => Picked::Json(text.to_owned()),
            Typed::Zoned => Picked::Moment(text.to_owned()),
            _ => Picked::Text(text.to_owned()),
        };
        return Ok(texts.iter().map(|text| text.map_or(Picked::Null, pick)).collect());
    }
    if matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return as_text(values);
    }
    if matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    ) {
        let bytes = arrow::compute::cast(values, &DataType::Binary)?;
        let hex = |bytes: &[u8]| Picked::Text(bytes.iter().map(|byte| format!("{byte:02X}")).collect());
        let each = bytes.as_binary::<i32>().iter();
        return Ok(each.map(|bytes| bytes.map_or(Picked::Null, hex)).collect());
    }
    let is_plain = kind.is_numeric() || *kind == DataType::Boolean;
    let format = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values.as_ref(), &format)?;
    let row = |row: usize| {
        if values.is_null(row) {
            return Picked::Null;
        }
        let mut text = formatter.value(row).to_string();
        if kind.is_floating() && text.ends_with(".0") {
            text.truncate(text.len() - 2);
        }
        match kind {
            _ if is_plain => Picked::Plain(text),
            DataType::Timestamp(..) => Picked::Moment(text),
            _ => Picked::Text(text),
        }
    };
    Ok((0..values.len()).map(row).collect())
}
