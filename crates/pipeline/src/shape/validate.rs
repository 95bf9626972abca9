//! Is this record exactly one JSON object? Finds out without building anything.
//!
//! How it works: one pass over the bytes for UTF-8, one for the grammar. The second walks the text with a stack of bits
//! (object or array) and looks at strings sixteen bytes at a time. On its way it notes what shaping needs: where the object
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
use wide::u8x16;

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
    /// The value of the first member with the sought name, if one was sought and is there.
    pub(super) sought: Option<Range<usize>>,
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
/// key's opening quote to the comma or brace behind its value. `sought` is the exact key of a member whose value is looked for.
pub(super) fn check(
    bytes: &[u8],
    key: &str,
    sought: Option<&[u8]>,
    named: &mut Vec<Range<usize>>,
) -> Result<Object, Flaw> {
    named.clear();
    if let Err(error) = simdutf8::compat::from_utf8(bytes) {
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
        sought,
        value: None,
        found: None,
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
    let (end, line_breaks, found) = (scan.at, scan.line_breaks, scan.found.take());
    scan.whitespace();
    if scan.at < bytes.len() {
        let what = "something follows the JSON document; one record must hold exactly one";
        return Err(flaw(what, scan.at));
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
        sought: found,
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
    /// The key of the member whose value is looked for.
    sought: Option<&'a [u8]>,
    /// Where that value begins, while it is being read.
    value: Option<usize>,
    found: Option<Range<usize>>,
}

/// What makes a record no JSON. It takes no scan, so that a scan's fields can stay in registers.
#[cold]
fn flaw(what: &'static str, at: usize) -> Flaw {
    Flaw {
        reason: Reason::InvalidJson,
        what,
        at,
    }
}

impl Scan<'_> {
    /// The next byte. At the end it is NUL, which stands nowhere in JSON.
    #[inline(always)]
    fn peek(&self) -> u8 {
        byte_at(self.bytes, self.at)
    }

    #[inline(always)]
    fn whitespace(&mut self) {
        // Events are mostly written without any.
        while self.peek() <= b' ' {
            match self.peek() {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.line_breaks = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// One value with all that is in it.
    #[inline(always)]
    fn value(&mut self) -> Result<(), Flaw> {
        loop {
            let byte = self.peek();
            match byte {
                b'"' => self.at = string(self.bytes, self.at)?.end,
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
                b'-' | b'0'..=b'9' => self.at = number(self.bytes, self.at)?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                0xEF => return Err(flaw("not JSON; perhaps a byte order mark", self.at)),
                _ => return Err(flaw("a value must stand here", self.at)),
            }
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Goes from behind a value to the next value; false where the outermost value has ended.
    #[inline(always)]
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
                let what = "a comma or the matching bracket must stand here";
                return Err(flaw(what, self.at));
            }
            self.end_member();
            self.close();
        }
        Ok(false)
    }

    #[inline(always)]
    fn end_member(&mut self) {
        if self.depth > 1 {
            return;
        }
        if let Some(begin) = self.member.take() {
            self.named.push(begin..self.at);
        }
        if let Some(begin) = self.value.take() {
            let value = self.bytes[begin..self.at].trim_ascii_end();
            self.found = Some(begin..begin + value.len());
        }
    }

    #[inline(always)]
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

    #[inline(always)]
    fn close(&mut self) {
        self.depth -= 1;
        self.in_object = self.stack[self.depth / 64] >> (self.depth % 64) & 1 == 1;
        self.at += 1;
    }

    /// A key and the colon behind it.
    #[inline(always)]
    fn key(&mut self) -> Result<(), Flaw> {
        if self.peek() != b'"' {
            return Err(flaw("a key must stand here, in double quotes", self.at));
        }
        let quote = self.at;
        let Text { end, escapes } = string(self.bytes, quote)?;
        self.at = end;
        let mut is_sought = false;
        if self.depth == 1 {
            let text = &self.bytes[quote + 1..end - 1];
            if let Some(sought) = self.sought
                && self.found.is_none()
            {
                is_sought = text == sought
                    || escapes && unescaped(text, sought.len()).is_some_and(|text| text.as_bytes() == sought);
            }
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
            return Err(flaw("a colon must stand here", self.at));
        }
        self.at += 1;
        self.whitespace();
        if is_sought {
            self.value = Some(self.at);
        }
        Ok(())
    }

    #[inline(always)]
    fn literal(&mut self, word: &'static [u8]) -> Result<(), Flaw> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(flaw("a value must stand here", self.at))
    }
}

#[inline(always)]
fn byte_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// What a string was.
struct Text {
    /// Behind its closing quote.
    end: usize,
    escapes: bool,
}

/// A string, from its opening quote on.
#[inline(always)]
fn string(bytes: &[u8], quote: usize) -> Result<Text, Flaw> {
    let at = plain_until(bytes, quote + 1);
    if byte_at(bytes, at) == b'"' {
        return Ok(Text {
            end: at + 1,
            escapes: false,
        });
    }
    string_with_escapes(bytes, at)
}

/// The rest of a string, from its first escape on.
fn string_with_escapes(bytes: &[u8], mut at: usize) -> Result<Text, Flaw> {
    loop {
        match byte_at(bytes, at) {
            b'"' => {
                return Ok(Text {
                    end: at + 1,
                    escapes: true,
                });
            }
            b'\\' => at = escape(bytes, at)?,
            _ if at == bytes.len() => return Err(flaw("a string without an end", at)),
            _ => return Err(flaw("a control character inside a string", at)),
        }
        at = plain_until(bytes, at);
    }
}

/// Behind an escape.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Flaw> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(flaw("an escape \\u without four hexadecimal digits", at)),
        },
        _ => Err(flaw("an unknown escape", at)),
    }
}

