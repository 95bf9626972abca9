//! Database, schema, table and pipe: there, there in another case, or not to be seen.

use frazil_runtime::config::Target;
use frazil_runtime::exit::Exit;
use frazil_snowflake::Error;
use frazil_snowflake::probe::{Copy, CopyShape, ShownPipe, ShownTable, Sight, quoted, quoted_path};

use super::Look;
use crate::check::finding::{Repair, Stage};

/// What was found of the destination.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The table's full name and what it is.
    pub(super) table: Option<(Vec<String>, ShownTable)>,
    /// The table's full name, seen or not.
    pub(super) table_path: Option<Vec<String>>,
    /// The COPY statement of a pipe: that of the configuration, or of a default pipe that is there already.
    pub(super) copy: Option<Copy>,
    /// Kinds whose finding holds the grant already.
    pub(super) covered: Vec<&'static str>,
    /// Whether the table's or pipe's name is a finding by itself.
    pub(super) told_missing: bool,
}

impl Found {
    /// Whether rows are made by the names of keys. A default pipe that is not there yet goes by names.
    pub(super) fn by_name(&self) -> bool {
        self.copy
            .as_ref()
            .is_none_or(|copy| copy.shape == CopyShape::ByName)
    }
}

/// What a name is looked for as.
struct Wanted<'a> {
    kind: &'static str,
    id: &'static str,
    /// The key of the configuration that names it.
    key: &'static str,
    path: Vec<&'a str>,
    /// What makes it, where it is not there, and gives the rights that it takes to see it.
    repair: Vec<Repair>,
}

fn statement(stage: Stage, text: String) -> Repair {
    Repair::Sql(stage, text)
}

