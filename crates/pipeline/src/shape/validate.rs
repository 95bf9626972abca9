//! Is this record exactly one JSON object? Finds out without building anything.
//!
//! How it works: one pass over the bytes for UTF-8, one for the grammar. The second walks the text with a stack of bits
//! (object or array) and looks at strings eight bytes at a time. On its way it notes what shaping needs: where the object
//! begins and ends, whether it has members, whether line breaks stand between its tokens, and which members of the object
//! itself bear the metadata key's name.
//!
//! What it guarantees: what passes is one JSON object by RFC 8259 with nothing but whitespace around it, valid UTF-8,
//! at most [`MAX_DEPTH`] levels deep. It allocates nothing for text without escapes in its keys.
//!
//! What it does not: it does not judge values. Numbers of any size, duplicate keys, and escapes of lone surrogates
//! (`"\ud800"`) are allowed by the grammar and pass unchanged; what the destination makes of them is the destination's.
//! A byte order mark is not JSON (RFC 8259, section 8.1). Several documents in one record are not accepted.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::dead_letters::Reason;

/// How many arrays and objects may stand inside each other.
pub const MAX_DEPTH: usize = 512;

/// What was found out about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// From the opening brace to behind the closing one.
    pub(super) range: Range<usize>,
    /// Whether it has members.
    pub(super) members: bool,
    /// Whether `\n` or `\r` stand between its tokens.
    pub(super) line_breaks: bool,
}

/// Why bytes are no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The kind of it.
    pub(super) reason: Reason,
    /// What was found; it never quotes the record.
    pub(super) what: &'static str,
    /// At which byte of the record.
    pub(super) at: usize,
}

