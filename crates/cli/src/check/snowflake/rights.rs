//! Each privilege that streaming wants, granted to the role itself.
//!
//! Source: Snowflake documentation, "Snowpipe Streaming high-performance architecture", required privileges; "Set up the Openflow
//! Connector for Kinesis": what a role inherits from another role is not honoured. Who owns an object has every privilege on it.

use frazil_runtime::config::Target;
use frazil_runtime::exit::Exit;
use frazil_snowflake::probe::{Held, TableKind, quoted, quoted_path};

use super::Look;
use super::names::Found;
use crate::check::finding::{Repair, Stage};

/// The volume that Snowflake keeps itself; it wants no grant.
const MANAGED_VOLUME: &str = "SNOWFLAKE_MANAGED";

impl Look<'_> {
    /// Says of each privilege whether the role has it.
    pub(super) fn rights(&mut self, found: &Found) {
        let to = self.connector.destination.clone();
        let (database, schema) = (to.database.as_str(), to.schema.as_str());
        self.right("USAGE", "DATABASE", &[database], found);
        self.right("USAGE", "SCHEMA", &[database, schema], found);
        if let Target::Pipe(pipe) = &to.target {
            self.right("OPERATE", "PIPE", &[database, schema, pipe], found);
        }
        let Some(path) = &found.table_path else {
            return;
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.right("INSERT", "TABLE", &path, found);
        let shown = found.table.as_ref().map(|(_, shown)| shown);
        if found.by_name() && shown.is_some_and(|shown| shown.schema_evolution == Some(true)) {
            self.right("EVOLVE SCHEMA", "TABLE", &path, found);
        }
        let volume = shown.filter(|shown| shown.kind == TableKind::Iceberg);
        let volume = volume.and_then(|shown| shown.volume.as_deref());
        if let Some(volume) = volume.filter(|volume| *volume != MANAGED_VOLUME) {
            self.right("USAGE", "EXTERNAL VOLUME", &[volume], found);
        }
    }

    pub(super) fn right(&mut self, privilege: &str, kind: &'static str, path: &[&str], found: &Found) {
        let Some(grants) = &self.grants else {
            return;
        };
        if found.covered.contains(&kind) {
            return;
        }
        let id = format!("{privilege} ON {kind}");
        let (place, role) = (path.join("."), &self.role);
        let what = match grants.held(privilege, kind, path) {
            Held::Direct => {
                let what = format!("role {role} has it");
                return self.book.proved(id, &place, &what);
            }
            Held::Inherited(from) => format!(
                "role {role} has it from role {from} only, and streaming honours what was granted to the role itself alone"
            ),
            Held::Not => format!("role {role} does not have it"),
        };
        let grant = format!(
            "GRANT {privilege} ON {kind} {} TO ROLE {}",
            quoted_path(path),
            quoted(role)
        );
        let repair = vec![Repair::Sql(Stage::Grant, grant)];
        self.book.refused(Exit::Unauthorized, id, &place, &what, repair);
    }
}