impl Look<'_> {
    pub(super) fn grant(&self, privilege: &str, kind: &str, path: &[&str]) -> Repair {
        let (on, role) = (quoted_path(path), quoted(&self.role));
        statement(
            Stage::Grant,
            format!("GRANT {privilege} ON {kind} {on} TO ROLE {role}"),
        )
    }

    /// Says what became of a name; whether there is something under it.
    fn name<T>(&mut self, wanted: Wanted<'_>, sight: Sight<T>, found: &mut Found) -> Option<T> {
        let place = wanted.path.join(".");
        let kind = wanted.kind.to_lowercase();
        match sight {
            Sight::Seen(seen) => {
                self.book
                    .proved(wanted.id, &place, &format!("the {kind} is there"));
                Some(seen)
            }
            Sight::OtherCase(names) => {
                let what = format!(
                    "there is no {kind} of this name, and there is {}: names are taken letter by letter",
                    names.join(", ")
                );
                let (key, value) = (wanted.key, names.into_iter().next().unwrap_or_default());
                let repair = vec![Repair::Configuration { key, value }];
                self.book.refused(Exit::Missing, wanted.id, &place, &what, repair);
                found.told_missing = true;
                // What lies within is not looked for under a wrong name.
                let within: &[&str] = match wanted.kind {
                    "DATABASE" => &["DATABASE", "SCHEMA", "TABLE", "PIPE"],
                    "SCHEMA" => &["SCHEMA", "TABLE", "PIPE"],
                    "PIPE" => &["PIPE", "TABLE"],
                    _ => &["TABLE"],
                };
                found.covered.extend(within);
                None
            }
            Sight::Unseen
                if self
                    .grants
                    .as_ref()
                    .is_some_and(|grants| grants.prove(&wanted.path)) =>
            {
                let what = format!("the {kind} is there: a grant of the role says so");
                self.book.proved(wanted.id, &place, &what);
                None
            }
            Sight::Unseen => {
                let what = format!(
                    "there is no {kind} of this name, or role {} has no right on it",
                    self.role
                );
                self.book
                    .refused(Exit::Missing, wanted.id, &place, &what, wanted.repair);
                found.covered.push(wanted.kind);
                found.told_missing |= matches!(wanted.kind, "TABLE" | "PIPE");
                None
            }
        }
    }

    /// Looks for all names.
    pub(super) async fn names(&mut self) -> Result<Found, Error> {
        let to = self.connector.destination.clone();
        let mut found = Found::default();
        let (database, schema) = (to.database.as_str(), to.schema.as_str());
        let sight = self.probe.database(database).await?;
        let make = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(database));
        let wanted = Wanted {
            kind: "DATABASE",
            id: "snowflake.database",
            key: "destination.database",
            path: vec![database],
            repair: vec![
                statement(Stage::Database, make),
                self.grant("USAGE", "DATABASE", &[database]),
            ],
        };
        let mut visible = self.name(wanted, sight, &mut found).is_some();
        if found.told_missing {
            return Ok(found);
        }
        let sight = match visible {
            true => self.probe.schema(database, schema).await?,
            false => Sight::Unseen,
        };
        let path = vec![database, schema];
        let make = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted_path(&path));
        let wanted = Wanted {
            kind: "SCHEMA",
            id: "snowflake.schema",
            key: "destination.schema",
            repair: vec![
                statement(Stage::Schema, make),
                self.grant("USAGE", "SCHEMA", &path),
            ],
            path,
        };
        visible = self.name(wanted, sight, &mut found).is_some() && visible;
        if found.told_missing {
            return Ok(found);
        }
        match &to.target {
            Target::Table(table) => {
                self.table_name(&[database, schema, table], visible, &mut found)
                    .await?
            }
            Target::Pipe(pipe) => {
                self.pipe_name(&[database, schema, pipe], visible, &mut found)
                    .await?
            }
        }
        Ok(found)
    }

    /// What makes a table for the connector, and lets its role write to it.
    fn table_repair(&self, path: &[&str]) -> Vec<Repair> {
        let metadata = quoted(&self.connector.metadata.key.to_uppercase());
        let make = format!(
            "CREATE TABLE IF NOT EXISTS {} ({metadata} OBJECT) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE",
            quoted_path(path)
        );
        vec![
            statement(Stage::Table, make),
            self.grant("INSERT", "TABLE", path),
            self.grant("EVOLVE SCHEMA", "TABLE", path),
        ]
    }

    async fn table_name(&mut self, path: &[&str; 3], visible: bool, found: &mut Found) -> Result<(), Error> {
        let [database, schema, table] = *path;
        let sight = match visible {
            true => self.probe.table(database, schema, table).await?,
            false => Sight::Unseen,
        };
        let wanted = Wanted {
            kind: "TABLE",
            id: "snowflake.table",
            key: "destination.table",
            path: path.to_vec(),
            repair: self.table_repair(path),
        };
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        found.table_path = Some(path.clone());
        if let Some(shown) = self.name(wanted, sight, found) {
            found.table = Some((path, shown));
            // The default pipe of an interactive table may have a SELECT of its own.
            let pipe = self
                .probe
                .pipe(database, schema, &format!("{table}-STREAMING"))
                .await?;
            if let Sight::Seen(ShownPipe { definition }) = pipe {
                found.copy = Copy::read(&definition);
            }
        }
        Ok(())
    }

    /// What makes a pipe, if there is just one table that it could be for.
    async fn pipe_repair(&self, path: &[&str; 3], visible: bool) -> Result<Vec<Repair>, Error> {
        let [database, schema, pipe] = *path;
        let tables = match visible {
            true => self.probe.tables(database, schema).await?,
            false => Vec::new(),
        };
        if tables.iter().any(|table| table == pipe) {
            let step = format!(
                "there is a table {pipe}: if its default pipe is meant, write `table: {pipe}` instead of `pipe: {pipe}`"
            );
            return Ok(vec![Repair::Step(step)]);
        }
        let make = match tables.as_slice() {
            [table] => statement(
                Stage::Pipe,
                format!(
                    "CREATE PIPE IF NOT EXISTS {} AS COPY INTO {} FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                     MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
                    quoted_path(path),
                    quoted_path(&[database, schema, table])
                ),
            ),
            _ => Repair::Step(format!(
                "make the pipe, if it is not there: CREATE PIPE {} AS COPY INTO <table> FROM TABLE(DATA_SOURCE(TYPE => \
                 'STREAMING')) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
                quoted_path(path)
            )),
        };
        Ok(vec![make, self.grant("OPERATE", "PIPE", path)])
    }

    async fn pipe_name(&mut self, path: &[&str; 3], visible: bool, found: &mut Found) -> Result<(), Error> {
        let [database, schema, pipe] = *path;
        let sight = match visible {
            true => self.probe.pipe(database, schema, pipe).await?,
            false => Sight::Unseen,
        };
        let wanted = Wanted {
            kind: "PIPE",
            id: "snowflake.pipe",
            key: "destination.pipe",
            path: path.to_vec(),
            repair: self.pipe_repair(path, visible).await?,
        };
        let Some(ShownPipe { definition }) = self.name(wanted, sight, found) else {
            return Ok(());
        };
        let Some(copy) = Copy::read(&definition) else {
            return Ok(());
        };
        let full = copy.table_in(database, schema);
        found.copy = Some(copy);
        let Some(full) = full else {
            return Ok(());
        };
        let [database, schema, table] = &full;
        found.table_path = Some(full.to_vec());
        match self.probe.table(database, schema, table).await? {
            Sight::Seen(shown) => {
                let place = full.join(".");
                self.book
                    .proved("snowflake.table", &place, "the table of the pipe is there");
                found.table = Some((full.to_vec(), shown));
            }
            Sight::OtherCase(_) | Sight::Unseen => {}
        }
        Ok(())
    }
}
