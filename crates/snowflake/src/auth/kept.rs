//! A secret that stands in a file, or in the configuration: as it is now, and where it cannot be read now, as it was last.

use std::sync::{Mutex, PoisonError};

use frazil_model::Secret;

use super::SecretSource;
use crate::error::Error;

/// A secret of one line, read again whenever it is asked for.
pub(crate) struct Kept {
    what: &'static str,
    key: &'static str,
    user: String,
    source: SecretSource,
    held: Mutex<Held>,
}

struct Held {
    secret: Secret,
    /// What was told of a file that cannot be used.
    told: Option<String>,
}

impl Kept {
    /// Reads it for the first time. `what` is its name for people, `key` that of its key in the configuration. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`Error::BadSecret`]; [`Error::UnfinishedSecret`] where its file is empty, as a writer makes it first.
    pub(super) fn new(
        what: &'static str,
        key: &'static str,
        user: &str,
        source: &SecretSource,
    ) -> Result<Self, Error> {
        let secret = source.read_line(key).map_err(|detail| {
            let user = user.to_owned();
            let is_empty = |path| std::fs::metadata(path).is_ok_and(|file| file.len() <= 1);
            match source {
                SecretSource::File(path) if is_empty(path) => Error::UnfinishedSecret { what, user, detail },
                _ => Error::BadSecret { what, user, detail },
            }
        })?;
        Ok(Self {
            what,
            key,
            user: user.to_owned(),
            source: source.clone(),
            held: Mutex::new(Held { secret, told: None }),
        })
    }

    /// The secret as it is now. A file that cannot be used leaves the one in use, and that is told once.
    pub(super) async fn now(&self) -> Secret {
        let read = self.source.line(self.key).await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (what, user) = (self.what, &self.user);
        match read {
            Ok(secret) => {
                if secret != held.secret {
                    tracing::info!(what, user, "secret was read again, and is another");
                }
                *held = Held { secret, told: None };
            }
            Err(error) => {
                if held.told.as_ref() != Some(&error) {
                    tracing::warn!(
                        what,
                        user,
                        error,
                        "secret cannot be used as it is now; the one in use stays"
                    );
                    held.told = Some(error);
                }
            }
        }
        held.secret.clone()
    }
}
