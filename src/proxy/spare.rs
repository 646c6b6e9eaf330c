//! A copy of a request's headers that is cheap to make and seldom used: should the request be sent again, they are made
//! from it anew.
//!
//! hyper keeps the headers that it sends, and gives their map's room to the answer. A clone for the second time would
//! cost two allocations of a kilobyte each, and for each field a count that is kept in one place for all threads; here
//! text is copied into buffers that are used again.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers as they were before they were signed.
pub(super) struct Spare(Buffers);

#[derive(Default)]
struct Buffers {
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// One field: a name, which is followed in the text by its value.
struct Field {
    name_ends: usize,
    value: Value,
}

enum Value {
    EndsAt(usize),
    /// Held, not copied: no secret of the proxy's stays behind in a buffer.
    Secret(HeaderValue),
}

/// How many buffers a thread keeps while no request needs them.
const KEPT: usize = 256;
/// Larger ones go.
const LARGEST: usize = 8 << 10;

thread_local! {
    static FREE: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

impl Spare {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut buffers = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
        for (name, value) in headers {
            buffers.text.extend_from_slice(name.as_str().as_bytes());
            let name_ends = buffers.text.len();
            let value = if value.is_sensitive() {
                Value::Secret(value.clone())
            } else {
                buffers.text.extend_from_slice(value.as_bytes());
                Value::EndsAt(buffers.text.len())
            };
            buffers.fields.push(Field { name_ends, value });
        }
        Self(buffers)
    }

    /// Them all, in their order.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.0.fields.len());
        for (name, value) in self.fields() {
            let name = HeaderName::from_bytes(name).expect("it was a header's name");
            headers.append(name, value.into_header());
        }
        headers
    }

    /// The first of this name.
    pub(super) fn get(&self, wanted: &HeaderName) -> Option<HeaderValue> {
        let mut fields = self.fields();
        fields.find(|(name, _)| *name == wanted.as_str().as_bytes()).map(|(_, value)| value.into_header())
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], Spared<'_>)> {
        let Buffers { text, fields } = &self.0;
        let mut start = 0;
        fields.iter().map(move |Field { name_ends, value }| {
            let name = &text[start..*name_ends];
            let value = match value {
                Value::EndsAt(end) => {
                    start = *end;
                    Spared::Text(&text[*name_ends..*end])
                }
                Value::Secret(value) => {
                    start = *name_ends;
                    Spared::Secret(value)
                }
            };
            (name, value)
        })
    }
}

/// A value as it lies here.
enum Spared<'a> {
    Text(&'a [u8]),
    Secret(&'a HeaderValue),
}

impl Spared<'_> {
    fn into_header(self) -> HeaderValue {
        match self {
            Self::Text(text) => HeaderValue::from_bytes(text).expect("it was a header's value"),
            Self::Secret(value) => value.clone(),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let mut buffers = std::mem::take(&mut self.0);
        buffers.fields.clear();
        buffers.text.clear();
        if buffers.text.capacity() <= LARGEST {
            // While the thread ends there is no list any more.
            let _ = FREE.try_with(|free| {
                let mut free = free.borrow_mut();
                if free.len() < KEPT {
                    free.push(buffers);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FREE, KEPT, LARGEST, Spare};
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut key = HeaderValue::from_static("the key");
        key.set_sensitive(true);
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-api-key", key);
        headers.append("x-a", HeaderValue::from_bytes(b"\xff ").unwrap());
        headers.append("accept", HeaderValue::from_static(""));
        headers
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let headers = headers();
        let spare = Spare::of(&headers);
        assert_eq!(spare.headers(), headers);
        assert!(spare.headers()["x-api-key"].is_sensitive());
        for name in ["x-a", "x-api-key", "accept", "x-b"] {
            let name = HeaderName::from_static(name);
            assert_eq!(spare.get(&name).as_ref(), headers.get(&name), "{name}");
        }
        assert!(!spare.0.text.windows(7).any(|piece| piece == b"the key"), "a secret is not copied");
        assert_eq!(Spare::of(&HeaderMap::new()).headers(), HeaderMap::new());
    }

    #[test]
    fn buffers_are_used_again_within_bounds() {
        let address = |spare: &Spare| spare.0.text.as_ptr();
        let first = Spare::of(&headers());
        let at = address(&first);
        drop(first);
        let again = Spare::of(&headers());
        assert_eq!((address(&again), again.headers()), (at, headers()));
        let mut large = headers();
        large.append("x-large", HeaderValue::from_bytes(&vec![b'a'; LARGEST]).unwrap());
        drop(Spare::of(&large));
        let many: Vec<_> = (0..2 * KEPT).map(|_| Spare::of(&headers())).collect();
        drop(many);
        FREE.with_borrow(|free| {
            assert_eq!(free.len(), KEPT);
            assert!(free.iter().all(|buffers| buffers.text.capacity() <= LARGEST));
        });
    }
}
