//! Keys to a service that may be refused before their end, and asked for anew.

use std::fmt;

use async_trait::async_trait;

/// What signs calls. Keys change while a worker runs: they end, a file is written anew, a role's session is revoked.
#[async_trait]
pub trait Keys: Send + Sync + fmt::Debug {
    /// Which keys are in use: a number that grows with each change. Taken before a call, it says which ones the call was
    /// signed with, or older ones.
    fn edition(&self) -> u64;

    /// Keys of this edition were refused. Asks once where they come from; answers whether there are other ones now, so that
    /// the call is worth sending again.
    async fn renewed(&self, refused: u64) -> bool;
}
