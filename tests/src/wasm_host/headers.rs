//! A header map as Envoy keeps it: ordered, names in lower case, values of any bytes.
//! Follows Envoy's `HeaderMapImpl`, as in Envoy 1.40.

use std::fmt;

/// Headers that Envoy keeps once: repeated values are joined with a comma.
const JOINED: [&[u8]; 1] = [b"authorization"];

/// The headers or trailers of a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// Returns the first value of a header.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.iter();
        let line = lines.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        line.map(|(_, value)| value)
    }

    /// Returns the values of a header, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Returns the first value of a header as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.get(name)?).into_owned())
    }

    /// Appends a header, or joins it to the existing one if Envoy keeps only one.
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

    /// Replaces all headers of this name.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.remove(&name);
        self.add(name, value);
    }

    /// Removes all headers of this name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        self.0
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name.as_ref()));
    }

    /// Returns names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Returns the number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the map is empty.
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
    fn add_keeps_repeated_headers_and_set_replaces_them() {
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
    fn repeated_authorization_is_joined() {
        let mut headers = Headers::default();
        headers.add("authorization", "Bearer a");
        headers.add("Authorization", "Bearer b");
        assert_eq!(
            headers.get("authorization"),
            Some(&b"Bearer a,Bearer b"[..])
        );
    }
}
