//! Which columns the keys of a row go to.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::snowflake::model::ColumnDef;

/// Which columns a key fills.
pub(super) struct Columns {
    exact: HashMap<String, usize>,
    /// Empty where the case counts.
    folded: HashMap<String, Vec<usize>>,
}

impl Columns {
    pub(super) fn of(columns: &[ColumnDef], case_sensitive: bool) -> Self {
        let mut all = Self {
            exact: HashMap::new(),
            folded: HashMap::new(),
        };
        for (index, column) in columns.iter().enumerate() {
            all.exact.insert(column.name.clone(), index);
            if case_sensitive {
                continue;
            }
            all.folded
                .entry(column.name.to_uppercase())
                .or_default()
                .push(index);
        }
        all
    }

    fn of_key(&self, key: &str) -> Option<Cow<'_, [usize]>> {
        if let Some(index) = self.exact.get(key) {
            return Some(Cow::Owned(vec![*index]));
        }
        self.folded
            .get(&key.to_uppercase())
            .map(|all| Cow::Borrowed(all.as_slice()))
    }
}

/// Which columns the key at each place of the last row went to: the rows of one sender mostly have the same keys in the same
/// order, so that none is looked up twice.
#[derive(Default)]
pub(super) struct Routes(Vec<Route>);

#[derive(Default)]
pub(super) struct Route {
    key: String,
    /// In the column's own case.
    pub(super) is_exact: bool,
    pub(super) columns: Vec<usize>,
}

impl Routes {
    pub(super) fn of(&mut self, place: usize, key: &str, by_key: &Columns) -> &Route {
        let is_known = self.0.get(place).is_some_and(|route| route.key == key);
        if !is_known {
            let route = Route {
                key: key.to_owned(),
                is_exact: by_key.exact.contains_key(key),
                columns: by_key.of_key(key).map(Cow::into_owned).unwrap_or_default(),
            };
            match self.0.get_mut(place) {
                Some(there) => *there = route,
                None => self.0.push(route),
            }
        }
        &self.0[place.min(self.0.len() - 1)]
    }
}
