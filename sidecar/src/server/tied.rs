//! A body that keeps something until its end, so that who waits for that can tell when an answer is over.
//! The end of a body is its drop (`http_body::Body`): whole, broken off, or not wanted any more.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// A body, and what lives as long as it does.
#[derive(Debug)]
pub struct Tied<B, K> {
    body: B,
    _kept: K,
}

impl<B, K> Tied<B, K> {
    /// Ties `kept` to the life of `body`.
    pub fn new(body: B, kept: K) -> Self {
        Self { body, _kept: kept }
    }
}

impl<B: Body + Unpin, K: Unpin> Body for Tied<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn what_is_kept_lives_as_long_as_the_body_and_changes_nothing_of_it() {
        let kept = Arc::new(());
        let body = Tied::new(Full::new(Bytes::from("four")), Arc::clone(&kept));
        assert_eq!(Arc::strong_count(&kept), 2);
        assert_eq!(
            (body.size_hint().exact(), body.is_end_stream()),
            (Some(4), false)
        );
        drop(body);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
