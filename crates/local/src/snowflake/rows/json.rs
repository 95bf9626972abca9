//! JSON text, read without building a tree.
//!
//! [`Reader`] checks a text against RFC 8259 and hands out its parts as slices of it. Lone surrogates are refused, since
//! they have no UTF-8 form, and nesting is bounded. Duplicate keys are left to the caller.

use std::borrow::Cow;

/// Values nested deeper than this are refused.
pub(crate) const MAX_DEPTH: usize = 512;

/// The text is not what RFC 8259 allows, or nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    Number,
    /// True if it holds escapes.
    Text(bool),
    Object,
    Array,
}

/// One value as it stands in the text; a string with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    pub(crate) text: &'a str,
    pub(crate) kind: Kind,
    /// There is whitespace between its tokens.
    spaced: bool,
}

impl<'a> Raw<'a> {
    /// A whole text as one value.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let mut reader = Reader::new(text);
        reader.space();
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    /// The value without whitespace between its tokens.
    pub(crate) fn compact(&self) -> Cow<'a, str> {
        if self.spaced {
            Cow::Owned(without_space(self.text))
        } else {
            Cow::Borrowed(self.text)
        }
    }

    /// The characters of a string; `None` for other kinds.
    pub(crate) fn string(&self) -> Option<Cow<'a, str>> {
        match self.kind {
            Kind::Text(escaped) => {
                let inner = self.text.get(1..self.text.len() - 1)?;
                if escaped {
                    unescape(inner).ok().map(Cow::Owned)
                } else {
                    Some(Cow::Borrowed(inner))
                }
            }
            _ => None,
        }
    }
}

/// Walks over a text.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Closing brackets that are due.
    open: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips whitespace; true if there was any.
    pub(crate) fn space(&mut self) -> bool {
        let from = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.at > from
    }

    /// Takes `byte` if it is next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.take(byte) { Ok(()) } else { Err(Malformed) }
    }

    /// Nothing but whitespace may follow.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    /// Reads a key with the colon after it, up to its value.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let from = self.at;
        let escaped = self.string()?;
        let inner = self.text.get(from + 1..self.at - 1).ok_or(Malformed)?;
        self.space();
        self.need(b':')?;
        self.space();
        if escaped {
            unescape(inner).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(inner))
        }
    }

    /// Reads one value, which starts here.
    pub(crate) fn value(&mut self) -> Result<Raw<'a>, Malformed> {
        let from = self.at;
        let mut spaced = false;
        let kind = match self.peek() {
            Some(b'{') => {
                spaced = self.nested()?;
                Kind::Object
            }
            Some(b'[') => {
                spaced = self.nested()?;
                Kind::Array
            }
            _ => self.scalar()?,
        };
        let text = self.text.get(from..self.at).ok_or(Malformed)?;
        Ok(Raw { text, kind, spaced })
    }

    fn scalar(&mut self) -> Result<Kind, Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(Kind::Text),
            Some(b't') => self.word("true", Kind::Boolean(true)),
            Some(b'f') => self.word("false", Kind::Boolean(false)),
            Some(b'n') => self.word("null", Kind::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Kind, Malformed> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(kind)
        } else {
            Err(Malformed)
        }
    }

    fn number(&mut self) -> Result<Kind, Malformed> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(Malformed) }
    }

    /// Reads a string with its quotes; true if it holds escapes.
    fn string(&mut self) -> Result<bool, Malformed> {
        self.need(b'"')?;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            self.at += plain(bytes.get(self.at..).unwrap_or_default());
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(Malformed),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(Malformed)?;
        let (_, length) = escape(rest)?;
        self.at += length;
        Ok(())
    }

    /// Reads an object or array; true if there is whitespace between its tokens.
    fn nested(&mut self) -> Result<bool, Malformed> {
        let mut spaced = false;
        self.open.clear();
        loop {
            // A value starts here.
            let closer = match self.peek() {
                Some(b'{') => Some(b'}'),
                Some(b'[') => Some(b']'),
                _ => None,
            };
            match closer {
                Some(closer) => {
                    self.at += 1;
                    if self.open.len() == MAX_DEPTH {
                        return Err(Malformed);
                    }
                    self.open.push(closer);
                    spaced |= self.space();
                    if self.peek() != Some(closer) {
                        spaced |= self.member(closer)?;
                        continue;
                    }
                }
                None => {
                    self.scalar()?;
                }
            }
            // A value, or an empty object or array but for its closing bracket, ended here.
            loop {
                let Some(closer) = self.open.last().copied() else {
                    return Ok(spaced);
                };
                spaced |= self.space();
                if self.take(closer) {
                    self.open.pop();
                    if self.open.is_empty() {
                        return Ok(spaced);
                    }
                } else {
                    self.need(b',')?;
                    spaced |= self.space();
                    spaced |= self.member(closer)?;
                    break;
                }
            }
        }
    }

    /// Goes to the value of the next member: over the key in an object.
    fn member(&mut self, closer: u8) -> Result<bool, Malformed> {
        if closer == b']' {
            return Ok(false);
        }
        self.string()?;
        let before = self.space();
        self.need(b':')?;
        Ok(self.space() || before)
    }
}

