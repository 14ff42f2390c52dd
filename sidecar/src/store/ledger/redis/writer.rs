//! The writer of a ledger in Redis: sends commands in their order, and settlements again until one has arrived.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FusedFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::answer::{Answer, statuses};
use super::script::{Call, LedgerScript};
use super::usage::RedisUsage;
use crate::store::ledger::account::{LimitStatus, MAX_SLICE, ReserveError};
use crate::store::ledger::budget::{Budget, Tokens};
use crate::store::ledger::client::LedgerClient;
use crate::store::ledger::clock::Clock;
use crate::store::ledger::command::{Budgets, Command};
use crate::store::ledger::ratios::TokenRatios;
use crate::store::ledger::reservation::{Reservation, Settlement};
use crate::store::notes::RedisNotes;
use crate::store::redis::{LinkError, RedisKeeper, RedisLink};
use crate::store::state::Unavailable;
use crate::turn::Grant;

/// Commands under way. Redis carries out about 20 a millisecond; more of them would only wait there.
const MAX_UNDER_WAY: usize = 512;

/// Time between attempts to send settlements again.
const RESEND_INTERVAL: Duration = Duration::from_secs(1);

/// Settlements that wait for Redis. Beyond it the reservation stays open, and counts as spent after the process.
const MAX_UNSETTLED: usize = 1 << 16;

/// Time at exit for settlements to arrive.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The writer.
#[derive(Debug)]
pub(in crate::store::ledger) struct RedisWriter {
    runtime: Handle,
    keeper: RedisKeeper,
    received: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    unsettled: VecDeque<Command>,
    ratios: TokenRatios,
}

/// The parts of the writer that its commands use.
#[derive(Debug)]
struct Shared {
    link: RedisLink,
    usage: RedisUsage,
    notes: RedisNotes,
    script: LedgerScript,
    clock: Clock,
    unavailable: Unavailable,
    /// For the reservations. Weak, so that the writer ends with the last handle.
    commands: mpsc::WeakSender<Command>,
}

impl RedisWriter {
    pub(in crate::store::ledger) fn new(
        runtime: Handle,
        (keeper, link): (RedisKeeper, RedisLink),
        clock: Clock,
        unavailable: Unavailable,
        received: mpsc::Receiver<Command>,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        Self {
            runtime,
            keeper,
            received,
            shared: Arc::new(Shared {
                usage: RedisUsage::new(link.clone()),
                notes: RedisNotes::new(link.clone()),
                link,
                script: LedgerScript::new(),
                clock,
                unavailable,
                commands,
            }),
            unsettled: VecDeque::new(),
            ratios: TokenRatios::default(),
        }
    }

    /// Restores `ratios` from those of the fleet, once Redis answers.
    pub(in crate::store::ledger) fn with_ratios(self, ratios: TokenRatios) -> Self {
        Self { ratios, ..self }
    }

    pub(in crate::store::ledger) fn link(&self) -> &RedisLink {
        &self.shared.link
    }

    /// Carries out commands until the last handle is dropped.
    pub(in crate::store::ledger) fn run(self) {
        let runtime = self.runtime.clone();
        runtime.block_on(self.serve());
    }

    async fn serve(self) {
        let Self {
            keeper,
            mut received,
            shared,
            mut unsettled,
            ratios,
            ..
        } = self;
        let serving = async {
            let (mut budgets, mut under_way) = (Budgets::new(), FuturesUnordered::new());
            let mut resend = interval(RESEND_INTERVAL);
            resend.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut restored = pin!(shared.restore(&ratios).fuse());
            loop {
                tokio::select! {
                    () = &mut restored, if !restored.is_terminated() => {}
                    command = received.recv(), if under_way.len() < MAX_UNDER_WAY => {
                        let Some(command) = command else { break };
                        command.note_budget(&mut budgets);
                        under_way.push(shared.execute(command, &budgets));
                    }
                    Some(failed) = under_way.next() => push_bounded(&mut unsettled, failed),
                    _ = resend.tick() => {
                        while shared.link.is_up() && under_way.len() < MAX_UNDER_WAY
                            && let Some(settlement) = unsettled.pop_front()
                        {
                            under_way.push(shared.execute(settlement, &budgets));
                        }
                    }
                }
            }
            let flush = async {
                unsettled.extend(
                    under_way
                        .by_ref()
                        .filter_map(std::future::ready)
                        .collect::<Vec<_>>()
                        .await,
                );
                for settlement in unsettled {
                    shared.execute(settlement, &budgets).await;
                }
            };
            timeout(FLUSH_TIMEOUT, flush).await.ok(); // Reservations without a settlement count as spent.
        };
        tokio::select! {
            () = keeper.run() => {}
            () = serving => {}
        }
    }
}

fn push_bounded(unsettled: &mut VecDeque<Command>, failed: Option<Command>) {
    match failed {
        Some(_) if unsettled.len() >= MAX_UNSETTLED => {
            tracing::error!(limit = MAX_UNSETTLED, "settlement dropped");
        }
        failed => unsettled.extend(failed),
    }
}

impl Shared {
    /// Reads the ratios of the fleet, as soon as Redis answers.
    async fn restore(&self, ratios: &TokenRatios) {
        loop {
            if let Ok(known) = self.notes.read().await {
                return ratios.restore(known.ratios);
            }
            sleep(RESEND_INTERVAL).await;
        }
    }

