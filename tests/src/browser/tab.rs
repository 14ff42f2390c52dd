//! A page that a test inspects: its state, and the messages on its console.
//! The Chrome DevTools Protocol (Target, Page, Runtime, Log) on pipes, where a zero byte ends each message.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::{Instant, sleep, timeout};

use super::process::{Browser, PAGE_DEADLINE};

/// Time between two checks of a page.
const POLL: Duration = Duration::from_millis(50);

/// An open page; its browser is killed when it is dropped.
#[derive(Debug)]
pub struct Tab {
    commands: ChildStdin,
    responses: BufReader<ChildStdout>,
    /// The session of the page, once the browser has created it.
    session: Option<String>,
    last_id: u64,
    console_messages: Vec<String>,
    _browser: Browser,
}

impl Tab {
    /// Opens `url` and waits until the page is loaded completely.
    pub async fn open(url: &str) -> Self {
        let (browser, commands, responses) = Browser::open_with_devtools();
        let mut tab = Self {
            commands,
            responses: BufReader::new(responses),
            session: None,
            last_id: 0,
            console_messages: Vec::new(),
            _browser: browser,
        };
        let target = tab
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let params = json!({"targetId": target["targetId"], "flatten": true});
        let attached = tab.call("Target.attachToTarget", params).await;
        tab.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable"] {
            tab.call(domain, json!({})).await;
        }
        tab.call("Page.navigate", json!({"url": url})).await;
        tab.wait_until("location.href !== 'about:blank' && document.readyState === 'complete'")
            .await;
        tab
    }

    /// The value of a JavaScript expression in the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let mut evaluated = self.call("Runtime.evaluate", params).await;
        assert_eq!(
            evaluated["exceptionDetails"],
            Value::Null,
            "{expression} throws"
        );
        evaluated["result"]["value"].take()
    }

    /// Waits until `expression` is true in the page.
    pub async fn wait_until(&mut self, expression: &str) {
        let deadline = Instant::now() + PAGE_DEADLINE;
        while self.evaluate(expression).await != true {
            if Instant::now() > deadline {
                let shown = self.evaluate("document.body.innerText").await;
                panic!("{expression} does not come true: {shown}");
            }
            sleep(POLL).await;
        }
    }

    /// The console messages so far: errors, blocked content, exceptions, and the page's own messages.
    pub fn console_messages(&self) -> &[String] {
        &self.console_messages
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let message = format!("{message}\0");
        let written = self.commands.write_all(message.as_bytes()).await;
        written.expect("the browser reads commands");
        loop {
            let mut message = timeout(PAGE_DEADLINE, self.read())
                .await
                .expect("the browser responds in time");
            if message["id"] == self.last_id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
            self.record_console(&message);
        }
    }

    async fn read(&mut self) -> Value {
        let mut message = Vec::new();
        let read = self.responses.read_until(0, &mut message).await;
        read.expect("the browser can be read");
        assert_eq!(message.pop(), Some(0), "the browser still runs");
        serde_json::from_slice(&message).expect("the browser sends JSON")
    }

    fn record_console(&mut self, message: &Value) {
        let field = match message["method"].as_str() {
            Some("Log.entryAdded") => "entry",
            Some("Runtime.exceptionThrown") => "exceptionDetails",
            Some("Runtime.consoleAPICalled") => "args",
            _ => return,
        };
        self.console_messages
            .push(message["params"][field].to_string());
    }
}
