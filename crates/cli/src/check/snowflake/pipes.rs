//! The pipes of a table beside the first: each is there, leads into the same table, and the role may write to it.

use frazil_runtime::exit::Exit;
use frazil_snowflake::Error;
use frazil_snowflake::probe::{Copy, Sight, quoted_path};

use super::Look;
use super::names::Found;
use crate::check::finding::{Repair, Stage};

const ID: &str = "snowflake.pipe";

impl Look<'_> {
    /// Looks at all of `more_pipes` and `leaving_pipes`.
    pub(super) async fn other_pipes(&mut self, table: &[String]) -> Result<(), Error> {
        let to = self.connector.destination.clone();
        for pipe in to.more_pipes.iter().chain(&to.leaving_pipes) {
            let path = [to.database.as_str(), &to.schema, pipe];
            let place = path.join(".");
            // A table's own pipe is made and may be used with its table.
            if let Some(of) = pipe.strip_suffix("-STREAMING") {
                let of = [path[0], path[1], of].map(str::to_owned);
                self.leads_into(&place, &of, table);
                continue;
            }
            let mut found = Found::default();
            match self.probe.pipe(path[0], path[1], pipe).await? {
                Sight::Seen(shown) => {
                    let copy = Copy::read(&shown.definition);
                    match copy.and_then(|copy| copy.table_in(path[0], path[1])) {
                        Some(of) => self.leads_into(&place, &of, table),
                        None => self.book.unknowable(ID, &place, "its table cannot be read"),
                    }
                }
                Sight::OtherCase(names) => {
                    let names = names.join(", ");
                    let what = format!(
                        "there is no pipe of this name, and there is {names}: names are taken letter by letter"
                    );
                    let step = format!("write {names} instead of {pipe} into the configuration");
                    self.book
                        .refused(Exit::Missing, ID, &place, &what, vec![Repair::Step(step)]);
                    found.covered.push("PIPE");
                }
                Sight::Unseen => {
                    let what = format!(
                        "there is no pipe of this name, or role {} has no right on it",
                        self.role
                    );
                    let names: Vec<&str> = table.iter().map(String::as_str).collect();
                    let make = format!(
                        "CREATE PIPE IF NOT EXISTS {} AS COPY INTO {} FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                         MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
                        quoted_path(&path),
                        quoted_path(&names)
                    );
                    let repair = vec![
                        Repair::Sql(Stage::Pipe, make),
                        self.grant("OPERATE", "PIPE", &path),
                    ];
                    self.book.refused(Exit::Missing, ID, &place, &what, repair);
                    found.covered.push("PIPE");
                }
            }
            self.right("OPERATE", "PIPE", &path, &found);
        }
        Ok(())
    }

    fn leads_into(&mut self, place: &str, of: &[String; 3], table: &[String]) {
        let leaves = self
            .connector
            .destination
            .leaving_pipes
            .iter()
            .any(|pipe| place.ends_with(&format!(".{pipe}")));
        if leaves && of != table {
            let what = format!("its shards leave it; it leads into {}", of.join("."));
            return self.book.proved(ID, place, &what);
        }
        if of == table {
            return self.book.proved(ID, place, "it leads into the same table");
        }
        let what = format!("it leads into {}, and not into {}", of.join("."), table.join("."));
        let step = format!("take {place} out of `destination.more_pipes`");
        self.book
            .refused(Exit::Usage, ID, place, &what, vec![Repair::Step(step)]);
    }
}
