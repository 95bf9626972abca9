//! Texts that are JSON, and those that are none.

use super::*;

#[test]
fn valid_texts_parse_to_their_kind() {
    for (text, kind) in [
        ("null", Kind::Null),
        ("true", Kind::Boolean(true)),
        ("-0.5e+10", Kind::Number),
        (r#""a\u00e9\n""#, Kind::Text(true)),
        (r#"{"a":[1,{"b":[]},{}],"c":"}"}"#, Kind::Object),
        ("[[],[[]]]", Kind::Array),
    ] {
        assert_eq!(Raw::parse(text).unwrap().kind, kind, "{text}");
    }
}

#[test]
fn invalid_texts_are_refused() {
    for text in [
        "",
        "tru",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "NaN",
        "'a'",
        "\"a",
        "\"\t\"",
        r#""\x""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u12"#,
        "{",
        "{]",
        "[}",
        "[1,]",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{a:1}"#,
        "[1 2]",
        "1 2",
        "[1]]",
        r#"{"a":1,}"#,
        "[,1]",
    ] {
        assert_eq!(Raw::parse(text), Err(Malformed), "{text}");
    }
}

#[test]
fn strings_end_break_and_escape_at_every_place() {
    let mut found = [0; 2];
    for before in ["", "é", "\u{10ffff}", "\u{7f}"] {
        for length in 0..40 {
            for special in [
                "", "\\\"", "\\\\", "\\u00e9", "\u{1f}", "\n", "\\x", "\u{80}", "!#[]",
            ] {
                for behind in ["", "x", "a longer end of it"] {
                    let text = format!("\"{}{before}{special}{behind}\"", "a".repeat(length));
                    let known = serde_json::from_str::<String>(&text).ok();
                    let read = Raw::parse(&text).ok();
                    let read = read.map(|raw| raw.string().unwrap().into_owned());
                    assert_eq!(read, known, "{text}");
                    found[usize::from(known.is_some())] += 1;
                }
            }
        }
    }
    assert!(found.iter().all(|count| *count > 1000), "{found:?}");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Raw::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(Raw::parse(&nested(MAX_DEPTH + 1)).is_err());
}

#[test]
fn whitespace_goes_but_not_inside_strings() {
    let raw = Raw::parse(" { \"a b\" : [ 1 , \"x \\\" y\" ] ,\n\"c\":{ } } ").unwrap();
    assert_eq!(raw.compact(), r#"{"a b":[1,"x \" y"],"c":{}}"#);
    assert!(matches!(
        Raw::parse(r#"{"a b":1}"#).unwrap().compact(),
        Cow::Borrowed(_)
    ));
}

#[test]
fn strings_unescape_and_quote_back() {
    let raw = Raw::parse(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#).unwrap();
    let text = raw.string().unwrap();
    assert_eq!(text, "a\"\\/\u{8}\u{c}\n\r\té😀");
    let mut quoted = String::new();
    quote(&text, &mut quoted);
    assert_eq!(Raw::parse(&quoted).unwrap().string().unwrap(), text);
}
