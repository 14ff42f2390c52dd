//! Server-sent events as a client reads them, one at a time.
//! WHATWG HTML, section 9.2; only the parts that our streams use: `data:` and `event:` lines, comments.

use serde_json::Value;

use crate::http::StreamedResponse;

/// A reader of an event stream.
#[derive(Debug)]
pub struct Events {
    stream: StreamedResponse,
    unread: String,
}

impl Events {
    /// Reads the events of `stream`, which must have the content type of an event stream.
    pub fn new(stream: StreamedResponse) -> Self {
        let kind = stream
            .headers
            .get("content-type")
            .map(|kind| kind.as_bytes());
        assert_eq!(kind, Some(&b"text/event-stream; charset=utf-8"[..]));
        Self {
            stream,
            unread: String::new(),
        }
    }

    /// The next event or comment, without the blank line that ends it; `None` at the end.
    ///
    /// # Errors
    /// Fails if the stream is cut off.
    pub async fn next(&mut self) -> hyper::Result<Option<String>> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                return Ok(Some(event));
            }
            let Some(chunk) = self.stream.next().await? else {
                assert_eq!(self.unread, "", "the last event is complete");
                return Ok(None);
            };
            self.unread
                .push_str(std::str::from_utf8(&chunk.data).expect("frames hold whole characters"));
        }
    }

    /// The next event's data as JSON.
    pub async fn next_json(&mut self) -> Value {
        let event = self
            .next()
            .await
            .expect("the stream goes on")
            .expect("there is one more event");
        json(&event)
    }

    /// The remaining events.
    ///
    /// # Errors
    /// Fails if the stream is cut off.
    pub async fn rest(&mut self) -> hyper::Result<Vec<String>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }
}

/// The data of an event as JSON, whether the event has a name or not.
pub fn json(event: &str) -> Value {
    let data = event
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap_or_else(|| panic!("no data in {event:?}"));
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"))
}
