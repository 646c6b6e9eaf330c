//! The fields of a head on a tape. What stands there already is not written again: the session token, and the fields of a
//! request that go as they came, which are most.

use http::HeaderValue;

use super::{bytes::TapeBytes, read::Reader};

/// In the place of a value's length: it is the session token.
const THE_TOKEN: u32 = u32::MAX;

/// In the place of a name's length, which is never 0: name and value are those of the field that came in this place.
const AS_IT_CAME: u16 = 0;

/// The field in which it is sent.
const TOKEN: &str = "x-amz-security-token";

/// Bytes before a field: the length of its name and of its value.
const LENGTHS: usize = 6;

/// Fields that were written: so many, from there on.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields {
    count: u32,
    at: usize,
}

/// Writes fields, of which those that stand in the same place of `these` are not written again, nor is `token`, the
/// session token.
pub(super) fn write<'a>(
    tape: &mut TapeBytes,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    mut these: Fields,
    token: Option<&HeaderValue>,
) -> Fields {
    let at = tape.len();
    let mut written = Fields { count: 0, at: at + 4 };
    tape.raw([0; 4]);
    for (name, value) in fields {
        written.count += 1;
        if these.next_is(tape, name.as_bytes(), value) {
            tape.raw(AS_IT_CAME.to_ne_bytes());
            continue;
        }
        let is_token = name == TOKEN && token.is_some_and(|token| token == value);
        // A name has at most 65,535 bytes in `http`; heads are far below 4 GiB.
        let mut lengths = [0; LENGTHS];
        lengths[..2].copy_from_slice(&(name.len() as u16).to_ne_bytes());
        lengths[2..].copy_from_slice(&if is_token { THE_TOKEN } else { value.len() as u32 }.to_ne_bytes());
        tape.raw(lengths);
        tape.slice(name.as_bytes());
        if !is_token {
            tape.slice(value);
        }
    }
    tape.again(at, written.count.to_ne_bytes());
    written
}

impl Fields {
    /// Whether the next of these, as they stand on the tape, is this one.
    fn next_is(&mut self, tape: &[u8], name: &[u8], value: &[u8]) -> bool {
        let Some(left) = self.count.checked_sub(1) else { return false };
        let Some((of_name, rest)) = tape[self.at..].split_first_chunk() else { return false };
        let Some((of_value, field)) = rest.split_first_chunk() else { return false };
        let (of_name, of_value) =
            (u16::from_ne_bytes(*of_name) as usize, u32::from_ne_bytes(*of_value) as usize);
        *self = Self { count: left, at: self.at + LENGTHS + of_name + of_value };
        (of_name, of_value) == (name.len(), value.len())
            && field[..of_name] == *name
            && field[of_name..of_name + of_value] == *value
    }
}

/// Reads them back; `these` as when they were written.
pub(super) fn read<'a>(reader: &mut Reader<'a>, these: &[(&'a [u8], &'a [u8])]) -> Vec<(&'a [u8], &'a [u8])> {
    let count = u32::from_ne_bytes(reader.take()) as usize;
    let mut fields = Vec::with_capacity(count);
    let mut these = these.iter();
    for _ in 0..count {
        let same = these.next();
        let of_name = u16::from_ne_bytes(reader.take());
        if of_name == AS_IT_CAME {
            fields.push(*same.expect("it came in this place"));
            continue;
        }
        let of_value = u32::from_ne_bytes(reader.take());
        let name = reader.bytes(usize::from(of_name));
        let value = if of_value == THE_TOKEN { reader.token } else { reader.bytes(of_value as usize) };
        fields.push((name, value));
    }
    fields
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::super::Tape;

    #[test]
    fn a_field_that_goes_as_it_came_is_written_once_and_each_is_read_back_in_its_place() {
        let fields = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let came = fields(&[
            ("host", "localhost"),
            ("accept", "canary"),
            ("te", ""),
            ("cookie", "canary"),
            ("cookie", "two"),
        ]);
        for (sent, written) in [
            (
                vec![
                    ("host", "stage"),
                    ("accept", "canary"),
                    ("te", ""),
                    ("cookie", "canary"),
                    ("cookie", "two"),
                ],
                2,
            ),
            // What took the place of another, what is another's beginning or end, and what is more.
            (vec![("host", "localhost"), ("cookie", "canary"), ("accept", "canary")], 4),
            (vec![("host", "localhost"), ("accept", "canary2"), ("te", "canary")], 4),
            (vec![("host", "localhost"), ("accep", "tcanary")], 3),
            (vec![("hos", "tlocalhost"), ("accept", "canary"), ("x-more", "1"), ("x-more", "canary")], 3),
            (vec![("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("cookie", "canary")], 3),
            (vec![], 2),
        ] {
            let mut tape = Tape::begin("1", (&Method::GET, "/", Version::HTTP_11), &came, None);
            let sent = fields(&sent);
            // Sent twice, it is the second time that counts.
            tape.sent("/first", &fields(&[("x-first", "1")]), None);
            tape.sent("/second", &sent, None);
            let exchange = tape.read();
            assert_eq!(exchange.received.headers.exposed(), came);
            let read = exchange.sent.unwrap().headers.exposed();
            assert!(read.iter().eq(&sent), "{read:?} and {sent:?}");
            let (bytes, _) = tape.parts();
            assert_eq!(memchr::memmem::find_iter(&bytes, "canary").count(), written, "{sent:?}");
        }
    }

    #[test]
    fn a_session_token_and_what_came_are_read_back_from_one_head() {
        let token = HeaderValue::from_static("canary");
        let fields = |host, token: &HeaderValue| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static(host));
            headers.insert("x-amz-security-token", token.clone());
            headers.insert("accept", HeaderValue::from_static("text/plain"));
            headers
        };
        for came in [&token, &HeaderValue::from_static("another")] {
            let (came, sent) = (fields("localhost", came), fields("stage", &token));
            let mut tape = Tape::begin("1", (&Method::GET, "/", Version::HTTP_11), &came, None);
            tape.sent("/", &sent, Some(&token));
            let exchange = tape.read();
            assert_eq!(exchange.received.headers.exposed(), came);
            assert_eq!(exchange.sent.unwrap().headers.exposed(), sent);
        }
    }
}
