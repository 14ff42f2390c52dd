//! What the children of a sidecar share about conversations.

use std::path::Path;

use serde_json::value::RawValue;

use super::conversations::Conversations;
use super::id::SessionId;
use super::proof::ProofError;
use super::secret::ConversationSecret;
use super::template::RolloutTemplate;
use crate::turn::{
    Content, Item, MemoryHold, Message, Model, Profile, Role, Summary, Tool, ToolCall, ToolKind,
    Tools, TurnRequest,
};

pub(super) fn message(role: Role, text: &str) -> Item {
    Item::Message(Message {
        role,
        content: vec![Content::Text(text.to_owned())],
        phase: None,
    })
}

pub(super) fn request(conversation: Vec<Item>) -> TurnRequest {
    TurnRequest {
        profile: Profile::Chat,
        model: Model::new("gpt-5"),
        conversation,
        tools: Tools::default(),
        schema: None,
        summary: Summary::None,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: crate::turn::ConversationDigest::default(),
    }
}

fn conversations() -> Conversations {
    let secret = ConversationSecret::open(Some("secret"), Path::new("/")).unwrap();
    Conversations::new(Some(secret))
}

fn long() -> TurnRequest {
    request(vec![message(Role::User, &"word ".repeat(1000))])
}

fn template() -> RolloutTemplate {
    let text = concat!(
        r#"{"timestamp":"","type":"session_meta","payload":{"id":"","session_id":"","model_provider":"","history_mode":""}}"#,
        "\n",
        r#"{"timestamp":"","type":"world_state","payload":{"state":{"model":""}}}"#,
        "\n",
        r#"{"timestamp":"","type":"turn_context","payload":{"model":""}}"#,
        "\n",
    );
    RolloutTemplate::parse(text).expect("the text has the format")
}

#[test]
fn conversations_without_a_cached_prompt_have_no_id() {
    let all = conversations();
    assert!(all.id("ann", &long()).is_some());
    assert!(
        all.id("ann", &request(vec![message(Role::User, "short")]))
            .is_none()
    );
    let mut agent = long();
    agent.profile = Profile::Agent;
    assert!(all.id("ann", &agent).is_none());
    assert!(Conversations::new(None).id("ann", &long()).is_none());
    let mut tools = request(vec![message(Role::User, "short")]);
    tools.tools.offered.push(Tool {
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        description: "word ".repeat(1000),
        parameters: RawValue::from_string("{}".to_owned()).unwrap(),
    });
    assert!(
        all.id("ann", &tools).is_some(),
        "tools are part of the prompt"
    );
}

#[test]
fn answers_of_the_model_make_a_request_a_later_one() {
    let call = Item::ToolCall(ToolCall {
        call_id: "c".to_owned(),
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: String::new(),
    });
    assert!(!long().has_answer());
    assert!(request(vec![message(Role::Assistant, "Hi.")]).has_answer());
    assert!(request(vec![call]).has_answer());
}

#[test]
fn session_of_the_last_new_thread_is_remembered() {
    let all = conversations();
    let id = all.id("ann", &long()).unwrap();
    assert_eq!(all.session(id).0, id.to_string());
    all.remember(id, SessionId("codex".to_owned()));
    assert_eq!(all.session(id).0, "codex");
    let other = all.id("bob", &long()).unwrap();
    assert_eq!(all.session(other).0, other.to_string());
}

#[test]
fn template_holds_for_the_list_of_models_that_it_was_proven_with() {
    let all = conversations();
    assert!(all.needs_proof(1) && all.template(1).is_none());
    all.on_proof(1, Ok(template()));
    assert!(!all.needs_proof(1) && all.template(1).is_some());
    assert!(all.needs_proof(2) && all.template(2).is_none());
    assert!(!Conversations::new(None).needs_proof(1));
}

#[test]
fn failed_proof_and_repeated_rejections_end_the_rebuilding() {
    let all = conversations();
    all.on_proof(1, Err(ProofError::Ended));
    assert!(all.needs_proof(1), "by another child");
    all.on_proof(1, Err(ProofError::Different("other")));
    assert!(!all.needs_proof(1) && all.template(1).is_none());
    let all = conversations();
    all.on_proof(1, Ok(template()));
    for accepted in [false, false, true, false, false] {
        all.on_rebuilt(accepted);
        assert!(all.template(1).is_some(), "not three in a row");
    }
    all.on_rebuilt(false);
    assert!(all.template(1).is_none() && !all.needs_proof(1));
}
