//! The tables of the suite: each shape with warm threads, with new threads and with `codex exec`; then the replicas.

use tests::scripted_model::ScriptedModel;

use super::client::Conversation;
use super::exchange::Exchange;
use super::reference::Reference;
use super::replicas;
use super::score::{
    cached_percent, first_token_ms, model_requests, possible_percent, reported_percent, threads,
};
use super::shape::Shape;
use super::shapes;
use super::variant::Variant;
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::{count, medians};
use crate::suites::stack::Stack;

const COLUMNS: [&str; 8] = [
    "cached, % (usage of the client)",
    "cached, % (count of the model)",
    "cached at best, %",
    "model requests per HTTP request",
    "first token p50, ms",
    "p95, ms",
    "Codex CPU, ms per model request",
    "threads",
];

/// The numbers of a conversation, in the order of the columns.
type Numbers = [f64; 7];

/// A variant of the sidecar under load.
struct Served {
    name: &'static str,
    stack: Stack,
}

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let shapes = settings.pick(shapes::all(), shapes::quick());
    let served = [
        Served::start(settings, "warm threads", Variant::WarmThreads).await?,
        Served::start(settings, "new threads", Variant::NewThreads).await?,
    ];
    let reference = Reference::start().await?;
    for served in &served {
        // The first turns of a child cost more than the next.
        served.converse(&shapes::chat().shortened(3)).await?;
    }
    let mut tables = Vec::new();
    for shape in &shapes {
        tables.push(compare(settings, shape, &served, &reference).await?);
    }
    drop(served);
    tables.push(replicas::run(settings, &shapes).await?);
    Ok(Section {
        name: "conversations",
        tables,
        figures: Vec::new(),
    })
}

async fn compare(
    settings: &Settings,
    shape: &Shape,
    served: &[Served; 2],
    reference: &Reference,
) -> anyhow::Result<Table> {
    let mut rounds = [Vec::new(), Vec::new()];
    let mut kinds = [String::new(), String::new()];
    let mut reference_rounds = Vec::new();
    for round in 0..settings.rounds() {
        let shape = shape.of_round(round);
        for ((served, rounds), kinds) in served.iter().zip(&mut rounds).zip(&mut kinds) {
            let (numbers, threads) = served.measure(&shape).await?;
            rounds.push(numbers);
            *kinds = threads;
        }
        let numbers = reference.run(&shape).await?;
        let [p50, p95] = numbers.answer_ms;
        reference_rounds.push([
            numbers.cached_percent,
            numbers.possible_percent,
            p50,
            p95,
            numbers.cpu_ms,
        ]);
    }
    let title = format!("{}: {} requests", shape.name, shape.requests());
    let mut table = Table::new(title, &COLUMNS);
    for ((served, rounds), kinds) in served.iter().zip(&rounds).zip(kinds) {
        let numbers = medians(rounds).map(Cell::from);
        table.row(served.name, numbers.into_iter().chain([Cell::Text(kinds)]));
    }
    table.row(
        "`codex exec resume`",
        reference_cells(shape, &reference_rounds),
    );
    Ok(table)
}

/// The cells of the reference. Its usage is that of the model, and only without tools its answer is its first token.
fn reference_cells(shape: &Shape, rounds: &[[f64; 5]]) -> [Cell; 8] {
    let [cached, possible, p50, p95, cpu] = medians(rounds);
    let answers = shape.tools.is_empty().then_some(());
    [
        cached.into(),
        cached.into(),
        possible.into(),
        Cell::Empty,
        answers.map(|()| p50).into(),
        answers.map(|()| p95).into(),
        cpu.into(),
        Cell::Empty,
    ]
}

impl Served {
    async fn start(
        settings: &Settings,
        name: &'static str,
        variant: Variant,
    ) -> anyhow::Result<Self> {
        let model = ScriptedModel::start().await?;
        let stack = Stack::start(variant.sidecar(settings, &model), model).await;
        Ok(Self { name, stack })
    }

    /// Runs the conversation; returns its numbers, and its kinds of threads.
    async fn measure(&self, shape: &Shape) -> anyhow::Result<(Numbers, String)> {
        // The prompt cache stays, as the provider's would.
        self.stack.model.clear();
        let before = self.stack.cpu_usage();
        let exchanges = self.converse(shape).await?;
        let requests = model_requests(&self.stack.model);
        let cpu = self
            .stack
            .cpu_usage()
            .per_request_since(before, requests.len());
        let numbers = [
            reported_percent(&exchanges),
            cached_percent(requests.iter().copied()),
            possible_percent(&requests),
            count(requests.len()) / count(exchanges.len()),
            first_token_ms(&exchanges, 0.5),
            first_token_ms(&exchanges, 0.95),
            cpu.codex / 1000.0,
        ];
        Ok((numbers, threads(&exchanges)))
    }

    async fn converse(&self, shape: &Shape) -> anyhow::Result<Vec<Exchange>> {
        let mut client = self.stack.target().connect().await?;
        let mut conversation = Conversation::new(shape);
        let mut exchanges = Vec::new();
        while let Some(request) = conversation.next_request() {
            let exchange = Exchange::measure(&mut client, request).await?;
            conversation.on_reply(&exchange.reply)?;
            exchanges.push(exchange);
        }
        Ok(exchanges)
    }
}
