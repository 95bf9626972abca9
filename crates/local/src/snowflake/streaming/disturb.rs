//! Faults that happen to a channel right before a call about it: another client opens it, the service removes it, or makes it
//! invalid.
//!
//! Each changes what is stored, as the event it stands for would: the rest of the service then answers by itself.

use std::sync::Arc;

use super::super::Snowflake;
use super::super::catalog::ELASTIC;
use super::super::model::PipeRow;
use crate::Result;
use crate::faults::Service;

/// Lets the faults of this operation happen to the channel, if it is there and a named one; true if any did.
pub(super) async fn disturb(
    snowflake: &Arc<Snowflake>,
    pipe: &PipeRow,
    lookup: &str,
    operation: &str,
) -> Result<bool> {
    let (store, faults) = (&snowflake.store, &snowflake.faults);
    let mut happened = false;
    for fault in ["invalidate_channel", "take_channel", "remove_channel"] {
        if !faults.has(Service::Snowflake, fault) || lookup.eq_ignore_ascii_case(ELASTIC) {
            continue;
        }
        let Some(row) = store.catalog.channel(pipe.id, lookup)? else {
            continue;
        };
        let Some(hit) = faults.hit(Service::Snowflake, operation, fault) else {
            continue;
        };
        tracing::debug!(operation, fault, channel = row.name, "fault injected");
        happened = true;
        match fault {
            "take_channel" => {
                let name = row.name.clone();
                store
                    .open_channel(pipe.clone(), name, lookup.to_owned(), hit.token, false)
                    .await?;
            }
            "remove_channel" => {
                store.drop_channel(row, false).await?;
            }
            _ => {
                let message = "The channel is invalid. Please reopen the channel.";
                store
                    .catalog
                    .invalidate_channel(row.id, row.client_sequencer, &hit.code, message)?;
            }
        }
    }
    Ok(happened)
}
