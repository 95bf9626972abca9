//! Rows with conditional updates, kept by ourselves: what the table in memory and the state file have in common.

use std::collections::BTreeMap;

use crate::row::{Attribute, Item, name};
use crate::store::{Scope, Written};
use crate::update::Update;

/// The rows of one stream of one application, by range key.
pub(crate) type Part = BTreeMap<String, Item>;

/// Rows by application and stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowTable(pub(crate) BTreeMap<(String, String), Part>);

impl RowTable {
    pub(crate) fn part(&mut self, scope: &Scope) -> &mut Part {
        self.0
            .entry((scope.application.clone(), scope.stream.to_string()))
            .or_default()
    }

    pub(crate) fn rows(&self, scope: &Scope, prefix: &str) -> Vec<Item> {
        let part = self.0.get(&(scope.application.clone(), scope.stream.to_string()));
        let rows = part
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.starts_with(prefix));
        rows.map(|(_, row)| row.clone()).collect()
    }

    pub(crate) fn row(&self, scope: &Scope, key: &str) -> Option<Item> {
        let part = self
            .0
            .get(&(scope.application.clone(), scope.stream.to_string()))?;
        part.get(key).cloned()
    }

    /// A missing row has no attributes, and is made.
    pub(crate) fn update(&mut self, scope: &Scope, update: &Update) -> Written {
        let rows = self.part(scope);
        let stood = rows.get(&update.key);
        let empty = Item::new();
        if !update.holds(stood.unwrap_or(&empty)) {
            return Written::Refused(stood.cloned());
        }
        let row = rows.entry(update.key.clone()).or_insert_with(|| {
            let keys = [
                (name::STREAM_NAME, scope.stream.as_str()),
                (name::SHARD_ID, update.key.as_str()),
            ];
            keys.map(|(name, value)| (name.to_owned(), Attribute::text(value)))
                .into()
        });
        update.apply(row);
        Written::Done
    }
}
