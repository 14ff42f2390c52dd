//! Patterns of model ids, in which letter case and surrounding spaces do not matter, as in the sidecar.

/// Returns the form of an id that patterns match: without surrounding white space, in lower case.
pub(super) fn normal_id(id: &str) -> String {
    id.trim().to_ascii_lowercase()
}

/// A model id in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPattern(String);

impl ModelPattern {
    /// Parses a pattern that fits into a comma-separated header: visible ASCII without commas.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        (!text.is_empty() && text.bytes().all(plain)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// Whether an id in lower case matches the pattern.
    pub fn matches(&self, id: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == id;
        };
        let Some(mut id) = id.strip_prefix(head) else {
            return false;
        };
        // Each part but the last takes its first occurrence, which leaves the most text for the parts after it.
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

/// A list of patterns; an id matches if one of them does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPatterns {
    patterns: Vec<ModelPattern>,
    /// The patterns separated by commas, for a header.
    list: String,
}

impl ModelPatterns {
    /// The patterns separated by commas.
    pub fn as_str(&self) -> &str {
        &self.list
    }

    /// Whether an id in lower case matches one of the patterns.
    pub fn matches(&self, id: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(id))
    }
}

impl FromIterator<ModelPattern> for ModelPatterns {
    fn from_iter<I: IntoIterator<Item = ModelPattern>>(patterns: I) -> Self {
        let patterns: Vec<_> = patterns.into_iter().collect();
        let texts: Vec<_> = patterns.iter().map(|pattern| pattern.0.as_str()).collect();
        Self {
            list: texts.join(","),
            patterns,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn star_matches_any_run_of_characters() {
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
                ModelPattern::parse(pattern).unwrap().matches(id),
                expected,
                "{pattern} {id}"
            );
        }
    }

    #[test]
    fn pattern_with_comma_space_or_non_ascii_is_invalid() {
        for text in ["", "a,b", "a b", "a\n", "é"] {
            assert_eq!(ModelPattern::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn glob_matches_any_fill_of_its_stars(parts in prop::collection::vec("[ab]{0,3}", 1..5), fill in "[ab]{0,3}") {
            let pattern = ModelPattern::parse(&format!("{}*", parts.join("*"))).unwrap();
            let id = format!("{}{fill}", parts.join(&fill));
            prop_assert!(pattern.matches(&id));
        }
    }
}