/// Behind digits, of which there must be one.
#[inline(always)]
fn digits(bytes: &[u8], begin: usize) -> Result<usize, Flaw> {
    let no_digits = |lane: u8x16| {
        let values = lane - u8x16::splat(b'0');
        !values.min(u8x16::splat(9)).simd_eq(values).to_bitmask() & 0xFFFF
    };
    let at = first(bytes, begin, no_digits, |byte| !byte.is_ascii_digit());
    if at == begin {
        return Err(flaw("a number lacks digits here", at));
    }
    Ok(at)
}

/// Behind a number.
#[inline(always)]
fn number(bytes: &[u8], mut at: usize) -> Result<usize, Flaw> {
    at += usize::from(byte_at(bytes, at) == b'-');
    at = if byte_at(bytes, at) == b'0' {
        at + 1
    } else {
        digits(bytes, at)?
    };
    if byte_at(bytes, at) == b'.' {
        at = digits(bytes, at + 1)?;
    }
    if matches!(byte_at(bytes, at), b'e' | b'E') {
        at += 1 + usize::from(matches!(byte_at(bytes, at + 1), b'+' | b'-'));
        at = digits(bytes, at)?;
    }
    Ok(at)
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
#[inline(always)]
fn plain_until(bytes: &[u8], at: usize) -> usize {
    let special = |lane: u8x16| {
        let quote = lane.simd_eq(u8x16::splat(b'"'));
        let backslash = lane.simd_eq(u8x16::splat(b'\\'));
        let control = lane.min(u8x16::splat(0x1F)).simd_eq(lane);
        (quote | backslash | control).to_bitmask()
    };
    first(bytes, at, special, |byte| {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    })
}

/// Where, from `at` on, the first byte stands that is sought; the end of the bytes if none does. `lane` and `byte` ask the
/// same question: of sixteen bytes at once, one bit each, without a guess for the processor to get wrong; and of one.
#[inline(always)]
fn first(bytes: &[u8], mut at: usize, lane: impl Fn(u8x16) -> u32, byte: impl Fn(u8) -> bool) -> usize {
    while let Some(sixteen) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let found = lane(u8x16::new(*sixteen));
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&b| byte(b)).unwrap_or(rest.len())
}

/// Whether the text between quotes says `key` when its escapes are resolved, ignoring ASCII case.
#[cold]
fn same_unescaped(text: &[u8], key: &[u8]) -> bool {
    unescaped(text, key.len()).is_some_and(|text| text.as_bytes().eq_ignore_ascii_case(key))
}

/// The text between quotes with its escapes resolved, where it can have this length (bytes).
#[cold]
fn unescaped(text: &[u8], length: usize) -> Option<String> {
    // An escape spends at most six bytes on one.
    if !(length..=length * 6).contains(&text.len()) {
        return None;
    }
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(text);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

#[cfg(test)]
pub(crate) mod tests;
