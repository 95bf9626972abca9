//! Functions of texts: values from the examples of Snowflake's documentation, or computed by hand.

use super::*;
use crate::snowflake::catalog::now_ms;

/// Each is true of every row of one column of texts, so that nothing is computed at planning alone.
const EXAMPLES: [(&str, &str); 58] = [
    ("MD5('Snowflake')", "edf1439075a83a447fb8b630ddc9c8de"),
    ("MD5(N)", "b1946ac92492d2347c6235b4d2611184"),
    ("SHA1('Snowflake')", "fda76b0bcc1e87cf259b1d1e3271d76f590fb5dd"),
    (
        "SHA2('Snowflake', 224)",
        "6267d3d7a59929e6864dd4b737d98e3ef8569d9f88a7466647838532",
    ),
    (
        "SHA2(N)",
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    ),
    (
        "REGEXP_SUBSTR('It was the best of times, it was the worst of times.', 'the\\\\W+\\\\w+')",
        "the best",
    ),
    (
        "REGEXP_SUBSTR('It was the best of times, it was the worst of times.', 'the\\\\W+\\\\w+', 1, 2)",
        "the worst",
    ),
    (
        "REGEXP_SUBSTR('It was the best of times, it was the worst of times.', 'the\\\\W+(\\\\w+)', 1, 2, 'e', 1)",
        "worst",
    ),
    (
        "REGEXP_SUBSTR('It was the best of times', 'THE\\\\W+(\\\\w+)', 1, 1, 'ie')",
        "best",
    ),
    ("REGEXP_SUBSTR('abc', 'x')", "NULL"),
    ("REGEXP_SUBSTR('äöü abc', '[a-z]+', 3)", "abc"),
    (
        "REGEXP_REPLACE('It was the best of times, it was the worst of times', '( ){1,}', '')",
        "Itwasthebestoftimes,itwastheworstoftimes",
    ),
    (
        "REGEXP_REPLACE('It was the best of times, it was the worst of times', 'times', 'days', 1, 2)",
        "It was the best of times, it was the worst of days",
    ),
    (
        "REGEXP_REPLACE('firstname middlename lastname', '(.*) (.*) (.*)', '\\\\3, \\\\1 \\\\2')",
        "lastname, firstname middlename",
    ),
    (
        "REGEXP_REPLACE('Customers - (NY)', '\\\\(|\\\\)')",
        "Customers - NY",
    ),
    (
        "PARSE_URL('https://www.snowflake.com/')",
        r#"{"fragment":null,"host":"www.snowflake.com","parameters":null,"path":"","port":null,"query":null,"scheme":"https"}"#,
    ),
    (
        "PARSE_URL('HTTPS://USER:PASS@EXAMPLE.INT:4345/HELLO.PHP?USER=1')",
        r#"{"fragment":null,"host":"USER:PASS@EXAMPLE.INT","parameters":{"USER":"1"},"path":"HELLO.PHP","port":"4345","query":"USER=1","scheme":"https"}"#,
    ),
    (
        "PARSE_URL('mailto:abc@xyz.com')",
        r#"{"fragment":null,"host":null,"parameters":null,"path":"abc@xyz.com","port":null,"query":null,"scheme":"mailto"}"#,
    ),
    (
        "PARSE_URL('example.int/hello.php?user=12#nofragment', 1):error::VARCHAR",
        "scheme not specified",
    ),
    ("PARSE_URL('http://a/b?c=d&e=f#g'):parameters:e::VARCHAR", "f"),
    (
        "PARSE_IP('192.168.242.188/24', 'INET'):ipv4_range_start",
        "3232297472",
    ),
    (
        "PARSE_IP('192.168.242.188/24', 'INET'):ipv4_range_end",
        "3232297727",
    ),
    ("PARSE_IP('192.168.242.188', 'INET'):ip_fields[0]", "3232297660"),
    (
        "PARSE_IP('fe80::20c:29ff:fe2c:429/64', 'INET'):hex_ipv6_range_end::VARCHAR",
        "FE80000000000000FFFFFFFFFFFFFFFF",
    ),
    (
        "PARSE_IP('fe80::20c:29ff:fe2c:429/64', 'INET'):ip_fields[3]",
        "4264297513",
    ),
    ("PARSE_IP('nowhere', 'INET', 1):error IS NOT NULL", "true"),
    ("CHECK_XML('<a>1</a>')", "NULL"),
    ("CHECK_XML('<a>1</b>') IS NULL", "false"),
    (
        "XMLGET(PARSE_XML('<l1>1<l2 id=\"x\">2</l2><l2>3</l2></l1>'), 'l2', 1):\"$\"",
        "3",
    ),
    (
        "XMLGET(PARSE_XML('<l1>1<l2 id=\"x\">2</l2></l1>'), 'l2'):\"@id\"::VARCHAR",
        "x",
    ),
    ("XMLGET(PARSE_XML('<l1><l2>two</l2></l1>'), 'l3')", "NULL"),
    ("PARSE_XML('<l1><l2>two</l2></l1>'):\"$\":\"$\"::VARCHAR", "two"),
    (
        "TO_CHAR(CONVERT_TIMEZONE('America/Los_Angeles', 'America/New_York', '2024-01-01 14:00:00'::TIMESTAMP_NTZ), 'YYYY-MM-DD HH24:MI')",
        "2024-01-01 17:00",
    ),
    (
        "TO_CHAR(CONVERT_TIMEZONE('Europe/Warsaw', 'UTC', '2024-07-01 00:00:00'::TIMESTAMP_NTZ), 'YYYY-MM-DD HH24:MI')",
        "2024-06-30 22:00",
    ),
    (
        "CONVERT_TIMEZONE('America/New_York', '2024-04-05 12:00:00 +02:00'::TIMESTAMP_TZ) = '2024-04-05 10:00:00 +00:00'::TIMESTAMP_TZ",
        "true",
    ),
    ("TO_DATE('2012.07.23', 'YYYY.MM.DD')::VARCHAR", "2012-07-23"),
    ("TO_DATE('3/4/2024', 'DD/MM/YYYY')::VARCHAR", "2024-04-03"),
    (
        "TO_CHAR(TO_TIMESTAMP('04/05/2024 01:02:03', 'MM/DD/YYYY HH24:MI:SS'), 'YYYYMMDD HH24MISS')",
        "20240405 010203",
    ),
    (
        "TO_CHAR(TO_TIMESTAMP_TZ('2024-04-05 01:02:03 +0130', 'YYYY-MM-DD HH24:MI:SS TZHTZM'), 'HH24:MI TZH')",
        "01:02 +01",
    ),
    (
        "TO_CHAR(TO_TIME('11.15.00', 'HH24.MI.SS'), 'HH12:MI AM')",
        "11:15 AM",
    ),
    (
        "TO_CHAR('2013-04-05 01:02:03'::TIMESTAMP_NTZ, 'mm/dd/yyyy, hh24:mi hours')",
        "04/05/2013, 01:02 hours",
    ),
    ("TO_CHAR('2024-03-05'::DATE, 'DY DD MON YY')", "Tue 05 Mar 24"),
    ("TRY_TO_DATE('no date', 'YYYY.MM.DD')", "NULL"),
    ("TRY_TO_TIMESTAMP('2024-01-02 x')", "NULL"),
    (
        "TRY_TO_TIMESTAMP_TZ('2024-01-02 03:04:05 +00:00') IS NULL",
        "false",
    ),
    ("TO_NUMBER('$99.5', '$99.9', 5, 1)", "99.5"),
    ("TO_DECIMAL('12,345,678', '99,999,999')", "12345678"),
    ("TO_NUMBER('ff', 'XXXX')", "255"),
    ("TO_CHAR(TO_BINARY('U25vdw==', 'BASE64'), 'UTF-8')", "Snow"),
    ("TO_CHAR(TO_BINARY('Snow', 'UTF-8'), 'HEX')", "536E6F77"),
    ("TO_CHAR(TO_BINARY('536E6F77', 'HEX'), 'BASE64')", "U25vdw=="),
    ("RANDOM() = RANDOM()", "false"),
    ("LENGTH(UUID_STRING())", "36"),
    ("TO_JSON(PARSE_JSON('{\"a\": [1, null]}'))", "{\"a\":[1,null]}"),
    ("COALESCE(NULL, V:none::VARCHAR, 'last')", "last"),
    ("MD5(V:a)", "b1946ac92492d2347c6235b4d2611184"),
    ("SHA2(NULL)", "NULL"),
    ("REGEXP_SUBSTR(V:a, '[a-z]+')", "hello"),
];

async fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (N VARCHAR, V VARIANT)").await;
    bench.load("T", "{\"n\":\"hello\\n\",\"v\":{\"a\":\"hello\\n\"}}");
    bench
}

#[tokio::test]
async fn functions_of_texts_give_what_the_documentation_shows() {
    let mut bench = bench().await;
    let mut wrong = Vec::new();
    for (expression, expected) in EXAMPLES {
        let got = match bench.try_run(&format!("SELECT {expression} FROM T")).await {
            Ok(result) => result.rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned()),
            Err(error) => error.to_string(),
        };
        if got != expected {
            wrong.push(format!("{expression}: {got} is not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for expression in [
        "PARSE_URL('example.int/hello.php')",
        "PARSE_IP('nowhere', 'INET')",
        "PARSE_XML('<a>')",
        "TO_DATE('2012-07-23', 'YYYY.MM.DD')",
        "TO_NUMBER('12x', '999')",
        "TO_BINARY('xyz', 'HEX')",
        "REGEXP_SUBSTR(N, '(')",
        "CONVERT_TIMEZONE('Nowhere/City', CURRENT_TIMESTAMP())",
        "SHA2(N, 3)",
    ] {
        assert_eq!(
            bench.code(&format!("SELECT {expression} FROM T")).await,
            "100038",
            "{expression}"
        );
    }
}

/// In a pipe they work on the record, and one that fails refuses its row alone.
#[tokio::test]
async fn functions_of_texts_work_in_pipes_and_a_failing_one_refuses_its_row() {
    let mut bench = bench().await;
    bench
        .run("CREATE TABLE P (H VARCHAR, U OBJECT, X VARCHAR, M TIMESTAMP_NTZ, C NUMBER, R VARCHAR)")
        .await;
    bench
        .run(
            "CREATE PIPE W AS COPY INTO P FROM (SELECT MD5($1:a), PARSE_URL($1:url), \
             XMLGET(PARSE_XML($1:xml), 'b'):\"$\"::STRING, TO_TIMESTAMP($1:m, 'DD.MM.YYYY HH24:MI'), \
             TO_NUMBER($1:c, '999,999'), REGEXP_SUBSTR($1:a, 'l+') \
             FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
        )
        .await;
    let catalog = &bench.engine.catalog;
    let table = catalog.table("D", "PUBLIC", "P").unwrap().expect("the table");
    let pipe = catalog.find_pipe("D", "PUBLIC", "W").unwrap().expect("the pipe");
    let prepared = Prepared::of(
        pipe.copy.as_deref(),
        &table,
        &Scope::of_session(&bench.engine.catalog, &bench.session),
    );
    let good = r#"{"a":"hello\n","url":"http://h/p?k=v","xml":"<a><b>in</b></a>","m":"05.04.2024 10:11","c":"1,234"}"#;
    let bad = good.replace("05.04.2024", "2024-04-05");
    let lines = format!("{good}\n{bad}\n{good}\n");
    let accepted = [AcceptedRows {
        ndjson: lines.as_bytes(),
    }];
    let converted = convert(&table, prepared.mapping(), &accepted, Terms::at(now_ms()));
    let counts = &converted.per_batch[0];
    assert_eq!((counts.inserted, counts.errors), (2, 1), "{counts:?}");
    let shown = arrow::util::pretty::pretty_format_batches(&[converted.record_batch])
        .unwrap()
        .to_string();
    for part in [
        "b1946ac92492d2347c6235b4d2611184",
        "\"host\":\"h\"",
        "| in ",
        "2024-04-05T10:11:00",
        "| 1234 ",
        "| ll ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
