//! Rows into columns: accepted NDJSON and a table's definition make a record batch, counts, and new columns.
//!
//! What it is: the default pipe's behaviour (Snowflake documentation, "Snowpipe Streaming high-performance architecture",
//! "Schema evolution", "MATCH_BY_COLUMN_NAME"): top-level keys go to the columns of their name, the exact case first, then
//! every column that equals it ignoring case; a missing key takes the column's DEFAULT or NULL; a key without a column is
//! dropped, or becomes a column (upper case, type inferred from the values of this commit) where schema evolution is on.
//!
//! A row fails alone: invalid JSON, a duplicate key, a value its column does not take, NULL for NOT NULL (which evolution
//! drops instead). Only more than 100 new columns in a batch, or a name that is none, invalidate the channel.
//!
//! It is pure: no clock, no files.

mod cell;
mod column;
pub(crate) mod decfloat;
mod disputed;
mod evolution;
mod flat;
pub(crate) mod json;
mod keys;
mod lines;
mod mapping;
pub(crate) mod moment;
pub(crate) mod moments;
mod number;
mod parts;
mod refusal;
mod terms;
mod typed;
mod value;
pub(crate) mod vector;
pub(crate) mod zoned;

use std::borrow::Cow;
use std::collections::HashSet;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::cell::{Cell, Misfit, coerce_text};
use self::column::{ColumnBuilder, stored_fields};
use self::disputed::coerce_as;
use self::evolution::evolve;
use self::json::Raw;
use self::keys::{Columns, Route, Routes};
use self::lines::{Parsed, parse_all};
use super::behaviours::{Behaviours, Other};
use super::model::{ColumnDef, DataType, TableDef, TableKind};

pub(crate) use self::cell::MAX_VARCHAR;
pub use self::column::{TYPE_KEY, field, stored_field};
pub(crate) use self::flat::{Element, How, flatten};
pub use self::mapping::{Mapping, Picked, Select};
pub(crate) use self::parts::JSON_DOC;
pub use self::parts::parts_as_json;
pub use self::refusal::{Content, Refusal, RefusedRow};
pub use self::terms::{Numbers, Terms};
pub(crate) use self::typed::{Form, Typed};
pub use self::value::{Value, cast, is_far, is_far_number, is_in_range, is_moment, moment_of, unhex};

/// The rows of one accepted batch.
#[derive(Debug, Clone, Copy)]
pub struct AcceptedRows<'a> {
    /// Lines of JSON.
    pub ndjson: &'a [u8],
}

impl AcceptedRows<'_> {
    /// How many lines there are at most.
    #[must_use]
    pub fn lines(&self) -> usize {
        1 + self.ndjson.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Lines that are not blank.
    pub parsed: u64,
    /// Rows in the record batch.
    pub inserted: u64,
    /// Rows that failed.
    pub errors: u64,
    /// Why the last of them did; no row data.
    pub last_error: Option<String>,
}

/// A batch that invalidates its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Which.
    pub batch: usize,
    /// The channel's status code.
    pub code: String,
    /// Why.
    pub message: String,
}

/// What became of the rows.
#[derive(Debug)]
pub struct Converted<'a> {
    /// Columns in table order, new ones last.
    pub record_batch: RecordBatch,
    /// Columns to add.
    pub added_columns: Vec<ColumnDef>,
    /// Columns that lose NOT NULL.
    pub dropped_not_null: Vec<String>,
    /// The next values of IDENTITY columns that gave some, by their places.
    pub identities: Vec<(usize, i64)>,
    /// Columns of timestamps that are kept in microseconds from now on, by their places; a new column says it itself.
    pub micros: Vec<usize>,
    /// One for each batch.
    pub per_batch: Vec<BatchCounts>,
    /// The lines that failed, in order, where the table keeps them.
    pub refused: Vec<RefusedRow<'a>>,
    /// With this, nothing else counts.
    pub invalid: Option<Invalid>,
}

type Fields<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

