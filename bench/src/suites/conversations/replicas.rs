//! Conversations whose requests do not reach the process that served the previous one: the provider's cache hits only
//! where the thread is rebuilt under the same id.

use std::sync::Arc;

use tests::scripted_model::ScriptedModel;

use super::client::Conversation;
use super::exchange::Exchange;
use super::score::{reported_percent, threads};
use super::shape::{Dialect, Shape};
use super::variant::Variant;
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::suites::stack::Stack;

/// The processes that serve a conversation.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    /// Two sidecars in turn, each with its Envoy.
    InTurn,
    /// One sidecar, which is replaced after each request.
    Restarts,
}

/// The stacks of a variant, for both scenarios.
struct Replicas {
    stacks: [Stack; 2],
}

pub(super) async fn run(settings: &Settings, shapes: &[Shape]) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "Cached input from the third request on, where the sidecar changes between two requests",
        &[
            "ids of conversations on: cached, %",
            "threads",
            "off: cached, %",
            "threads",
        ],
    );
    let on = Replicas::start(settings, Variant::WarmThreads).await?;
    let off = Replicas::start(settings, Variant::WarmThreadsAlone).await?;
    let mut replicas = [on, off];
    // The responses that `previous_response_id` names are in the memory of one sidecar.
    let shapes = shapes
        .iter()
        .filter(|shape| shape.dialect != Dialect::ResponsesStored);
    for shape in shapes.take(settings.pick(usize::MAX, 1)) {
        for (round, scenario) in [Scenario::InTurn, Scenario::Restarts]
            .into_iter()
            .enumerate()
        {
            let shape = shape.of_round(round);
            let mut cells = Vec::new();
            for replicas in &mut replicas {
                let exchanges = replicas.converse(&shape, scenario).await?;
                cells.push(reported_percent(&exchanges).into());
                cells.push(Cell::Text(threads(&exchanges)));
            }
            table.row(format!("{}, {}", shape.name, scenario.name()), cells);
        }
    }
    Ok(table)
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::InTurn => "two sidecars in turn",
            Self::Restarts => "a restart after each request",
        }
    }
}

impl Replicas {
    async fn start(settings: &Settings, variant: Variant) -> anyhow::Result<Self> {
        let model = Arc::new(ScriptedModel::start().await?);
        let start = || Stack::start(variant.sidecar(settings, &model), Arc::clone(&model));
        Ok(Self {
            stacks: [start().await, start().await],
        })
    }

    async fn converse(
        &mut self,
        shape: &Shape,
        scenario: Scenario,
    ) -> anyhow::Result<Vec<Exchange>> {
        let mut conversation = Conversation::new(shape);
        let mut exchanges = Vec::new();
        while let Some(request) = conversation.next_request() {
            let served = exchanges.len();
            let stack = match scenario {
                Scenario::InTurn => &self.stacks[served % self.stacks.len()],
                Scenario::Restarts => {
                    if served > 0 {
                        restart(&mut self.stacks[0]).await;
                    }
                    &self.stacks[0]
                }
            };
            let mut client = stack.target().connect().await?;
            let exchange = Exchange::measure(&mut client, request).await?;
            conversation.on_reply(&exchange.reply)?;
            exchanges.push(exchange);
        }
        Ok(exchanges)
    }
}

/// Replaces the sidecar by a new process with the same settings and folders.
async fn restart(stack: &mut Stack) {
    // Not a stop and a start: Envoy would reject requests between the two.
    let predecessor = stack.sidecar.upgrade().await;
    predecessor.wait().await;
    stack.sidecar.wait_until_ready().await;
}
