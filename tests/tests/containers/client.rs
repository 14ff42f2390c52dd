//! A client of the published port: single requests, and a stream that runs while containers stop.
//! Each request is one run of curl, which also speaks TLS.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Time for a stack to answer after a fault; a container is restarted within seconds.
pub(crate) const RECOVERY: Duration = Duration::from_secs(40);
/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(200);

/// A response; status 0 stands for a failed connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A client with a key.
#[derive(Clone, Debug)]
pub(crate) struct ApiClient {
    /// Such as `http://127.0.0.1:11435`.
    pub(crate) url: String,
    pub(crate) key: String,
    /// Further arguments of curl.
    pub(crate) options: Vec<String>,
}

impl ApiClient {
    pub(crate) fn new(port: u16, key: &str) -> Self {
        Self {
            url: format!("http://127.0.0.1:{port}"),
            key: key.to_owned(),
            options: Vec::new(),
        }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(path, Some(body))
    }

    /// A chat with a message.
    pub(crate) fn chat(&self, message: &str) -> Answer {
        let messages = json!([{"role": "user", "content": message}]);
        self.post(
            "/v1/chat/completions",
            &json!({"model": "codex-5", "messages": messages}),
        )
    }

    /// Waits until a chat is answered, and returns the time that it took.
    pub(crate) fn wait_for_chat(&self) -> Duration {
        self.wait_for(|| self.chat("Say hello."), |answer| answer.status == 200)
    }

    /// Repeats a request until the answer fits.
    pub(crate) fn wait_for(
        &self,
        ask: impl Fn() -> Answer,
        fits: impl Fn(&Answer) -> bool,
    ) -> Duration {
        let started = Instant::now();
        loop {
            let answer = ask();
            if fits(&answer) {
                return started.elapsed();
            }
            assert!(started.elapsed() < RECOVERY, "the last answer: {answer:?}");
            sleep(POLL);
        }
    }

    fn send(&self, path: &str, body: Option<&Value>) -> Answer {
        let mut curl = self.curl(path);
        curl.args(["--max-time", "60", "--write-out", "\n%{http_code}"]);
        let mut curl = spawn(&mut curl, body);
        let mut text = String::new();
        let mut stdout = curl.stdout.take().expect("stdout is piped");
        stdout.read_to_string(&mut text).expect("curl writes UTF-8");
        curl.wait().expect("curl is a child");
        let (body, status) = text.rsplit_once('\n').expect("curl writes the status");
        Answer {
            status: status.parse().expect("a number"),
            body: body.to_owned(),
        }
    }

    fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer"]).args(&self.options);
        if !self.key.is_empty() {
            curl.args(["--header", &format!("Authorization: Bearer {}", self.key)]);
        }
        curl.arg(format!("{}{path}", self.url));
        curl
    }

    /// Starts a streamed chat of about `seconds`, and returns when its first text has arrived.
    pub(crate) fn stream(&self, seconds: usize) -> RunningStream {
        let script =
            json!({"text": "abcd ".repeat(seconds * 5), "delta_chars": 5, "delay_ms": 200});
        let messages = json!([{"role": "user", "content": format!("[[model:{script}]]")}]);
        let body = json!({"model": "codex-5", "stream": true, "messages": messages});
        let mut curl = spawn(&mut self.curl("/v1/chat/completions"), Some(&body));
        let stdout = curl.stdout.take().expect("stdout is piped");
        let text = Arc::new(Mutex::new(String::new()));
        let reader = thread::spawn({
            let text = Arc::clone(&text);
            move || read(stdout, &text)
        });
        let stream = RunningStream { curl, text, reader };
        let started = Instant::now();
        while !stream.text().contains("abcd") {
            assert!(started.elapsed() < RECOVERY, "no text: {}", stream.text());
            sleep(POLL);
        }
        stream
    }
}

/// A streamed chat that has begun.
pub(crate) struct RunningStream {
    curl: Child,
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl RunningStream {
    fn text(&self) -> String {
        self.text.lock().expect("the reader does not panic").clone()
    }

    /// Waits for the end, which must not be a cut.
    pub(crate) fn assert_whole(mut self, during: &str) {
        self.curl.wait().expect("curl is a child");
        self.reader.join().expect("the reader does not panic");
        let text = self.text.lock().expect("the reader has ended");
        let is_whole =
            text.trim_end().ends_with("data: [DONE]") && text.contains(r#""finish_reason":"stop""#);
        let end = text.len().saturating_sub(300);
        assert!(is_whole, "{during} cut a stream: ...{}", &text[end..]);
    }
}

/// Appends curl's output; the scripted text is ASCII.
fn read(mut stdout: impl Read, text: &Mutex<String>) {
    let mut chunk = [0; 4096];
    while let Ok(bytes @ 1..) = stdout.read(&mut chunk) {
        let mut text = text.lock().expect("no holder panics");
        text.push_str(&String::from_utf8_lossy(&chunk[..bytes]));
    }
}

/// Starts curl, with a JSON body on its stdin if there is one.
fn spawn(curl: &mut Command, body: Option<&Value>) -> Child {
    if body.is_some() {
        curl.args([
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            "@-",
        ]);
    }
    let mut child = curl
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    if let Some(body) = body {
        stdin
            .write_all(body.to_string().as_bytes())
            .expect("curl reads its stdin");
    }
    child
}