    /// Returns the future that carries out a command. It returns one that must be sent again.
    fn execute(
        self: &Arc<Self>,
        command: Command,
        budgets: &Budgets,
    ) -> impl Future<Output = Option<Command>> + use<> {
        let shared = Arc::clone(self);
        let budgets = match command {
            Command::StatusOfAll { .. } => budgets.clone(),
            _ => Budgets::new(),
        };
        async move {
            match command {
                Command::Reserve {
                    client,
                    budget,
                    input,
                    reply,
                } => {
                    let release = shared.reserve(client, budget, input, reply).await;
                    release.map(Command::Settle)
                }
                Command::Extend {
                    id,
                    client,
                    budget,
                    largest,
                    reply,
                } => {
                    let grant = shared.extend(id, &client, &budget, largest).await;
                    reply.send(grant).ok(); // The turn has ended meanwhile.
                    None
                }
                Command::Settle(settlement) => shared.settle(settlement).await.map(Command::Settle),
                Command::CountUsage(count) => match shared.usage.count(&count).await {
                    // After a failure it may be counted, and once more would be wrong for certain.
                    Ok(()) | Err(LinkError::Failed(_)) => None,
                    Err(LinkError::Away) => Some(Command::CountUsage(count)),
                },
                Command::Note(note) => {
                    shared.notes.write(&note).await.ok(); // A later turn misses the provider's cache, or estimates.
                    None
                }
                Command::Write => None, // There is no file.
                Command::Usage { client, reply } => {
                    if let Ok(hours) = shared
                        .usage
                        .hours(client.as_deref(), shared.clock.now_ms())
                        .await
                    {
                        reply.send(hours).ok(); // As below.
                    }
                    None
                }
                Command::Status {
                    client,
                    budget,
                    reply,
                } => {
                    if let Ok(status) = shared.status(&client, &budget).await {
                        reply.send(status).ok(); // The request has ended meanwhile.
                    }
                    None
                }
                Command::StatusOfAll { reply } => {
                    let mut all = Vec::new();
                    for (client, budget) in budgets {
                        if let Ok(status) = shared.status(&client, &budget).await {
                            all.push((client, status));
                        }
                    }
                    reply.send(all).ok(); // As above.
                    None
                }
            }
        }
    }

    async fn reserve(
        &self,
        client: Arc<str>,
        budget: Arc<Budget>,
        input: u64,
        reply: oneshot::Sender<Result<Reservation, ReserveError>>,
    ) -> Option<Settlement> {
        let (Some(commands), Ok(id)) = (self.commands.upgrade(), getrandom::u64()) else {
            return None; // The dropped reply says that the ledger is unavailable.
        };
        let id = id.cast_signed();
        let tokens = Tokens { input, output: 0 };
        let answer = self.call("reserve", id, &client, &budget, tokens).await;
        let first_slice = match (answer, self.unavailable) {
            (Ok(answer), _) => Answer::reserved(answer, &budget),
            (Err(_), Unavailable::Allow) => Ok((MAX_SLICE, Vec::new())),
            (Err(_), Unavailable::Reject) => Err(ReserveError::Unavailable),
        };
        let settlement = Settlement::of_nothing(id, client, budget);
        // Redis may have reserved the tokens although its answer was lost.
        let release =
            matches!(first_slice, Err(ReserveError::Unavailable)).then(|| settlement.clone());
        let ledger = Arc::new(LedgerClient::new(commands, None));
        let reserved = first_slice.map(|(first_output, limits)| {
            Reservation::new(ledger, first_output, limits, settlement)
        });
        reply.send(reserved).ok(); // A client that has left drops the reservation.
        release
    }

    async fn extend(&self, id: i64, client: &str, budget: &Budget, largest: u64) -> Grant {
        let slice = Tokens {
            input: 0,
            output: largest,
        };
        let answer = self.call("extend", id, client, budget, slice).await;
        match (answer, self.unavailable) {
            (Ok(answer), _) => Answer::granted(answer, budget),
            (Err(_), Unavailable::Allow) => Grant::Tokens(largest),
            (Err(_), Unavailable::Reject) => Grant::Unavailable,
        }
    }

    async fn settle(&self, settlement: Settlement) -> Option<Settlement> {
        let operation = match settlement.is_used_up {
            true => "settle_used_up",
            false => "settle",
        };
        let Settlement {
            id,
            client,
            budget,
            tokens,
            ..
        } = &settlement;
        let answer = self.call(operation, *id, client, budget, *tokens).await;
        answer.is_err().then_some(settlement)
    }

    async fn status(&self, client: &str, budget: &Budget) -> Result<Vec<LimitStatus>, LinkError> {
        let call = Call {
            operation: "status",
            client,
            owner: self.link.owner(),
            id: 0,
            tokens: Tokens::default(),
            budget,
        };
        let invocation = self.script.invocation(&call, &self.clock);
        let numbers: Vec<u64> = self.link.invoke(&invocation).await?;
        Ok(statuses(budget, &numbers))
    }

    async fn call(
        &self,
        operation: &'static str,
        id: i64,
        client: &str,
        budget: &Budget,
        tokens: Tokens,
    ) -> Result<Answer, LinkError> {
        let call = Call {
            operation,
            client,
            owner: self.link.owner(),
            id,
            tokens,
            budget,
        };
        let invocation = self.script.invocation(&call, &self.clock);
        let answer = self.link.invoke(&invocation).await;
        if let Err(error) = &answer {
            tracing::debug!(%error, operation, "ledger call failed");
        }
        answer
    }
}
