//! Where a takeover stands, by the tables alone.

use std::time::Duration;

use super::Migration;
use super::marker::Marker;
use crate::admin::Layout;
use crate::error::Error;
use crate::row::PIN_KEY;

/// How often a waiting run looks.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Copy from the source, prove, and (under the same name) delete the source.
    Copy(Layout),
    /// The lease table is gone or incomplete, and its proved copy stands.
    Restore,
    /// The lease table is complete, and the copy is left over.
    Clean,
}

/// The tables as they stand.
pub(super) struct Standing {
    pub(super) step: Step,
    pub(super) marker: Option<Marker>,
}

impl Migration {
    /// Finds the next step. Every way through the tables ends here, so that a crash is met as any other start.
    pub(super) async fn standing(&self) -> Result<Standing, Error> {
        let began = self.clock.now();
        loop {
            let standing = if self.in_place() {
                self.standing_in_place().await
            } else {
                self.standing_beside().await
            };
            match standing {
                // Another run deleted a table meanwhile, or some of the service's doors do not know a new one yet.
                Err(Error::TableMissing { .. } | Error::Rejected { .. })
                    if self.clock.now().since(began) < self.options.patience =>
                {
                    self.clock.sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    async fn standing_in_place(&self) -> Result<Standing, Error> {
        let (application, work) = (&self.options.application, self.work_table());
        let table = self.settled(application).await?;
        let copy = self.settled(&work).await?;
        let ours = copy.as_ref().is_some_and(|copy| copy.layout == Layout::Lease);
        let marker = if ours { self.marker(&work).await? } else { None };
        let proved = marker.as_ref().is_some_and(|marker| marker.copied.is_some());
        let step = match table.map(|table| table.layout) {
            Some(layout @ (Layout::ClientLibrary | Layout::RedpandaConnect)) => match copy {
                Some(copy) if copy.layout != Layout::Lease => {
                    return Err(self.refuse(format!(
                        "table {work} is in the way: its layout is {}; delete it, or take over to another application name",
                        copy.layout
                    )));
                }
                _ => Step::Copy(layout),
            },
            Some(Layout::Lease) if !ours => Step::Nothing,
            Some(Layout::Lease) => match (self.row(application, PIN_KEY).await?.is_some(), proved) {
                (true, true) => Step::Clean,
                (false, true) => Step::Restore,
                (true, false) => Step::Nothing,
                (false, false) => {
                    return Err(self.refuse(format!(
                        "table {work} stands beside {application} and holds no proved copy; if {application} is complete, \
                         delete {work}"
                    )));
                }
            },
            Some(layout @ Layout::Unknown(_)) => return Err(self.refuse(format!("its layout is {layout}"))),
            None if proved => Step::Restore,
            None if copy.is_some() => {
                return Err(self.refuse(format!(
                    "it is gone, and table {work} holds no proved copy of it; restore {application} from a backup"
                )));
            }
            None => return Err(self.refuse("there is no such table")),
        };
        Ok(Standing { step, marker })
    }

    async fn standing_beside(&self) -> Result<Standing, Error> {
        let (source, application) = (&self.options.source, &self.options.application);
        let layout = self.settled(source).await?.map(|table| table.layout);
        let layout = match layout {
            Some(layout @ (Layout::ClientLibrary | Layout::RedpandaConnect)) => layout,
            Some(Layout::Lease) => {
                return Err(self.refuse(format!(
                    "it has our layout already: set application_name to {source} to go on from it"
                )));
            }
            Some(layout @ Layout::Unknown(_)) => return Err(self.refuse(format!("its layout is {layout}"))),
            None => return Err(self.refuse("there is no such table")),
        };
        let target = self.settled(application).await?;
        let Some(target) = target else {
            return Ok(Standing {
                step: Step::Copy(layout),
                marker: None,
            });
        };
        if target.layout != Layout::Lease {
            return Err(self.refuse(format!(
                "the table of the new application name, {application}, has another layout: {}",
                target.layout
            )));
        }
        let marker = self.marker(application).await?;
        let proved = marker.as_ref().is_some_and(|marker| marker.copied.is_some());
        let step = match (self.row(application, PIN_KEY).await?.is_some(), proved) {
            (true, true) => Step::Nothing,
            (true, false) => {
                return Err(self.refuse(format!(
                    "{application} is in use for this stream already; choose an application name that is not"
                )));
            }
            (false, _) => Step::Copy(layout),
        };
        Ok(Standing { step, marker })
    }
}