/// The arrow schema of a table's rows as they are stored.
#[must_use]
pub fn schema(columns: &[ColumnDef]) -> SchemaRef {
    Schema::new(columns.iter().flat_map(stored_fields).collect::<Vec<_>>()).into()
}

/// Turns the rows of some batches into columns.
#[must_use]
pub fn convert<'a>(
    table: &TableDef,
    mapping: Mapping<'_>,
    batches: &[AcceptedRows<'a>],
    terms: Terms<'_>,
) -> Converted<'a> {
    let mut outcome = Outcomes {
        per_batch: vec![BatchCounts::default(); batches.len()],
        keeps: table.error_logging,
        refused: Vec::new(),
    };
    let parsed = parse_all(batches, &mut outcome, terms.behaviours.has(Other::LastTwin));
    let mut columns = table.columns.clone();
    let mut invalid = None;
    if let (true, Mapping::ByName { case_sensitive }) = (terms.evolve(table), mapping) {
        match evolve(table, case_sensitive, &parsed, batches.len(), terms) {
            Ok(added) => columns.extend(added),
            Err(found) => invalid = Some(found),
        }
    }
    let mut work = Work::new(table, mapping, &columns, terms);
    if invalid.is_none() {
        let mut note = |row: &Parsed<'a>, done: Result<(), Refusal>| match done {
            Ok(()) => outcome.inserted(row.batch),
            Err(refusal) => outcome.refused(row.batch, row.line, refusal),
        };
        match mapping {
            Mapping::ByName { .. } => {
                for row in &parsed {
                    note(row, work.row(&row.fields));
                }
            }
            Mapping::Select(select) => {
                let records: Vec<&str> = parsed.iter().map(|row| row.text).collect();
                for (row, selected) in parsed.iter().zip(select.select(&records)) {
                    let done = match selected {
                        Ok(picked) => work.selected(select.targets(), &picked),
                        Err(message) => Err(Refusal::failed(&message)),
                    };
                    note(row, done);
                }
            }
            Mapping::Broken(message) => {
                for row in &parsed {
                    note(row, Err(Refusal::broken_pipe(message)));
                }
            }
        }
    }
    let built = work.finish();
    for place in &built.micros {
        if let Some(column) = columns.get_mut(*place) {
            column.micros = true;
        }
    }
    let added_columns = columns.split_off(table.columns.len());
    // Those that are no JSON were found first; a batch's lines stand in one piece of memory, in order.
    outcome.refused.sort_by_key(|row| (row.batch, row.line.as_ptr()));
    Converted {
        record_batch: built.rows,
        added_columns,
        dropped_not_null: built.dropped_not_null,
        identities: built.identities,
        micros: built.micros,
        per_batch: outcome.per_batch,
        refused: outcome.refused,
        invalid,
    }
}

/// Turns the rows of a statement into columns, all or none.
///
/// # Errors
/// Why the first row that is none does not become one.
pub fn insert(
    table: &TableDef,
    targets: &[usize],
    rows: &[Vec<Picked>],
    now_ms: i64,
    numbers: &[Numbers],
) -> Result<Inserted, Refusal> {
    let mut work = Work::new(
        table,
        Mapping::Broken(""),
        &table.columns,
        Terms {
            numbers,
            ..Terms::at(now_ms)
        },
    );
    for row in rows {
        work.selected(targets, row)?;
    }
    let built = work.finish();
    Ok(Inserted {
        rows: built.rows,
        identities: built.identities,
        micros: built.micros,
    })
}

/// The rows of a statement.
#[derive(Debug)]
pub struct Inserted {
    /// Columns in table order.
    pub rows: RecordBatch,
    /// As [`Converted::identities`].
    pub identities: Vec<(usize, i64)>,
    /// As [`Converted::micros`].
    pub micros: Vec<usize>,
}

/// What became of the lines so far.
struct Outcomes<'a> {
    per_batch: Vec<BatchCounts>,
    /// Whether refused lines are kept.
    keeps: bool,
    refused: Vec<RefusedRow<'a>>,
}

impl<'a> Outcomes<'a> {
    fn inserted(&mut self, batch: usize) {
        if let Some(counts) = self.per_batch.get_mut(batch) {
            counts.inserted += 1;
        }
    }

