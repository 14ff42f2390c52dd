//! The list of warm threads under any order of requests of several clients.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::child::{ContinuingTurns, WarmChild};
use super::counts::Miss;
use super::threads::WarmThreads;
use crate::codex::app_server::{KeptThread, ParkedTurn, TurnKey};
use crate::config::WarmLimits;
use crate::turn::{
    AnswerItem, Content, ConversationDigest, Item, MemoryHold, Message, Model, Profile,
    ReasoningItem, Role, Summary, ToolCall, ToolKind, ToolOutput, Tools, TurnRequest,
};

const CLIENTS: [&str; 3] = ["a", "b", "c"];
const TTL: Duration = Duration::from_secs(600);

fn threads(limit: usize) -> WarmThreads {
    WarmThreads::new(WarmLimits {
        threads: NonZeroUsize::new(limit),
        ttl: TTL,
        ahead: 0,
    })
}

fn child(threads: &WarmThreads) -> (WarmChild, ContinuingTurns) {
    threads.add_child().expect("threads stay loaded")
}

fn message(role: Role, text: &str) -> Item {
    Item::Message(Message {
        role,
        content: vec![Content::Text(text.to_owned())],
        phase: None,
    })
}

fn reasoning(text: &str) -> ReasoningItem {
    ReasoningItem {
        summary: Vec::new(),
        encrypted_content: Some(text.to_owned()),
    }
}

fn request(conversation: Vec<Item>) -> TurnRequest {
    let mut request = TurnRequest {
        profile: Profile::Chat,
        model: Model::new("m"),
        conversation,
        tools: Tools::default(),
        schema: None,
        summary: Summary::None,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    };
    request.digest = ConversationDigest::of(&request);
    request
}

/// The thread that `request` leaves with `answer`.
fn kept(key: u64, request: &TurnRequest, answer: Vec<AnswerItem>) -> KeptThread {
    let digest = &request.digest;
    KeptThread {
        key: TurnKey(key),
        end: digest.prefix(digest.len()).expect("a digest"),
        len: digest.len(),
        reasoning: digest.reasoning().clone(),
        hint: None,
        answer,
        parked: None,
    }
}

/// The key of the thread that a request of `client` gets.
fn take(threads: &WarmThreads, client: &str, request: &TurnRequest) -> Result<u64, Miss> {
    let (_, continuation) = threads.take(client, request)?;
    Ok(continuation.thread.0)
}

#[test]
fn reasoning_is_returned_in_its_place_or_not_at_all() {
    let first = request(vec![message(Role::User, "one")]);
    let answer = || {
        vec![
            AnswerItem::reasoning(&reasoning("r1")),
            AnswerItem::message("One.", None),
        ]
    };
    let (user, assistant) = (message(Role::User, "one"), message(Role::Assistant, "One."));
    let more = message(Role::User, "two");
    let thought = |text| Item::Reasoning(reasoning(text));
    for (conversation, expected) in [
        (vec![user.clone(), assistant.clone(), more.clone()], Ok(1)),
        (
            vec![user.clone(), thought("r1"), assistant.clone(), more.clone()],
            Ok(1),
        ),
        (
            vec![user.clone(), thought("r2"), assistant.clone(), more.clone()],
            Err(Miss::OtherAnswer),
        ),
        (
            vec![thought("r1"), user.clone(), assistant.clone(), more.clone()],
            Err(Miss::OtherAnswer),
        ),
        (
            vec![user.clone(), assistant.clone(), thought("r1"), more.clone()],
            Err(Miss::OtherAnswer),
        ),
        (
            vec![user.clone(), assistant.clone()],
            Err(Miss::OtherAnswer),
        ),
        (
            vec![user.clone(), more.clone(), assistant],
            Err(Miss::OtherAnswer),
        ),
        (vec![user, more.clone()], Err(Miss::FirstRequest)),
        (
            vec![message(Role::Assistant, "One."), more],
            Err(Miss::NoThread),
        ),
    ] {
        let threads = threads(4);
        let (child, _turns) = child(&threads);
        child.keep(&Arc::from("a"), kept(1, &first, answer()));
        let request = request(conversation);
        assert_eq!(take(&threads, "b", &request).ok(), None, "another client");
        assert_eq!(
            take(&threads, "a", &request),
            expected,
            "{:?}",
            request.conversation
        );
    }
}

