//! What makes two reads the same one: who asks, where, and every byte that the vendor would see.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::plugin::{HttpMethod, HttpRequest};

/// As whom a read is made. A digest, so that no secret is in a key (invariant 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder([u8; 32]);

impl Holder {
    /// Of everything that tells one credential at one vendor from others. Two that differ in any part never share.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = Text::new("holder");
        for part in parts {
            text.add(part.as_bytes());
        }
        Self(text.digest())
    }
}

/// Names one read by one holder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl Key {
    /// All headers count, whatever the answer's `vary` names: those that a connector sets are few, and the host's own
    /// are the same for every request of a holder. The order of headers does not count, that of a query does.
    pub fn new(holder: &Holder, origin: &str, http: &HttpRequest) -> Self {
        let mut text = Text::new("read");
        text.add(&holder.0);
        text.add(origin.as_bytes());
        text.add(match http.method {
            HttpMethod::Get => b"get",
            HttpMethod::Post => b"post",
            HttpMethod::Put => b"put",
            HttpMethod::Patch => b"patch",
            HttpMethod::Delete => b"delete",
        });
        text.add(http.path.as_bytes());
        text.count(http.query.len());
        for (name, value) in &http.query {
            text.add(name.as_bytes());
            text.add(value.as_bytes());
        }
        let headers = http.headers.iter();
        let mut headers: Vec<_> = headers
            .map(|header| (header.name.to_ascii_lowercase(), header.value.as_str()))
            .collect();
        headers.sort_unstable();
        text.count(headers.len());
        for (name, value) in headers {
            text.add(name.as_bytes());
            text.add(value.as_bytes());
        }
        text.add(&http.body);
        Self(text.digest())
    }

    /// Of a read that may go by any of several credentials, at what it names as its cost: who waits for another's
    /// answer must have been able to ask for it.
    pub fn joined(keys: &[Self], costs: &[(String, u32)]) -> Self {
        let mut text = Text::new("joined");
        text.count(keys.len());
        for key in keys {
            text.add(&key.0);
        }
        for (pool, units) in costs {
            text.add(pool.as_bytes());
            text.add(&units.to_le_bytes());
        }
        Self(text.digest())
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key as [`bytes`](Self::bytes) gave it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// Pieces with their lengths, so that no two lists of pieces read the same.
struct Text(Sha256);

impl Text {
    fn new(what: &str) -> Self {
        let mut text = Self(Sha256::new());
        text.add(what.as_bytes());
        text
    }

    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_le_bytes());
    }

    fn add(&mut self, piece: &[u8]) {
        self.count(piece.len());
        self.0.update(piece);
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Header;

    fn get(path: &str) -> HttpRequest {
        HttpRequest {
            method: HttpMethod::Get,
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            origin: None,
        }
    }

    fn with(change: impl FnOnce(&mut HttpRequest)) -> HttpRequest {
        let mut http = get("/a");
        change(&mut http);
        http
    }

    fn header(name: &str, value: &str) -> Header {
        Header {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn whatever_the_vendor_would_see_tells_reads_apart() {
        let (ada, bob) = (Holder::new(["ada", "s"]), Holder::new(["adas"]));
        let query = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let reads = [
            (ada, "https://x", get("/a")),
            (bob, "https://x", get("/a")),
            (ada, "https://y", get("/a")),
            (ada, "https://x", get("/a/")),
            (ada, "https://x", get("/a?b=c")),
            (
                ada,
                "https://x",
                with(|http| http.query = query(&[("b", "c")])),
            ),
            (
                ada,
                "https://x",
                with(|http| http.query = query(&[("bc", "")])),
            ),
            (
                ada,
                "https://x",
                with(|http| http.query = query(&[("b", "c"), ("d", "e")])),
            ),
            (
                ada,
                "https://x",
                with(|http| http.query = query(&[("d", "e"), ("b", "c")])),
            ),
            (
                ada,
                "https://x",
                with(|http| http.headers = vec![header("b", "c")]),
            ),
            (ada, "https://x", with(|http| http.body = b"bc".to_vec())),
            (
                ada,
                "https://x",
                with(|http| http.method = HttpMethod::Post),
            ),
        ];
        let keys: std::collections::BTreeSet<Key> = reads
            .iter()
            .map(|(holder, origin, http)| Key::new(holder, origin, http))
            .collect();
        assert_eq!(keys.len(), reads.len());
    }

    #[test]
    fn the_order_and_case_of_headers_do_not_count() {
        let holder = Holder::new(["ada"]);
        let one = with(|http| http.headers = vec![header("accept", "x"), header("b", "c")]);
        let two = with(|http| http.headers = vec![header("B", "c"), header("Accept", "x")]);
        let key = |http| Key::new(&holder, "", http);
        assert_eq!(key(&one), key(&two));
    }
}