    fn refused(&mut self, batch: usize, line: &'a [u8], refusal: Refusal) {
        if let Some(counts) = self.per_batch.get_mut(batch) {
            counts.errors += 1;
            counts.last_error = Some(refusal.reason.clone());
        }
        if self.keeps {
            self.refused.push(RefusedRow { batch, line, refusal });
        }
    }
}

/// A column's DEFAULT, ready to be used for each row.
fn default_cell(column: &ColumnDef, now_ms: i64) -> Option<Cell<'static>> {
    let text = column.default.as_deref()?.trim();
    let upper = text.to_uppercase();
    if upper.starts_with("CURRENT_TIMESTAMP") || upper.starts_with("SYSDATE") {
        return Some(Cell::Moment(i128::from(now_ms) * 1_000_000));
    }
    if upper == "NULL" {
        return Some(Cell::Null);
    }
    if text.ends_with(".NEXTVAL") {
        return None;
    }
    let inner = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let value = inner.map_or_else(|| text.to_owned(), |inner| inner.replace("''", "'"));
    coerce_text(&value, &column.data_type).ok().map(Cell::into_owned)
}

/// What came of the rows.
struct Built {
    rows: RecordBatch,
    dropped_not_null: Vec<String>,
    identities: Vec<(usize, i64)>,
    micros: Vec<usize>,
}

struct Work<'t> {
    evolution: bool,
    /// Iceberg's own timestamps of nanoseconds are 64 bits.
    is_iceberg: bool,
    behaviours: Behaviours,
    columns: &'t [ColumnDef],
    by_key: Columns,
    routes: Routes,
    defaults: Vec<Option<Cell<'static>>>,
    builders: Vec<ColumnBuilder>,
    /// The next value of each IDENTITY column.
    identities: Vec<Option<i64>>,
    /// What the sequence of each column gives, where it has one.
    numbers: Vec<Option<Numbers>>,
    rows: usize,
    dropped_not_null: HashSet<usize>,
}

impl<'t> Work<'t> {
    fn new(table: &TableDef, mapping: Mapping<'_>, columns: &'t [ColumnDef], terms: Terms<'_>) -> Self {
        let mut numbers = vec![None; columns.len()];
        for of_column in terms.numbers {
            if let Some(place) = numbers.get_mut(of_column.place) {
                *place = Some(*of_column);
            }
        }
        let by_name = matches!(mapping, Mapping::ByName { .. });
        let case_sensitive = matches!(mapping, Mapping::ByName { case_sensitive: true });
        Self {
            evolution: terms.evolve(table) && by_name,
            is_iceberg: table.kind == TableKind::Iceberg,
            behaviours: terms.behaviours,
            by_key: Columns::of(columns, case_sensitive),
            routes: Routes::default(),
            defaults: columns
                .iter()
                .map(|column| default_cell(column, terms.time_ms))
                .collect(),
            builders: columns.iter().map(ColumnBuilder::new).collect(),
            identities: columns
                .iter()
                .map(|column| column.identity.map(|(next, _)| next))
                .collect(),
            columns,
            numbers,
            rows: 0,
            dropped_not_null: HashSet::new(),
        }
    }

    /// Adds a row, or nothing.
    fn row(&mut self, fields: &Fields<'_>) -> Result<(), Refusal> {
        let mut cells: Vec<Option<Cell<'_>>> = vec![None; self.columns.len()];
        for (place, (key, value)) in fields.iter().enumerate() {
            let Route {
                is_exact, columns, ..
            } = self.routes.of(place, key, &self.by_key);
            for index in columns.iter().copied() {
                let (Some(column), Some(cell)) = (self.columns.get(index), cells.get_mut(index)) else {
                    continue;
                };
                // A key in the column's own case is not overwritten by its twin.
                if cell.is_some() && !is_exact {
                    continue;
                }
                *cell = Some(
                    coerce_as(value, &column.data_type, self.behaviours)
                        .map_err(|why| Refusal::misfit(column, value.text, why))?,
                );
            }
        }
        self.push(cells)
    }