#[test]
fn waiting_turn_takes_its_outputs_in_order_and_is_given_up_for_others() {
    let call = |id: &str| ToolCall {
        call_id: id.to_owned(),
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: "{}".to_owned(),
    };
    let output = |id: &str| {
        Item::ToolOutput(ToolOutput {
            call_id: id.to_owned(),
            content: vec![Content::Text("x".to_owned())],
        })
    };
    let first = request(vec![message(Role::User, "one")]);
    for (outputs, expected) in [
        (vec![output("c1"), output("c2")], Ok(1)),
        (vec![output("c2"), output("c1")], Err(Miss::OtherOutputs)),
        (
            vec![output("c1"), output("c2"), message(Role::User, "two")],
            Err(Miss::OtherOutputs),
        ),
    ] {
        let threads = threads(4);
        let (child, _turns) = child(&threads);
        let calls = ["c1", "c2"].map(call);
        let mut thread = kept(1, &first, calls.iter().map(AnswerItem::tool_call).collect());
        thread.parked = Some(ParkedTurn {
            call_ids: vec!["c1".to_owned(), "c2".to_owned()],
            settings: first.digest.turn_settings(),
        });
        child.keep(&Arc::from("a"), thread);
        let mut conversation = first.conversation.clone();
        conversation.extend(calls.map(Item::ToolCall));
        conversation.extend(outputs);
        assert_eq!(take(&threads, "a", &request(conversation)), expected);
        let given_up = child.take_given_up(Instant::now());
        let gone = if expected.is_err() {
            vec![TurnKey(1)]
        } else {
            Vec::new()
        };
        assert_eq!(given_up, gone);
    }
}

/// A step: a client keeps a thread of a conversation on one of two children, continues one, or a child ends.
#[derive(Debug, Clone)]
enum Step {
    Keep {
        client: usize,
        conversation: usize,
        child: usize,
    },
    Continue {
        client: usize,
        conversation: usize,
    },
    EndChild {
        child: usize,
    },
    Free {
        child: usize,
    },
    Pass {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let keep =
        (0..3_usize, 0..4_usize, 0..2_usize).prop_map(|(client, conversation, child)| Step::Keep {
            client,
            conversation,
            child,
        });
    let go_on = (0..3_usize, 0..4_usize).prop_map(|(client, conversation)| Step::Continue {
        client,
        conversation,
    });
    prop_oneof![
        4 => keep,
        4 => go_on,
        1 => (0..2_usize).prop_map(|child| Step::EndChild { child }),
        1 => (0..2_usize).prop_map(|child| Step::Free { child }),
        1 => (1..700_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

proptest! {
    #[test]
    fn no_client_gets_the_thread_of_another_and_no_thread_is_lost(limit in 1..6_usize, steps in prop::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let threads = threads(limit);
            let mut children: Vec<_> = (0..2).map(|_| child(&threads)).collect();
            let mut owners = std::collections::HashMap::new();
            // The threads that a child has loaded, until it is told to give them up.
            let mut loaded = [std::collections::HashSet::new(), std::collections::HashSet::new()];
            for (number, step) in (0_u64..).zip(steps) {
                match step {
                    Step::Keep { client, conversation, child } => {
                        let first = request(vec![message(Role::User, &conversation.to_string())]);
                        let thread = kept(number, &first, vec![AnswerItem::message("x", None)]);
                        children[child].0.keep(&Arc::from(CLIENTS[client]), thread);
                        owners.insert(number, (client, conversation));
                        loaded[child].insert(number);
                    }
                    Step::Continue { client, conversation } => {
                        let texts = [message(Role::User, &conversation.to_string()), message(Role::Assistant, "x"), message(Role::User, "y")];
                        if let Ok(key) = take(&threads, CLIENTS[client], &request(texts.into())) {
                            prop_assert_eq!(owners[&key], (client, conversation));
                            prop_assert!(loaded.iter_mut().any(|loaded| loaded.remove(&key)), "continued once");
                        }
                    }
                    Step::EndChild { child: index } => {
                        children[index] = child(&threads);
                        loaded[index].clear();
                    }
                    Step::Free { child } => {
                        for key in children[child].0.take_older_half() {
                            prop_assert!(loaded[child].remove(&key.0));
                        }
                    }
                    Step::Pass { seconds } => tokio::time::advance(Duration::from_secs(seconds)).await,
                }
                for (child, loaded) in children.iter().zip(&mut loaded) {
                    for key in child.0.take_given_up(Instant::now()) {
                        prop_assert!(loaded.remove(&key.0), "given up once");
                    }
                }
                let status = threads.status();
                let count: usize = loaded.iter().map(std::collections::HashSet::len).sum();
                prop_assert_eq!(status.idle + status.parked, count);
                prop_assert!(count <= limit);
                for client in CLIENTS {
                    let is_clients = |key: &&u64| CLIENTS[owners[key].0] == client;
                    let of_client = loaded.iter().flatten().filter(is_clients).count();
                    prop_assert!(of_client <= limit.div_ceil(2));
                }
            }
            Ok(())
        })?;
    }
}