/// How many bytes at the start end no string, begin no escape and are no control character; counted in eights, so that fewer
/// than eight at the end of `bytes` may be left.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest bit that is set is of the first byte below `limit`; those above it may be wrong.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let (eights, _) = bytes.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = below(word, 0x20) | is(b'"') | is(b'\\');
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    eights.len() * 8
}

/// The character of an escape at the start of `bytes`, and how many bytes it takes.
fn escape(bytes: &[u8]) -> Result<(char, usize), Malformed> {
    let character = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes),
        _ => return Err(Malformed),
    };
    Ok((character, 2))
}

fn unicode(bytes: &[u8]) -> Result<(char, usize), Malformed> {
    let first = four(bytes)?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    let second = four(bytes.get(6..).ok_or(Malformed)?)?;
    if !(0xD800..0xDC00).contains(&first) || !(0xDC00..0xE000).contains(&second) {
        return Err(Malformed);
    }
    let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    char::from_u32(code)
        .map(|character| (character, 12))
        .ok_or(Malformed)
}

fn four(bytes: &[u8]) -> Result<u32, Malformed> {
    if !bytes.starts_with(b"\\u") {
        return Err(Malformed);
    }
    let digits = bytes.get(2..6).ok_or(Malformed)?;
    digits.iter().try_fold(0, |code, digit| {
        char::from(*digit)
            .to_digit(16)
            .map(|digit| code * 16 + digit)
            .ok_or(Malformed)
    })
}

/// The characters of a string's inside.
fn unescape(inner: &str) -> Result<String, Malformed> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = escape(&rest.as_bytes()[at..])?;
        text.push(character);
        rest = rest.get(at + length..).ok_or(Malformed)?;
    }
    text.push_str(rest);
    Ok(text)
}

/// Drops the whitespace between tokens of a well-formed text.
fn without_space(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    let mut in_string = false;
    let mut after_backslash = false;
    let mut kept = 0;
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = after_backslash || byte != b'"';
            after_backslash = byte == b'\\' && !after_backslash;
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            compact.push_str(&text[kept..at]);
            kept = at + 1;
        }
    }
    compact.push_str(&text[kept..]);
    compact
}

/// Appends `text` as a JSON string.
pub(crate) fn quote(text: &str, into: &mut String) {
    into.push('"');
    let mut kept = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        into.push_str(&text[kept..at]);
        kept = at + 1;
        match byte {
            b'"' => into.push_str("\\\""),
            b'\\' => into.push_str("\\\\"),
            b'\n' => into.push_str("\\n"),
            b'\r' => into.push_str("\\r"),
            b'\t' => into.push_str("\\t"),
            other => into.push_str(&format!("\\u{other:04x}")),
        }
    }
    into.push_str(&text[kept..]);
    into.push('"');
}

#[cfg(test)]
mod tests;