    /// Adds a row of selected values, or nothing.
    fn selected(&mut self, targets: &[usize], picked: &[Picked]) -> Result<(), Refusal> {
        let mut cells: Vec<Option<Cell<'_>>> = vec![None; self.columns.len()];
        for (index, picked) in targets.iter().zip(picked) {
            let (Some(column), Some(cell)) = (self.columns.get(*index), cells.get_mut(*index)) else {
                continue;
            };
            let value = picked.value();
            let fitted = value::fit(value, &column.data_type);
            *cell = Some(fitted.map_err(|why| Refusal::misfit(column, value::shown(value), why))?);
        }
        self.push(cells)
    }

    /// Adds a row: what is missing takes its DEFAULT or the next value of its IDENTITY, else NULL.
    fn push(&mut self, mut cells: Vec<Option<Cell<'_>>>) -> Result<(), Refusal> {
        for ((cell, default), (index, column)) in cells
            .iter_mut()
            .zip(&self.defaults)
            .zip(self.columns.iter().enumerate())
        {
            if cell.is_none() {
                cell.clone_from(default);
            }
            if let (None, Some(Some(numbers))) = (&cell, self.numbers.get_mut(index)) {
                *cell = Some(numbers.next(column)?);
            }
            let far = cell.as_ref().and_then(Cell::far);
            if let Some(nanos) = far.filter(|_| self.is_iceberg && is_near_only(column)) {
                let shown = moment::clock(nanos).to_string();
                return Err(Refusal::misfit(column, &shown, Misfit::Moment));
            }
            let is_null = matches!(cell, None | Some(Cell::Null));
            let is_given = cell.is_none() && column.identity.is_some();
            if is_null && !is_given && !column.nullable {
                if !self.evolution {
                    return Err(Refusal::null(column));
                }
                self.dropped_not_null.insert(index);
            }
        }
        // From here on nothing fails: a row that is refused takes no value of an IDENTITY.
        let identities = self.identities.iter_mut().zip(self.columns);
        for ((builder, cell), (next, column)) in self.builders.iter_mut().zip(cells).zip(identities) {
            let given = match (&cell, next, column.identity) {
                (None, Some(next), Some((_, step))) => {
                    let value = *next;
                    *next = next.saturating_add(step);
                    Some(Cell::Number(i128::from(value)))
                }
                _ => cell,
            };
            builder.push(given.unwrap_or(Cell::Null));
        }
        self.rows += 1;
        Ok(())
    }

    fn moved_identities(&self) -> Vec<(usize, i64)> {
        let all = self.identities.iter().zip(self.columns).enumerate();
        let moved = all.filter_map(|(place, (next, column))| {
            let (first, _) = column.identity?;
            next.filter(|next| *next != first).map(|next| (place, next))
        });
        moved.collect()
    }

    fn finish(self) -> Built {
        let identities = self.moved_identities();
        let mut columns = self.columns.to_vec();
        let mut micros = Vec::new();
        for (place, (column, builder)) in columns.iter_mut().zip(&self.builders).enumerate() {
            if builder.is_micros() && !column.micros {
                column.micros = true;
                micros.push(place);
            }
        }
        let builders = self.builders.into_iter();
        let arrays = builders.flat_map(ColumnBuilder::finish_all).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let rows = RecordBatch::try_new_with_options(schema(&columns), arrays, &options);
        let dropped = columns
            .iter()
            .enumerate()
            .filter(|(index, _)| self.dropped_not_null.contains(index));
        Built {
            rows: rows.expect("each column was built for its field, all with one cell a row"),
            dropped_not_null: dropped.map(|(_, column)| column.name.clone()).collect(),
            identities,
            micros,
        }
    }
}

/// Whether a column has no place for a timestamp of before 1677 or behind 2262.
fn is_near_only(column: &ColumnDef) -> bool {
    matches!(
        column.data_type,
        DataType::TimestampNtz { scale: 7.. } | DataType::TimestampLtz { scale: 7.. }
    )
}

#[cfg(test)]
mod tests;
