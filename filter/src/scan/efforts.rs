//! The reasoning efforts of a body: `reasoning_effort` and `reasoningEffort` at its top, and `effort` inside the
//! top-level `reasoning`. OpenAI API reference, "Create chat completion" and "Create a model response".

/// The most names that are kept. A valid body has three fields at most; the sidecar rejects repeated ones.
const MAX_NAMES: usize = 8;

/// The efforts of a body, each once, and the place of the scan relative to their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EffortNames {
    names: Vec<String>,
    is_overfull: bool,
    next: NextValue,
    in_reasoning: bool,
}

/// The field whose value comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NextValue {
    #[default]
    Other,
    /// A field that holds an effort.
    Effort,
    /// The top-level `reasoning`.
    Reasoning,
}

impl EffortNames {
    /// Returns the names, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether the body has more different efforts than are kept.
    pub fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Whether the next string is an effort.
    pub(super) fn is_next(&self) -> bool {
        self.next == NextValue::Effort
    }

    /// Whether the innermost open object is `reasoning`, given the number of open containers.
    pub(super) fn is_in_reasoning(&self, depth: u8) -> bool {
        self.in_reasoning && depth == 2
    }

    pub(super) fn on_key(&mut self, next: NextValue) {
        self.next = next;
    }

    /// Processes the begin of an object.
    pub(super) fn on_object(&mut self) {
        self.in_reasoning |= self.next == NextValue::Reasoning;
        self.next = NextValue::Other;
    }

    /// Processes the begin of an array, and the end of any value.
    pub(super) fn on_value(&mut self) {
        self.next = NextValue::Other;
    }

    /// Processes the end of a container, given the number of those still open.
    pub(super) fn on_close(&mut self, depth: u8) {
        self.in_reasoning &= depth > 1;
    }

    pub(super) fn add(&mut self, name: String) {
        self.next = NextValue::Other;
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() < MAX_NAMES {
            self.names.push(name);
        } else {
            self.is_overfull = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{ModelField, ModelScanner, ScanError};

    /// The model and the efforts of a body in chunks of this size.
    fn scan(body: &str, size: usize) -> (ModelField, Vec<String>) {
        let mut scanner = ModelScanner::with_efforts();
        for chunk in body.as_bytes().chunks(size) {
            scanner.feed(chunk);
        }
        let found = scanner.efforts().unwrap();
        let names = found.names().map(str::to_owned).collect();
        (scanner.finish(), names)
    }

    fn check(body: &str, expected: &[&str]) {
        for size in [1, 2, 3, 7, 64, body.len()] {
            let (model, names) = scan(body, size);
            assert_eq!(model, ModelField::Named("m".to_owned()), "{body}");
            assert_eq!(names, expected, "{body} by {size}");
        }
    }

    #[test]
    fn efforts_are_found_before_and_after_the_model() {
        check(r#"{"reasoning_effort":"a","model":"m"}"#, &["a"]);
        check(r#"{"model":"m","reasoning_effort":"a"}"#, &["a"]);
        check(r#"{"model":"m","reasoningEffort":"a"}"#, &["a"]);
        check(r#"{"model":"m","reasoning":{"effort":"a"}}"#, &["a"]);
        check(
            r#"{"reasoning":{"x":[{"effort":1}],"effort":"a"},"model":"m"}"#,
            &["a"],
        );
        check(
            r#"{"model":"m","reason\u0069ng":{"\u0065ffort":"\u0061"}}"#,
            &["a"],
        );
        check(
            r#"{"model":"m","reasoning_effort":"a","reasoning_effort":"b"}"#,
            &["a", "b"],
        );
        check(
            r#"{"reasoning":{"effort":"a"},"reasoning":{"effort":"b","effort":"c"},"model":"m"}"#,
            &["a", "b", "c"],
        );
    }

    #[test]
    fn other_fields_are_not_efforts() {
        check(r#"{"model":"m","effort":"a"}"#, &[]);
        check(
            r#"{"model":"m","a":{"reasoning_effort":"a","reasoning":{"effort":"b"}}}"#,
            &[],
        );
        check(
            r#"{"model":"m","reasoning":{"a":{"effort":"b"}},"b":{"effort":"c"}}"#,
            &[],
        );
        check(
            r#"{"model":"m","reasoning":[{"effort":"b"}],"b":{"effort":"c"}}"#,
            &[],
        );
        check(r#"{"model":"m","reasoning":"b","x":{"effort":"c"}}"#, &[]);
        check(r#"{"model":"m","reasoning_effort":null,"a":"b"}"#, &[]);
        check(r#"{"model":"m","reasoning_effort":["a"],"b":["c"]}"#, &[]);
        check(
            r#"{"model":"m","reasoning":{"effort":{"a":"b"}},"c":"d"}"#,
            &[],
        );
    }

    #[test]
    fn invalid_rest_of_the_body_is_found() {
        for body in [r#"{"model":"m""#, r#"{"model":"m",}"#, r#"{"model":null}]"#] {
            let (model, _) = scan(body, 1);
            assert_eq!(model, ModelField::Invalid(ScanError::Malformed), "{body}");
        }
        let long = format!(
            r#"{{"model":"m","reasoning_effort":"{}"}}"#,
            "a".repeat(9000)
        );
        check(&long, &[]);
    }

    fn member() -> impl Strategy<Value = (String, Value)> {
        let key = "model|reasoning|reasoning_effort|reasoningEffort|effort|x";
        let leaf = prop_oneof![
            "[a-c\"\\\\é]{0,3}".prop_map(Value::from),
            Just(Value::Null),
            Just(json!(1)),
        ];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            let object = prop::collection::btree_map("effort|reasoning|x", inner.clone(), 0..3);
            let array = prop::collection::vec(inner, 0..3);
            prop_oneof![
                object.prop_map(|object| object.into_iter().collect::<Value>()),
                array.prop_map(Value::from),
            ]
        });
        (key, value)
    }

    proptest! {
        #[test]
        fn efforts_are_those_of_serde_json(members in prop::collection::vec(member(), 0..5), size in 1_usize..40) {
            let is_effort = |key: &str| matches!(key, "reasoning_effort" | "reasoningEffort");
            let mut expected: Vec<String> = Vec::new();
            for (key, value) in &members {
                let effort = if is_effort(key) { Some(value) } else { value.get("effort").filter(|_| key == "reasoning") };
                let name = effort.and_then(Value::as_str).map(str::to_owned);
                expected.extend(name.filter(|name| !expected.contains(name)));
            }
            let members = members.iter().filter(|(key, value)| key != "model" || value.is_string());
            let fields: Vec<_> = members.map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let (model, names) = scan(&format!("{{{}}}", fields.join(" , ")), size);
            prop_assert!(!matches!(model, ModelField::Invalid(_)), "{model:?}");
            prop_assert_eq!(names, expected);
        }
    }
}
