//! Header fields as Envoy keeps them: ordered, names in lower case, values any bytes.
//! Source: Envoy's `HeaderMapImpl`, as Envoy 1.40 behaves.

use std::fmt;

/// Fields of which Envoy keeps one line, joining what a client repeats with a comma.
const JOINED: [&[u8]; 1] = [b"authorization"];

/// The fields of one head or of one set of trailers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.iter();
        let line = lines.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        line.map(|(_, value)| value)
    }

    /// All values of a field, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The first value of a field as text, octets that are not UTF-8 replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.get(name)?).into_owned())
    }

    /// Appends a field, or joins it to the one there is when Envoy keeps only one.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        let kept = self.0.iter_mut().find(|(key, _)| *key == name);
        if let Some((_, kept)) = kept.filter(|_| JOINED.contains(&name.as_slice())) {
            kept.push(b',');
            kept.extend_from_slice(value.as_ref());
        } else {
            self.0.push((name, value.as_ref().to_vec()));
        }
    }

    /// Puts one value in the place of all that the field had.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.remove(&name);
        self.add(name, value);
    }

    /// Removes every line of a field.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        self.0
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name.as_ref()));
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .iter()
            .map(|(name, value)| (name.escape_ascii(), value.escape_ascii()))
            .map(|(name, value)| format!("{name}: {value}"));
        formatter.debug_list().entries(lines).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_field_has_one_line_and_a_repeated_one_keeps_all() {
        let mut headers = Headers::default();
        headers.add("X-Id", "1");
        headers.add("x-id", "2");
        assert_eq!(
            headers.get_all("x-ID").collect::<Vec<_>>(),
            [&b"1"[..], b"2"]
        );
        headers.set("X-ID", "3");
        assert_eq!(headers.get_all("x-id").collect::<Vec<_>>(), [b"3"]);
        headers.remove("X-Id");
        assert!(headers.is_empty());
    }

    #[test]
    fn a_repeated_authorization_is_joined() {
        let mut headers = Headers::default();
        headers.add("authorization", "Bearer a");
        headers.add("Authorization", "Bearer b");
        assert_eq!(
            headers.get("authorization"),
            Some(&b"Bearer a,Bearer b"[..])
        );
    }
}