/// Checks a record. Into `named` go the members of the object whose key is `key`, ignoring ASCII case: each from its
/// key's opening quote to the comma or brace behind its value.
pub(super) fn check(bytes: &[u8], key: &str, named: &mut Vec<Range<usize>>) -> Result<Object, Flaw> {
    named.clear();
    if let Err(error) = std::str::from_utf8(bytes) {
        let what = "these bytes are not UTF-8";
        return Err(Flaw {
            reason: Reason::InvalidUtf8,
            what,
            at: error.valid_up_to(),
        });
    }
    let mut scan = Scan {
        bytes,
        at: 0,
        in_object: false,
        depth: 0,
        stack: [0; MAX_DEPTH / 64],
        line_breaks: false,
        key: key.as_bytes(),
        member: None,
        named,
    };
    scan.whitespace();
    scan.line_breaks = false;
    let start = scan.at;
    if start == bytes.len() {
        return Err(Flaw {
            reason: Reason::Empty,
            what: "nothing but whitespace",
            at: start,
        });
    }
    scan.value()?;
    let (end, line_breaks) = (scan.at, scan.line_breaks);
    scan.whitespace();
    if scan.at < bytes.len() {
        return Err(scan.flaw("something follows the JSON document; one record must hold exactly one"));
    }
    if bytes[start] != b'{' {
        let what = "a JSON document, but not an object";
        return Err(Flaw {
            reason: Reason::NotAnObject,
            what,
            at: start,
        });
    }
    let members = bytes[start + 1..end - 1]
        .iter()
        .any(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
    Ok(Object {
        range: start..end,
        members,
        line_breaks,
    })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether the innermost open bracket is a brace.
    in_object: bool,
    depth: usize,
    /// One bit for each open bracket but the innermost: whether it is a brace.
    stack: [u64; MAX_DEPTH / 64],
    line_breaks: bool,
    key: &'a [u8],
    /// Where the member of the metadata key's name begins that is being read.
    member: Option<usize>,
    named: &'a mut Vec<Range<usize>>,
}

impl Scan<'_> {
    #[cold]
    fn flaw(&self, what: &'static str) -> Flaw {
        Flaw {
            reason: Reason::InvalidJson,
            what,
            at: self.at,
        }
    }

    /// The next byte. At the end it is NUL, which stands nowhere in JSON.
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn whitespace(&mut self) {
        while let byte @ (b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.line_breaks |= byte == b'\n' || byte == b'\r';
            self.at += 1;
        }
    }

    /// One value with all that is in it.
    #[inline]
    fn value(&mut self) -> Result<(), Flaw> {
        loop {
            let byte = self.peek();
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    self.open(byte == b'{')?;
                    self.whitespace();
                    if self.peek() == byte + 2 {
                        self.close();
                    } else {
                        if self.in_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                0xEF => return Err(self.flaw("not JSON; perhaps a byte order mark")),
                _ => return Err(self.flaw("a value must stand here")),
            }
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Goes from behind a value to the next value; false where the outermost value has ended.
    #[inline]
    fn more(&mut self) -> Result<bool, Flaw> {
        while self.depth > 0 {
            self.whitespace();
            let byte = self.peek();
            if byte == b',' {
                self.end_member();
                self.at += 1;
                self.whitespace();
                if self.in_object {
                    self.key()?;
                }
                return Ok(true);
            }
            let closing = if self.in_object { b'}' } else { b']' };
            if byte != closing {
                return Err(self.flaw("a comma or the matching bracket must stand here"));
            }
            self.end_member();
            self.close();
        }
        Ok(false)
    }

    #[inline]
    fn end_member(&mut self) {
        if self.depth == 1
            && let Some(begin) = self.member.take()
        {
            self.named.push(begin..self.at);
        }
    }

    #[inline]
    fn open(&mut self, object: bool) -> Result<(), Flaw> {
        if self.depth == MAX_DEPTH {
            let what = "more than 512 arrays and objects inside each other";
            return Err(Flaw {
                reason: Reason::TooDeep,
                what,
                at: self.at,
            });
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.stack[word] = self.stack[word] & !(1 << bit) | u64::from(self.in_object) << bit;
        self.in_object = object;
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn close(&mut self) {
        self.depth -= 1;
        self.in_object = self.stack[self.depth / 64] >> (self.depth % 64) & 1 == 1;
        self.at += 1;
    }

    /// A key and the colon behind it.
    #[inline]
    fn key(&mut self) -> Result<(), Flaw> {
        if self.peek() != b'"' {
            return Err(self.flaw("a key must stand here, in double quotes"));
        }
        let quote = self.at;
        let escapes = self.string()?;
        if self.depth == 1 {
            let text = &self.bytes[quote + 1..self.at - 1];
            let same = if escapes {
                same_unescaped(text, self.key)
            } else {
                text.eq_ignore_ascii_case(self.key)
            };
            if same {
                self.member = Some(quote);
            }
        }
        self.whitespace();
        if self.peek() != b':' {
            return Err(self.flaw("a colon must stand here"));
        }
        self.at += 1;
        self.whitespace();
        Ok(())
    }

    /// A string, from its opening quote to behind its closing one; answers whether it has escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Flaw> {
        self.at += 1;
        let mut escapes = false;
        loop {
            self.at = plain_until(self.bytes, self.at);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(escapes);
                }
                b'\\' => {
                    escapes = true;
                    self.escape()?;
                }
                _ if self.at == self.bytes.len() => return Err(self.flaw("a string without an end")),
                _ => return Err(self.flaw("a control character inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.bytes.get(self.at + 2..self.at + 6) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => self.at += 6,
                _ => return Err(self.flaw("an escape \\u without four hexadecimal digits")),
            },
            _ => return Err(self.flaw("an unknown escape")),
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Flaw> {
        let begin = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == begin {
            Err(self.flaw("a number lacks digits here"))
        } else {
            Ok(())
        }
    }

    #[inline]
    fn number(&mut self) -> Result<(), Flaw> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn literal(&mut self, word: &'static [u8]) -> Result<(), Flaw> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.flaw("a value must stand here"))
    }
}

/// Whether a text can stand between the quotes of a JSON string as it is.
pub(super) fn is_inside_of_string(text: &str) -> bool {
    let bytes = text.as_bytes();
    plain_until(bytes, 0) == bytes.len() || serde_json::from_str::<IgnoredAny>(&format!("\"{text}\"")).is_ok()
}

/// Whether a text can stand between the quotes of a JSON string as it is, and mean itself there.
#[inline]
pub(super) fn needs_no_escape(text: &str) -> bool {
    plain_until(text.as_bytes(), 0) == text.len()
}

/// Where, from `at` on, the first quote, backslash or control character stands; the end of the bytes if none does.
#[inline]
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let marks = special(u64::from_le_bytes(*eight));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
        .unwrap_or(rest.len())
}

/// Sets the highest bit of the lowest byte that is a quote, a backslash or a control character; bits above it mean
/// nothing. Zero only where no byte is one.
#[inline]
fn special(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_in(eight ^ (ONES * b'"' as u64));
    let backslash = zero_in(eight ^ (ONES * b'\\' as u64));
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (quote | backslash | control) & (ONES * 0x80)
}

/// Whether the text between quotes says `key` when its escapes are resolved, ignoring ASCII case.
#[cold]
fn same_unescaped(text: &[u8], key: &[u8]) -> bool {
    // An escape spends at most six bytes on one.
    if !(key.len()..=key.len() * 6).contains(&text.len()) {
        return false;
    }
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(text);
    quoted.push(b'"');
    serde_json::from_slice::<String>(&quoted).is_ok_and(|text| text.as_bytes().eq_ignore_ascii_case(key))
}

#[cfg(test)]
pub(crate) mod tests;
