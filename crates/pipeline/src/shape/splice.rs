//! Makes a row of an object, in place: one NDJSON line with one more member.
//!
//! How it works: the object stands at the end of the buffer. Members that bear the metadata key's name are cut out, line
//! breaks between tokens become spaces (inside strings there are none, or it would not be JSON), and the closing brace is
//! overwritten by the new member. All else stays as it came, byte by byte. The work is linear in the record's length
//! however many members are cut.

use std::ops::Range;

use crate::shape::validate::Object;

/// Turns `raw[start..]`, in which `object` was found, into a row; `member` appends the new member.
pub(super) fn splice(
    raw: &mut Vec<u8>,
    start: usize,
    object: &Object,
    cuts: &[Range<usize>],
    member: impl FnOnce(&mut Vec<u8>),
) {
    raw.truncate(start + object.range.end);
    let mut members = object.members;
    if !cuts.is_empty() {
        members = cut(raw, start, object.range.start, cuts);
    }
    if object.range.start > 0 {
        drop(raw.drain(start..start + object.range.start));
    }
    if object.line_breaks {
        for byte in &mut raw[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    raw.pop();
    if members {
        raw.push(b',');
    }
    member(raw);
    raw.extend_from_slice(b"}\n");
}

/// Cuts members out of the object that begins at `start + brace` and ends the buffer; `cuts` are counted from `start`,
/// in order, each up to the comma or brace behind the member. Answers whether any member is left.
fn cut(raw: &mut Vec<u8>, start: usize, brace: usize, cuts: &[Range<usize>]) -> bool {
    let mut end = start + cuts[0].start;
    let mut cut_last = false;
    for (index, cut) in cuts.iter().enumerate() {
        let behind = start + cut.end;
        cut_last = raw[behind] == b'}';
        let from = if cut_last { behind } else { behind + 1 };
        let until = cuts.get(index + 1).map_or(raw.len(), |next| start + next.start);
        raw.copy_within(from..until, end);
        end += until - from;
    }
    raw.truncate(end);
    raw.pop();
    if cut_last {
        // The comma before it separates nothing any more.
        let text = raw.trim_ascii_end();
        let kept = text.strip_suffix(b",").unwrap_or(text).len();
        raw.truncate(kept);
    }
    let left = raw[start + brace + 1..].iter().any(|b| !b.is_ascii_whitespace());
    raw.push(b'}');
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shape::validate::check;
    use crate::shape::validate::tests::any_object;

    fn spliced(record: &str) -> String {
        let mut raw = b"the row before\n".to_vec();
        let start = raw.len();
        raw.extend_from_slice(record.as_bytes());
        let mut cuts = Vec::new();
        let object = check(record.as_bytes(), "meta", None, &mut cuts).expect("an object");
        splice(&mut raw, start, &object, &cuts, |raw| {
            raw.extend_from_slice(b"\"meta\":0")
        });
        let text = String::from_utf8(raw).expect("text");
        text.strip_prefix("the row before\n")
            .expect("untouched")
            .to_owned()
    }

    #[test]
    fn rows_golden() {
        let golden = [
            ("{}", "{\"meta\":0}\n"),
            ("{ }", "{ \"meta\":0}\n"),
            (r#"{"a":1}"#, "{\"a\":1,\"meta\":0}\n"),
            (" \n{\"a\": [1,\r\n2]\n} \n", "{\"a\": [1,  2] ,\"meta\":0}\n"),
            (r#"{"meta":1}"#, "{\"meta\":0}\n"),
            (r#" { "META" : {"a":1} } "#, "{\"meta\":0}\n"),
            (r#"{"a":1,"meta":2}"#, "{\"a\":1,\"meta\":0}\n"),
            (r#"{"meta":1,"a":2}"#, "{\"a\":2,\"meta\":0}\n"),
            (
                r#"{"a":1 , "meta":2 , "b":3}"#,
                "{\"a\":1 ,  \"b\":3,\"meta\":0}\n",
            ),
            (
                r#"{"meta":1,"Meta":2,"a":3,"\u006deta":4,"meta":5}"#,
                "{\"a\":3,\"meta\":0}\n",
            ),
            (r#"{"meta":1,"meta":2}"#, "{\"meta\":0}\n"),
            ("{\"a\":\",\",\n\"meta\":2\n}", "{\"a\":\",\",\"meta\":0}\n"),
        ];
        for (record, row) in golden {
            assert_eq!(spliced(record), row, "{record}");
        }
    }

    #[test]
    fn many_cuts_take_linear_time() {
        let members = vec![r#""meta":1"#; 400_000].join(",");
        assert_eq!(
            spliced(&format!("{{{members},\"a\":1}}")),
            "{\"a\":1,\"meta\":0}\n"
        );
    }

    proptest! {
        #[test]
        fn a_row_is_its_object_and_the_member(
            object in any_object(),
            names in prop::collection::vec((prop::sample::select(vec!["meta", "META", "mEtA"]), any::<u32>()), 0..3),
            pretty in any::<bool>(),
        ) {
            // serde_json's numbers do not survive a text to the last bit; both sides went through one.
            let read: serde_json::Value = serde_json::from_str(&object.to_string()).expect("JSON");
            let mut expected = read.as_object().expect("an object").clone();
            expected.retain(|key, _| !key.eq_ignore_ascii_case("meta"));
            let mut record = object;
            for (name, value) in names {
                record[name] = value.into();
            }
            let text = if pretty { serde_json::to_string_pretty(&record) } else { serde_json::to_string(&record) };
            let row = spliced(&text.expect("a value"));
            expected.insert("meta".to_owned(), 0.into());
            prop_assert_eq!(row.matches('\n').count(), 1);
            prop_assert!(row.ends_with('\n'));
            let found: serde_json::Value = serde_json::from_str(&row).expect("a row is JSON");
            prop_assert_eq!(found, serde_json::Value::Object(expected));
        }
    }
}
