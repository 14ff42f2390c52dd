//! The collector of the tests as a program, in the place of otel/opentelemetry-collector. It prints a line for each span.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tests::collector::{Collector, CollectorBehavior};
use tokio::time::sleep;

/// Time between two looks at the received spans.
const POLL: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listen = SocketAddr::from(([0, 0, 0, 0], 4318));
    let collector = Collector::listen(listen, CollectorBehavior::Accept).await;
    let mut printed = 0;
    loop {
        for span in &collector.received().spans[printed..] {
            let line = json!({
                "service": span.service,
                "trace": span.trace,
                "id": span.id,
                "parent": span.parent,
                "name": span.name,
            });
            writeln!(std::io::stdout(), "Traces {line}")?;
            printed += 1;
        }
        sleep(POLL).await;
    }
}
