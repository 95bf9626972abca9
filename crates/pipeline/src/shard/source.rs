//! What a shard is read by: polling, or enhanced fan-out.

use frazil_kinesis::{Error, FanOutReader, Fetched, ShardReader};

/// A reader of one shard.
pub(crate) enum Source {
    Polling(Box<ShardReader>),
    FanOut(Box<FanOutReader>),
}

impl Source {
    /// Returns once a page can be asked for: with polling when the shard's pace allows it, with fan-out when one is here.
    pub(crate) async fn ready(&mut self) {
        match self {
            Self::Polling(reader) => reader.ready().await,
            Self::FanOut(reader) => reader.ready().await,
        }
    }

    /// Bytes of the page that will come next, where they are known already.
    pub(crate) fn held_bytes(&self) -> Option<usize> {
        match self {
            Self::Polling(_) => None,
            Self::FanOut(reader) => reader.held_bytes(),
        }
    }

    /// Lets go of what was pushed and not taken; it comes again. Polling holds nothing.
    pub(crate) fn let_go(&mut self) {
        if let Self::FanOut(reader) = self {
            reader.let_go();
        }
    }

    pub(crate) async fn next_page(&mut self, max_bytes: usize) -> Result<Fetched, Error> {
        match self {
            Self::Polling(reader) => reader.next_page(max_bytes).await,
            Self::FanOut(reader) => reader.next_page(max_bytes).await,
        }
    }
}
