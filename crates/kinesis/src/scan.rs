//! Walks over JSON bytes without building anything.
//!
//! It is for the answers of a service, to find members and their extents: it checks as much of the grammar as it needs to
//! find the end of a value, and answers `None` where it cannot. It never panics, whatever the bytes.

use memchr::memchr2;

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

/// Deeper nesting than any answer has.
const DEEPEST: usize = 64;

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, without taking it.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.space();
        self.text.get(self.at).copied()
    }

    /// Takes this byte, if it is the next one that is no space.
    pub(crate) fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The text between the quotes of a string, escapes as they stand.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            let found = memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            self.at += found;
            if self.text.get(self.at) == Some(&b'"') {
                let text = self.text.get(begin..self.at);
                self.at += 1;
                return text;
            }
            self.at += 2;
        }
    }

    /// A number, `true`, `false` or `null`, as it stands.
    pub(crate) fn plain(&mut self) -> Option<&'a [u8]> {
        self.space();
        let begin = self.at;
        while let Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') = self.text.get(self.at)
        {
            self.at += 1;
        }
        (self.at > begin).then(|| self.text.get(begin..self.at)).flatten()
    }

    /// Any value, as it stands.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        self.space();
        let begin = self.at;
        self.skip(0)?;
        self.text.get(begin..self.at)
    }

    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            _ if depth > DEEPEST => None,
            b'{' => {
                self.members(|cursor, _| cursor.skip(depth + 1))?;
                Some(())
            }
            b'[' => {
                self.elements(|cursor| cursor.skip(depth + 1))?;
                Some(())
            }
            _ => self.plain().map(drop),
        }
    }

    /// Each member of an object: `each` is given the name and takes the value.
    pub(crate) fn members(&mut self, mut each: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.take(b':')?;
            each(self, name)?;
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    /// Each element of an array: `each` takes it.
    pub(crate) fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            each(self)?;
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }
}

/// Milliseconds of a number of seconds: exact for decimal notation, to the nearest for one with an exponent.
pub(crate) fn seconds_to_ms(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !whole.is_empty() && whole.len() <= 15 && plain(whole) && plain(fraction) {
        let mut ms = whole.parse::<i64>().ok()? * 1000;
        let mut unit = 100;
        for digit in fraction.bytes().take(3) {
            ms += i64::from(digit - b'0') * unit;
            unit /= 10;
        }
        return Some(ms);
    }
    let ms = (text.parse::<f64>().ok()? * 1000.0).round();
    // Years up to about 9999; what is outside is no time of an event.
    (0.0..2.6e14).contains(&ms).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for text in [
            r#""a\"b\\""#,
            "{}",
            "[]",
            r#"{"a":[1,{"b":"]"}],"c":null}"#,
            "-1.5E9",
            "true",
        ] {
            let padded = format!("  {text} ,rest");
            assert_eq!(Cursor::new(padded.as_bytes(), 0).value(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn broken_texts_are_none() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "\"",
            "\"a\\",
            "{",
            "{\"a\"",
            "{\"a\":}",
            "[1,",
            "{\"a\":1,}",
            &deep,
        ] {
            assert_eq!(
                Cursor::new(text.as_bytes(), 0).value(),
                None,
                "{}",
                &text[..text.len().min(20)]
            );
        }
    }

    #[test]
    fn seconds_become_milliseconds() {
        let cases = [
            ("1700000000.123", Some(1_700_000_000_123)),
            ("1700000000", Some(1_700_000_000_000)),
            ("1700000000.1239", Some(1_700_000_000_123)),
            ("1700000000.5", Some(1_700_000_000_500)),
            ("1.7E9", Some(1_700_000_000_000)),
            ("1.700000000123E9", Some(1_700_000_000_123)),
            ("0", Some(0)),
            ("-1", None),
            ("NaN", None),
            ("1e300", None),
            ("x", None),
        ];
        for (text, ms) in cases {
            assert_eq!(seconds_to_ms(text.as_bytes()), ms, "{text}");
        }
    }
}
