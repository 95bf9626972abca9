//! Reads protobuf messages field by field, as slices (source: protobuf.dev, "Encoding").
//!
//! It knows all wire types, so that fields of a later version of a message can be skipped, groups included. It allocates
//! nothing, never panics, whatever the bytes, and answers [`Malformed`] where they are no message.

/// How deep groups may stand in each other; the protobuf libraries stop there, too.
const DEEPEST_GROUP: u32 = 100;

/// The bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A varint.
    Number(u64),
    /// A string, bytes, or a message.
    Bytes(&'a [u8]),
    /// 4 or 8 bytes, or a group: nothing that is looked at here.
    Other,
}

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
}

/// A place in a message.
#[derive(Debug, Clone)]
pub(super) struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Wire<'a> {
    /// Begins at this byte of the message.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The byte behind the last field that was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next field; none at the end of the message.
    #[inline]
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        let value = self.value(number, kind, 0)?;
        Ok(Some(Field { number, value }))
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        match tag >> 3 {
            0 => Err(Malformed),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    fn value(&mut self, number: u32, kind: u8, depth: u32) -> Result<Value<'a>, Malformed> {
        match kind {
            0 => self.varint().map(Value::Number),
            1 => self.take(8).map(|_| Value::Other),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                self.take(length).map(Value::Bytes)
            }
            3 => self.group(number, depth + 1).map(|()| Value::Other),
            5 => self.take(4).map(|_| Value::Other),
            _ => Err(Malformed),
        }
    }

    /// Walks over a group up to its end mark.
    fn group(&mut self, number: u32, depth: u32) -> Result<(), Malformed> {
        const END: u8 = 4;
        if depth > DEEPEST_GROUP {
            return Err(Malformed);
        }
        loop {
            match self.tag()? {
                (end, END) if end == number => return Ok(()),
                (inner, kind) => drop(self.value(inner, kind, depth)?),
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(Malformed)?;
            self.at += 1;
            // The tenth byte has room for the highest bit only.
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        let mut wire = Wire::new(bytes, 0);
        let mut fields = Vec::new();
        while let Some(field) = wire.field()? {
            fields.push(field);
        }
        assert_eq!(wire.at(), bytes.len());
        Ok(fields)
    }

    fn field(number: u32, value: Value<'_>) -> Field<'_> {
        Field { number, value }
    }

    #[test]
    fn fields_of_every_wire_type_are_read() {
        // The examples of the encoding's documentation: 150 as field 1, "testing" as field 2.
        let known = [&[0x08, 0x96, 0x01, 0x12, 7][..], b"testing"].concat();
        let expected = [field(1, Value::Number(150)), field(2, Value::Bytes(b"testing"))];
        assert_eq!(fields(&known).as_deref(), Ok(&expected[..]));
        let eight_four = [0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0, 0, 0, 0];
        let expected = [field(1, Value::Other), field(2, Value::Other)];
        assert_eq!(fields(&eight_four).as_deref(), Ok(&expected[..]));
        // A group of field 3 that holds another one and a number.
        let group = [0x1b, 0x23, 0x08, 1, 0x24, 0x1c];
        assert_eq!(fields(&group).as_deref(), Ok(&[field(3, Value::Other)][..]));
        let largest = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(
            fields(&largest).as_deref(),
            Ok(&[field(1, Value::Number(u64::MAX))][..])
        );
        assert_eq!(fields(b"").as_deref(), Ok(&[][..]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let deep = [0x0b_u8; 100_000];
        let bad: [&[u8]; 12] = [
            &[0x08],                                                          // a field without its value
            &[0x80],                                                          // a tag cut short
            &[0x00, 0x00],                                                    // field 0
            &[0x0a, 5, 1],                                                    // longer than the message
            &[0x09, 0, 0, 0],                                                 // 8 bytes, cut short
            &[0x0d, 0],                                                       // 4 bytes, cut short
            &[0x0e],                                                          // wire type 6
            &[0x0c],                                                          // the end of no group
            &[0x0b, 0x14],                                                    // the end of another group
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], // 65 bits
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], // 2^64 - 1 bytes
            &deep,
        ];
        for bytes in bad {
            assert_eq!(
                fields(bytes),
                Err(Malformed),
                "{:02x?}",
                &bytes[..bytes.len().min(12)]
            );
        }
    }

    proptest! {
        #[test]
        fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(fields(&bytes));
        }
    }
}
