//! Which models a client may use.
//! Model ids and patterns as the catalogue of codex-edge has them: letter case and surrounding spaces do not count.

use crate::reply::LocalReply;
use crate::scan::{Fault, Finding};

/// A model id in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes what can stand in a list in a header field: visible ASCII without a comma.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        (!text.is_empty() && text.bytes().all(plain)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// Whether an id, in lower case, is meant by this pattern.
    pub fn matches(&self, id: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == id;
        };
        let Some(mut id) = id.strip_prefix(head) else {
            return false;
        };
        // Each part but the last takes its first occurrence, which leaves the most for those that follow.
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return id.ends_with(part);
            }
            match id.split_once(part) {
                Some((_, after)) => id = after,
                None => return false,
            }
        }
        true
    }
}

/// Patterns, at least one of which an id has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    /// The same, as a list for a header field.
    list: String,
}

impl Patterns {
    /// The patterns with commas between them.
    pub fn as_str(&self) -> &str {
        &self.list
    }

    /// Whether an id, in lower case, is meant by one of them.
    pub fn matches(&self, id: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(id))
    }
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let patterns: Vec<_> = patterns.into_iter().collect();
        let texts: Vec<_> = patterns.iter().map(|pattern| pattern.0.as_str()).collect();
        Self {
            list: texts.join(","),
            patterns,
        }
    }
}

/// The ids that exist here, and the one that is meant when none is named.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// What exists; with `*` for upstreams that know more models than we care to list.
    pub models: Patterns,
    /// What a body without `model` asks for; none: such a body is refused.
    pub default_model: Option<String>,
}

impl Catalogue {
    /// Whether a client with these patterns (`None`: no restriction) may use what its body asks for.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn admit(&self, finding: &Finding, allowed: Option<&Patterns>) -> Result<(), LocalReply> {
        match finding {
            Finding::Named(model) => self.admit_model(model, allowed),
            Finding::Unnamed => match &self.default_model {
                Some(model) => self.admit_model(model, allowed),
                None => Err(LocalReply::invalid_model("`model` is missing.")),
            },
            Finding::Refused(Fault::TooLong) => {
                Err(LocalReply::model_not_found("with so long a name"))
            }
            Finding::Refused(Fault::NotText) => {
                Err(LocalReply::invalid_model("`model` must be a string."))
            }
            Finding::Refused(
                Fault::Empty | Fault::NotAnObject | Fault::TooDeep | Fault::Malformed,
            ) => Err(LocalReply::invalid_json()),
        }
    }

    fn admit_model(&self, model: &str, allowed: Option<&Patterns>) -> Result<(), LocalReply> {
        let id = model.trim().to_ascii_lowercase();
        if !self.models.matches(&id) {
            return Err(LocalReply::model_not_found(model));
        }
        if !allowed.is_none_or(|patterns| patterns.matches(&id)) {
            return Err(LocalReply::model_not_allowed(model));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_globs() {
        let cases = [
            ("codex-5", "codex-5", true),
            ("CODEX-5", "codex-5", true),
            ("codex-5", "codex-5-low", false),
            ("codex-5*", "codex-5", true),
            ("codex-5*", "codex-5-low", true),
            ("codex-5*", "codex-4", false),
            ("*", "", true),
            ("*-low", "codex-5-low", true),
            ("*-low", "codex-5-low-x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "abc", true),
            ("a*a", "a", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
        ];
        for (pattern, id, expected) in cases {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(id),
                expected,
                "{pattern} {id}"
            );
        }
    }

    #[test]
    fn a_pattern_fits_into_a_list() {
        for text in ["", "a,b", "a b", "a\n", "é"] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_finding_is_admitted_or_refused() {
        let patterns = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Pattern::parse(text).unwrap())
                .collect::<Patterns>()
        };
        let catalogue = Catalogue {
            models: patterns(&["codex-5", "codex-5-low", "gpt-5"]),
            default_model: Some("gpt-5".to_owned()),
        };
        let only_codex = patterns(&["codex-*"]);
        let named = |model: &str| Finding::Named(model.to_owned());
        let cases = [
            (named("codex-5"), None, 200),
            (named("Codex-5-LOW"), None, 200),
            (named(" codex-5 "), None, 200),
            (named("codex-6"), None, 404),
            (named(""), None, 404),
            (named("codex-5"), Some(&only_codex), 200),
            (named("gpt-5"), Some(&only_codex), 403),
            (named("codex-6"), Some(&only_codex), 404),
            (Finding::Unnamed, None, 200),
            (Finding::Unnamed, Some(&only_codex), 403),
            (Finding::Refused(Fault::TooLong), None, 404),
            (Finding::Refused(Fault::NotText), None, 400),
            (Finding::Refused(Fault::Empty), None, 400),
            (Finding::Refused(Fault::NotAnObject), None, 400),
            (Finding::Refused(Fault::TooDeep), None, 400),
            (Finding::Refused(Fault::Malformed), None, 400),
        ];
        for (finding, allowed, expected) in cases {
            let status = catalogue
                .admit(&finding, allowed)
                .map_or_else(|reply| reply.status, |()| 200);
            assert_eq!(status, expected, "{finding:?}");
        }
    }

    #[test]
    fn without_a_default_a_model_has_to_be_named() {
        let models = Pattern::parse("*").into_iter().collect();
        let catalogue = Catalogue {
            models,
            default_model: None,
        };
        assert_eq!(
            catalogue.admit(&Finding::Unnamed, None).unwrap_err().status,
            400
        );
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_it_was_made_of(parts in prop::collection::vec("[ab]{0,3}", 1..5), fill in "[ab]{0,3}") {
            let pattern = Pattern::parse(&format!("{}*", parts.join("*"))).unwrap();
            let id = format!("{}{fill}", parts.join(&fill));
            prop_assert!(pattern.matches(&id));
        }
    }
}
