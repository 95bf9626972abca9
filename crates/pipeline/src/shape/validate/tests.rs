//! The validator against the grammar and against `serde_json`.

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

const KEY: &str = "kinesisMetadata";

fn checked(text: impl AsRef<[u8]>) -> Result<Object, Reason> {
    check(text.as_ref(), KEY, None, &mut Vec::new()).map_err(|flaw| flaw.reason)
}

fn named(text: &str) -> Vec<&str> {
    let mut ranges = Vec::new();
    check(text.as_bytes(), KEY, None, &mut ranges).expect("an object");
    ranges.into_iter().map(|range| &text[range]).collect()
}

#[test]
fn the_value_of_the_sought_key_is_found_wherever_it_stands() {
    let cases = [
        (r#"{"type":"a"}"#, Some(r#""a""#)),
        (
            r#"{"x":{"type":1},"type" : {"type":2} ,"y":3}"#,
            Some(r#"{"type":2}"#),
        ),
        ("{\"x\":[\"type\"],\"t\\u0079pe\":\n-1.5e3\n}", Some("-1.5e3")),
        (r#"{"type":1,"type":2}"#, Some("1")),
        (r#"{"Type":1,"type ":2,"typ":3,"":4}"#, None),
        (
            r#"{"kinesisMetadata":0,"type":null,"KINESISMETADATA":1}"#,
            Some("null"),
        ),
        ("{}", None),
    ];
    for (text, value) in cases {
        let object = check(text.as_bytes(), KEY, Some(b"type"), &mut Vec::new()).expect("an object");
        assert_eq!(object.sought.map(|range| &text[range]), value, "{text}");
    }
    let both = check(
        br#"{"kinesisMetadata":7}"#,
        KEY,
        Some(KEY.as_bytes()),
        &mut Vec::new(),
    );
    assert_eq!(both.expect("an object").sought, Some(19..20));
}

#[test]
fn objects_pass() {
    let deepest = format!(
        "{{\"a\":{}{}}}",
        "[".repeat(MAX_DEPTH - 1),
        "]".repeat(MAX_DEPTH - 1)
    );
    let good = [
        "{}",
        " \t{ }\r\n",
        r#"{"a":1}"#,
        r#"{"":[],"b":{},"c":[{}],"d":[1,-0,0.5,-1.25e+10,1E9,123456789012345678901234567890]}"#,
        r#"{"a":true,"b":false,"c":null,"d":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"lone":"\ud800"}"#,
        r#"{"long text beyond eight bytes":"and another one, with a quote \" inside of it"}"#,
        "{\"é\":\"日本語 \u{7f}\u{1F600}\"}",
        &deepest,
    ];
    for text in good {
        assert!(checked(text).is_ok(), "{text:?}: {:?}", checked(text));
    }
}

#[test]
fn everything_else_gets_its_reason() {
    let too_deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    let bad: &[(Reason, &[u8])] = &[
        (Reason::Empty, b""),
        (Reason::Empty, b" \r\n\t"),
        (Reason::NotAnObject, b"[1,2]"),
        (Reason::NotAnObject, b"12"),
        (Reason::NotAnObject, b"\"text\""),
        (Reason::NotAnObject, b" null "),
        (Reason::InvalidJson, b"\xEF\xBB\xBF{}"),
        (Reason::InvalidJson, b"{"),
        (Reason::InvalidJson, b"{\"a\"}"),
        (Reason::InvalidJson, b"{\"a\":}"),
        (Reason::InvalidJson, b"{\"a\":1,}"),
        (Reason::InvalidJson, b"{,\"a\":1}"),
        (Reason::InvalidJson, b"{\"a\":[1,]}"),
        (Reason::InvalidJson, b"{\"a\":[1}]"),
        (Reason::InvalidJson, b"{\"a\":1]"),
        (Reason::InvalidJson, b"{\"a\" 1}"),
        (Reason::InvalidJson, b"{a:1}"),
        (Reason::InvalidJson, b"{'a':1}"),
        (Reason::InvalidJson, b"{\"a\":01}"),
        (Reason::InvalidJson, b"{\"a\":+1}"),
        (Reason::InvalidJson, b"{\"a\":.5}"),
        (Reason::InvalidJson, b"{\"a\":1.}"),
        (Reason::InvalidJson, b"{\"a\":1e}"),
        (Reason::InvalidJson, b"{\"a\":-}"),
        (Reason::InvalidJson, b"{\"a\":NaN}"),
        (Reason::InvalidJson, b"{\"a\":tru}"),
        (Reason::InvalidJson, b"{\"a\":truee}"),
        (Reason::InvalidJson, b"{\"a\":\"\x01\"}"),
        (Reason::InvalidJson, b"{\"a\":\"line\nbreak\"}"),
        (Reason::InvalidJson, b"{\"a\":\"\\x\"}"),
        (Reason::InvalidJson, b"{\"a\":\"\\u12g4\"}"),
        (Reason::InvalidJson, b"{\"a\":\"\\u12"),
        (Reason::InvalidJson, b"{\"a\":\"\\"),
        (Reason::InvalidJson, b"{\"a\":\"never ends, however long it is}"),
        (Reason::InvalidJson, b"{} {}"),
        (Reason::InvalidJson, b"{\"a\":1}\n{\"a\":2}\n"),
        (Reason::InvalidJson, b"{}\0"),
        (Reason::InvalidJson, b"\0"),
        (Reason::InvalidJson, b"{\x0c}"),
        (Reason::InvalidJson, "{}\u{a0}".as_bytes()),
        (Reason::InvalidUtf8, b"{\"a\":\"\xC3\"}"),
        (Reason::InvalidUtf8, b"\x1f\x8b\x08"),
        (Reason::TooDeep, too_deep.as_bytes()),
    ];
    for (reason, bytes) in bad {
        assert_eq!(
            checked(bytes).err(),
            Some(*reason),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn the_object_is_found_between_whitespace() {
    let found = checked("\n {\"a\":1} \n").expect("an object");
    assert_eq!(
        found,
        Object {
            range: 2..9,
            members: true,
            line_breaks: false,
            sought: None,
        }
    );
    let found = checked("{ \r\n }").expect("an object");
    assert_eq!(
        found,
        Object {
            range: 0..6,
            members: false,
            line_breaks: true,
            sought: None,
        }
    );
    assert!(checked("{\"a\":[1,\n2]}").expect("an object").line_breaks);
    assert!(!checked(r#"{"a":"\n"}"#).expect("an object").line_breaks);
}

#[test]
fn only_members_of_the_object_itself_are_named() {
    assert_eq!(
        named(r#"{"kinesisMetadata":{"a":[1,{}]},"b":1}"#),
        [r#""kinesisMetadata":{"a":[1,{}]}"#]
    );
    assert_eq!(
        named(r#"{"b":1, "KINESISMETADATA" : 7 }"#),
        [r#""KINESISMETADATA" : 7 "#]
    );
    assert_eq!(
        named(r#"{"\u006binesisMetad\u0041ta":"x"}"#),
        [r#""\u006binesisMetad\u0041ta":"x""#]
    );
    assert_eq!(
        named(r#"{"kinesisMetadata":1,"x":2,"kinesismetadata":3}"#).len(),
        2
    );
    let others = [
        r#"{"a":{"kinesisMetadata":1},"b":[{"kinesisMetadata":2}]}"#,
        r#"{"a":"kinesisMetadata","kinesisMetadat":1,"kinesisMetadata2":2}"#,
        r#"{"kinesis\nMetadata":1,"kinesisMetadat\ud800":1}"#,
    ];
    for other in others {
        assert!(named(other).is_empty(), "{other}");
    }
}

/// What `serde_json` says: one object, whatever its depth.
fn reference(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).is_ok();
    let object = bytes.iter().find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')) == Some(&b'{');
    text && object && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

pub(crate) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        "\\PC{0,40}".prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            any_object_of(inner),
        ]
    })
}

fn any_object_of(
    inner: impl Strategy<Value = serde_json::Value>,
) -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![
        Just("kinesisMetadata".to_owned()),
        "[a-zA-Z]{0,12}",
        any::<String>()
    ];
    prop::collection::btree_map(key, inner, 0..6)
        .prop_map(|members| serde_json::Value::Object(members.into_iter().collect()))
}

pub(crate) fn any_object() -> impl Strategy<Value = serde_json::Value> {
    any_object_of(any_json())
}

proptest! {
    #[test]
    fn what_serde_json_takes_passes(object in any_object(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) };
        let text = text.expect("a value");
        let found = checked(&text).expect("an object");
        prop_assert_eq!(found.range, 0..text.len());
        prop_assert_eq!(found.members, !object.as_object().expect("an object").is_empty());
        prop_assert_eq!(found.line_breaks, text.contains(&b'\n'));
    }

    #[test]
    fn a_damaged_object_is_judged_as_serde_json_does(
        object in any_object(),
        pretty in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>(), 0..24_usize), 1..4),
    ) {
        let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) };
        let mut text = text.expect("a value");
        for (place, how, byte, token) in damage {
            let place = place.index(text.len() + 1);
            let token = b"{}[],:\"\\ \n\t0123.-+eEtfnu"[token];
            match how {
                0 if place < text.len() => drop(text.remove(place)),
                1 if place < text.len() => text[place] = byte,
                2 => text.insert(place, token),
                3 => text.truncate(place),
                _ => text.push(token),
            }
        }
        prop_assert_eq!(checked(&text).is_ok(), reference(&text), "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn tokens_in_any_order_are_judged_as_serde_json_does(
        tokens in prop::collection::vec(
            prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "1", "-", "0", ".", "e", "true", "null", " ", "\n"]),
            0..14,
        ),
    ) {
        let text = format!("{{\"a\":{}", tokens.concat());
        prop_assert_eq!(checked(&text).is_ok(), reference(text.as_bytes()), "{:?}", text);
    }

    #[test]
    fn any_bytes_are_judged_as_serde_json_does(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(checked(&bytes).is_ok(), reference(&bytes));
    }

    #[test]
    fn the_first_special_byte_is_found(bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0..40_usize) {
        let at = at.min(bytes.len());
        let slow = bytes[at..].iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
        prop_assert_eq!(plain_until(&bytes, at), at + slow.unwrap_or(bytes.len() - at));
    }
}
