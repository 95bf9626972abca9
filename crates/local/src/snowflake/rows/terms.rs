//! What a conversion goes by beside its table and mapping: times, chosen answers, numbers of sequences.

use super::Refusal;
use super::cell::{Cell, coerce_text};
use crate::snowflake::behaviours::{Behaviours, Other};
use crate::snowflake::model::{ColumnDef, TableDef, TableKind};

/// What a conversion goes by beside its table and mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'t> {
    /// The commit, in milliseconds since 1970.
    pub now_ms: i64,
    /// What a DEFAULT of the current time gives.
    pub time_ms: i64,
    /// The answers to what documents and tests disagree on.
    pub behaviours: Behaviours,
    /// Numbers for the columns whose DEFAULT takes them of a sequence, one for each row at least.
    pub numbers: &'t [Numbers],
}

/// Numbers that a sequence gave for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The column's place.
    pub place: usize,
    /// The first number and the step to the next; `None` if the sequence is gone or used up.
    pub range: Option<(i64, i64)>,
}

impl Numbers {
    /// The next one as a cell. A row that is refused behind it leaves a gap.
    pub(super) fn next(&mut self, column: &ColumnDef) -> Result<Cell<'static>, Refusal> {
        let (next, step) = self.range.as_mut().ok_or_else(|| Refusal::no_number(column))?;
        let text = next.to_string();
        *next = next.wrapping_add(*step);
        let cell = coerce_text(&text, &column.data_type);
        cell.map(Cell::into_owned)
            .map_err(|why| Refusal::misfit(column, &text, why))
    }
}

impl Terms<'_> {
    /// A commit at this moment, with the default answers.
    #[must_use]
    pub fn at(now_ms: i64) -> Self {
        Self {
            now_ms,
            time_ms: now_ms,
            behaviours: Behaviours::default(),
            numbers: &[],
        }
    }

    /// Whether keys may make columns of this table.
    pub(super) fn evolve(&self, table: &TableDef) -> bool {
        let kept_as_it_is = match table.kind {
            TableKind::Standard => false,
            TableKind::Iceberg => self.behaviours.has(Other::NoIcebergEvolution),
            TableKind::Interactive => self.behaviours.has(Other::NoInteractiveEvolution),
        };
        table.schema_evolution && !kept_as_it_is
    }
}
