//! Whole tables in memory, with the manners of the real ones: a table that is made or deleted is not so at once.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{MemoryLeases, Operation, Table as Rows};
use crate::admin::{Layout, Page, PageKey, Table, TableAdmin};
use crate::error::Error;
use crate::row::{Attribute, Item};

/// Rows on one page of a scan.
const PAGE: usize = 100;

/// What is known of a table beside its rows of our layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was deleted; it is still shown as being deleted for this many looks.
    Gone { looks: u32 },
    /// It has our layout; it is shown as being made for this many looks.
    Ours { looks: u32 },
    /// It has another layout, and these rows.
    Other { layout: Layout, items: Vec<Item> },
}

impl MemoryLeases {
    /// Puts a table in place of whatever stands under this name; one of our layout is empty.
    pub fn put_table(&self, table: &str, layout: Layout, items: Vec<Item>) {
        let mut tables = self.locked();
        tables.rows.0.retain(|(name, _), _| name != table);
        let standing = match layout {
            Layout::Lease => Standing::Ours { looks: 0 },
            layout => Standing::Other { layout, items },
        };
        tables.standing.insert(table.to_owned(), standing);
    }

    /// Changes the rows of a table of another layout, as its own program does.
    pub fn change_table(&self, table: &str, change: impl FnOnce(&mut Vec<Item>)) {
        if let Some(Standing::Other { items, .. }) = self.locked().standing.get_mut(table) {
            change(items);
        }
    }

    /// Deletes a table at once, as an operator may.
    pub fn remove_table(&self, table: &str) {
        let mut tables = self.locked();
        tables.rows.0.retain(|(name, _), _| name != table);
        tables
            .standing
            .insert(table.to_owned(), Standing::Gone { looks: 0 });
    }

    /// How many calls began, over all doors.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.locked().counts.values().sum()
    }

    /// Whether a table of this name stands, and its layout.
    #[must_use]
    pub fn layout(&self, table: &str) -> Option<Layout> {
        self.locked().layout(table)
    }

    /// From here on the `after`-th next call of this door and all later ones never answer, as if its process had died; that
    /// call itself takes effect where `lands` says so.
    pub fn die_after(&self, after: u64, lands: bool) {
        self.death.send_replace(Some((after, lands)));
    }

    /// Returns once a call did not answer because of [`MemoryLeases::die_after`].
    pub async fn died(&self) {
        let mut death = self.death.subscribe();
        drop(death.wait_for(|death| matches!(death, Some((0, _)))).await);
    }
}

impl Rows {
    fn layout(&self, table: &str) -> Option<Layout> {
        match self.standing.get(table) {
            Some(Standing::Gone { .. }) => None,
            Some(Standing::Ours { .. }) => Some(Layout::Lease),
            Some(Standing::Other { layout, .. }) => Some(layout.clone()),
            None => {
                let mut names = self.rows.0.keys();
                names.any(|(name, _)| name == table).then_some(Layout::Lease)
            }
        }
    }

    fn describe(&mut self, table: &str) -> Option<Table> {
        let not_ready = match self.standing.get_mut(table) {
            Some(Standing::Gone { looks }) if *looks > 0 => {
                *looks -= 1;
                let not_ready = Some("DELETING".to_owned());
                return Some(Table {
                    layout: Layout::Lease,
                    not_ready,
                });
            }
            Some(Standing::Ours { looks }) if *looks > 0 => {
                *looks -= 1;
                Some("CREATING".to_owned())
            }
            _ => None,
        };
        self.layout(table).map(|layout| Table { layout, not_ready })
    }

    fn create(&mut self, table: &str) {
        if self.layout(table).is_none() {
            self.standing
                .insert(table.to_owned(), Standing::Ours { looks: 1 });
        }
    }

    fn delete(&mut self, table: &str) {
        if self.layout(table).is_some() {
            self.rows.0.retain(|(name, _), _| name != table);
            self.standing
                .insert(table.to_owned(), Standing::Gone { looks: 1 });
        }
    }

    /// Rows of other layouts have their own keys; a page key only counts them here.
    fn scan(&self, table: &str, from: Option<&PageKey>) -> Result<Page, Error> {
        let all: Vec<&Item> = match self.standing.get(table) {
            Some(Standing::Gone { .. }) => return Err(missing(table)),
            Some(Standing::Other { items, .. }) => items.iter().collect(),
            _ => {
                let parts = self.rows.0.iter().filter(|((name, _), _)| name == table);
                parts.flat_map(|(_, rows)| rows.values()).collect()
            }
        };
        let skip = match from.and_then(|PageKey(key)| key.get("skip")) {
            Some(Attribute::N(skip)) => skip.parse().unwrap_or(0),
            _ => 0,
        };
        let items: Vec<Item> = all
            .iter()
            .skip(skip)
            .take(PAGE)
            .map(|item| (*item).clone())
            .collect();
        let end = skip + items.len();
        let next =
            (end < all.len()).then(|| PageKey(BTreeMap::from([("skip".to_owned(), Attribute::number(end))])));
        Ok(Page { items, next })
    }
}

pub(super) fn missing(table: &str) -> Error {
    Error::TableMissing {
        table: table.to_owned(),
    }
}

#[async_trait]
impl TableAdmin for MemoryLeases {
    async fn describe(&self, table: &str) -> Result<Option<Table>, Error> {
        let table = table.to_owned();
        self.perform(Operation::Describe, move |tables| tables.describe(&table))
            .await
    }

    async fn create(&self, table: &str) -> Result<(), Error> {
        let table = table.to_owned();
        self.perform(Operation::Create, move |tables| tables.create(&table))
            .await
    }

    async fn delete(&self, table: &str) -> Result<(), Error> {
        let table = table.to_owned();
        self.perform(Operation::Delete, move |tables| tables.delete(&table))
            .await
    }

    async fn scan(&self, table: &str, from: Option<PageKey>) -> Result<Page, Error> {
        let table = table.to_owned();
        let work = move |tables: &mut Rows| tables.scan(&table, from.as_ref());
        self.perform(Operation::Scan, work).await?
    }
}
