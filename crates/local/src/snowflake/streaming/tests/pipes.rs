//! Pipes of a user's own, as SQL makes them and a client writes to them.

use serde_json::json;

use super::client::Client;

const ORDERS: &str = "CREATE TABLE ORDERS (ORDER_ID VARCHAR, CUSTOMER VARCHAR(10), TOTAL NUMBER(10,2), STREAM VARCHAR) ERROR_LOGGING = TRUE";
const PIPE: &str = "CREATE PIPE ORDERS COMMENT = 'by hand' AS
COPY INTO ORDERS
FROM (SELECT $1:order_id::STRING, $1:\"customer name\", $1:total::NUMBER(10,2) AS t, $1:kinesisMetadata.stream::STRING
      FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));";

async fn with_orders() -> Client {
    let client = Client::start().await.of_pipe("ORDERS");
    client.sql(ORDERS).await.unwrap();
    client.sql(PIPE).await.unwrap();
    client
}

fn some(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|cell| Some((*cell).to_owned())).collect()
}

#[tokio::test]
async fn a_select_maps_by_position_and_what_fails_is_a_refused_row() {
    let client = with_orders().await.restart().await;
    let rows = concat!(
        r#"{"order_id":12345,"customer name":"John","total":"100.005","kinesisMetadata":{"stream":"s"}}"#,
        "\n",
        r#"{"order_id":1,"customer name":"far too long a name"}"#,
        "\n",
        r#"{"order_id":2,"total":"many"}"#,
        "\nno json\n",
        r#"{"ORDER_ID":3}"#,
        "\n"
    );
    let token = client.open("C").await.token();
    client.append("C", &token, "5", "r", rows).await.is_ok();
    let status = client.committed("C", "5").await;
    assert_eq!(
        (&status["rows_inserted"], &status["rows_error_count"]),
        (&json!(2), &json!(3))
    );
    let found = client
        .sql("SELECT * FROM ORDERS ORDER BY ORDER_ID NULLS LAST")
        .await
        .unwrap();
    assert_eq!(found[0], some(&["12345", "John", "100.01", "s"]));
    assert_eq!(found[1], [None, None, None, None], "the case of a path counts");
    let errors = client
        .sql("SELECT ERROR_CODE, ERROR_METADATA:error_source::STRING, ERROR_DATA:\"$1\" FROM ERROR_TABLE(ORDERS)")
        .await
        .unwrap();
    let expected = [
        some(&[
            "100078",
            "CUSTOMER",
            r#"{"order_id":1,"customer name":"far too long a name"}"#,
        ]),
        vec![
            Some("100038".to_owned()),
            None,
            Some(r#"{"order_id":2,"total":"many"}"#.to_owned()),
        ],
        vec![Some("100069".to_owned()), None, Some("\"no json\"".to_owned())],
    ];
    assert_eq!(errors, expected);
}

#[tokio::test]
async fn pipes_are_shown_described_changed_and_dropped() {
    let client = with_orders().await;
    let shown = client.sql("SHOW PIPES").await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0][1].as_deref(), Some("ORDERS"));
    let definition = shown[0][4].clone().unwrap();
    assert!(
        definition.starts_with("COPY INTO ORDERS\nFROM (SELECT $1:order_id"),
        "{definition}"
    );
    assert!(definition.ends_with("'STREAMING')))"), "{definition}");
    assert_eq!(
        (shown[0][6].as_deref(), shown[0][7].as_deref()),
        (Some("by hand"), Some("false"))
    );
    assert_eq!(client.sql(PIPE).await.unwrap_err().code, "002002");
    client
        .sql(&PIPE.replace("CREATE PIPE", "CREATE PIPE IF NOT EXISTS"))
        .await
        .unwrap();
    let token = client.open("C").await.token();
    client
        .sql(&PIPE.replace("CREATE", "CREATE OR REPLACE"))
        .await
        .unwrap();
    let stale = client.try_append("C", &token, "1", "r", "{}\n").await.unwrap();
    assert_ne!(stale.status, 200, "a replaced pipe has no channels");
    client.sql("ALTER PIPE ORDERS SET COMMENT = 'new'").await.unwrap();
    assert_eq!(
        client.sql("DESC PIPE ORDERS").await.unwrap()[0][6].as_deref(),
        Some("new")
    );
    client.sql("DROP PIPE ORDERS").await.unwrap();
    client.sql("DROP PIPE IF EXISTS ORDERS").await.unwrap();
    assert_eq!(client.sql("DROP PIPE ORDERS").await.unwrap_err().code, "002003");
}

#[tokio::test]
async fn the_default_pipe_is_nobodys_to_change() {
    let client = Client::start().await;
    client.open("C").await;
    let copy =
        "AS COPY INTO T FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE";
    for sql in [
        "DROP PIPE \"T-STREAMING\"".to_owned(),
        "ALTER PIPE \"T-STREAMING\" SET COMMENT = 'mine'".to_owned(),
        format!("CREATE OR REPLACE PIPE \"T-STREAMING\" {copy}"),
    ] {
        assert_eq!(client.sql(&sql).await.unwrap_err().code, "003001", "{sql}");
    }
    let shown = client.sql("SHOW PIPES LIKE 'T-STREAMING'").await.unwrap();
    assert_eq!((&shown[0][5], shown[0][7].as_deref()), (&None, Some("true")));
}

#[tokio::test]
async fn by_name_with_case_counts_the_case_also_for_new_columns() {
    let client = Client::start().await.of_pipe("P");
    client
        .sql("CREATE TABLE CASES (\"a\" INT, A INT) ENABLE_SCHEMA_EVOLUTION = TRUE")
        .await
        .unwrap();
    let pipe = "CREATE PIPE P AS COPY INTO CASES FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                MATCH_BY_COLUMN_NAME = CASE_SENSITIVE CLUSTER_AT_INGEST_TIME = TRUE";
    client.sql(pipe).await.unwrap();
    let token = client.open("C").await.token();
    client
        .append("C", &token, "1", "r", "{\"a\":1,\"b\":2}\n")
        .await
        .is_ok();
    client.committed("C", "1").await;
    let rows = client.sql("SELECT \"a\", A, \"b\" FROM CASES").await.unwrap();
    assert_eq!(rows, [vec![Some("1".to_owned()), None, Some("2".to_owned())]]);
}

#[tokio::test]
async fn a_pipe_that_its_table_left_behind_takes_rows_and_refuses_them() {
    let client = with_orders().await;
    client
        .sql("ALTER TABLE ORDERS ADD COLUMN MORE INT")
        .await
        .unwrap();
    let token = client.open("C").await.token();
    client
        .append("C", &token, "1", "r", "{\"order_id\":1}\n")
        .await
        .is_ok();
    let status = client.committed("C", "1").await;
    assert_eq!(
        (&status["rows_inserted"], &status["rows_error_count"]),
        (&json!(0), &json!(1))
    );
    let message = status["last_error_message"].as_str().unwrap();
    assert!(message.contains("expecting 5 but got 4"), "{message}");
}

#[tokio::test]
async fn what_is_no_streaming_pipe_is_refused_with_its_reason() {
    let client = Client::start().await;
    client.sql("CREATE TABLE W (A INT, B INT)").await.unwrap();
    let source = "FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING'))";
    let simple = "COPY statement only supports simple SELECT";
    let cases = [
        (
            format!("FROM (SELECT $1:a, $1:b {source}) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"),
            "match_by_column_name is not supported with copy transform",
        ),
        (
            format!("FROM (SELECT $1:a, $1:b {source} WHERE $1:a > 1)"),
            simple,
        ),
        (format!("FROM (SELECT $1:a, $1:b {source} LIMIT 1)"), simple),
        (format!("FROM (SELECT $1:a, $1:b {source} ORDER BY 1)"), simple),
        (format!("FROM (SELECT $1:a, $1:b {source} GROUP BY 1)"), simple),
        (format!("FROM (SELECT DISTINCT $1:a, $1:b {source})"), simple),
        (
            format!("FROM (SELECT s.$1:a, $1:b {source} s JOIN W)"),
            "SQL compilation error",
        ),
        ("FROM (SELECT A, B FROM W)".to_owned(), simple),
        (
            format!("FROM (SELECT SUM($1:a), $1:b {source})"),
            "SQL compilation error",
        ),
        (format!("FROM (SELECT $1:a {source})"), "expecting 2 but got 1"),
        (
            format!("FROM (SELECT $2:a, $1:b {source})"),
            "invalid identifier '$2'",
        ),
        (
            format!("FROM (SELECT nothing($1:a), $1:b {source})"),
            "SQL compilation error",
        ),
        (
            format!("FROM (SELECT TO_DECFLOAT($1:a, '9.9'), $1:b {source})"),
            "TO_DECFLOAT",
        ),
        (source.to_owned(), "MATCH_BY_COLUMN_NAME or a SELECT"),
        ("FROM @stage".to_owned(), "a pipe from anything but"),
        (
            format!("{source} MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = SKIP_FILE"),
            "ON_ERROR = SKIP_FILE",
        ),
    ];
    for (copy, reason) in cases {
        let error = client
            .sql(&format!("CREATE PIPE P AS COPY INTO W {copy}"))
            .await
            .unwrap_err();
        assert!(error.message.contains(reason), "{copy}: {error}");
    }
    let nowhere =
        format!("CREATE PIPE P AS COPY INTO NOWHERE {source} MATCH_BY_COLUMN_NAME = CASE_SENSITIVE");
    assert_eq!(client.sql(&nowhere).await.unwrap_err().code, "002003");
    assert!(
        client
            .sql("CREATE PIPE P AUTO_INGEST = TRUE AS COPY INTO W")
            .await
            .is_err()
    );
    for number in 0..10 {
        let pipe =
            format!("CREATE PIPE P{number} AS COPY INTO W {source} MATCH_BY_COLUMN_NAME = CASE_SENSITIVE");
        client.sql(&pipe).await.unwrap();
    }
    let eleventh = format!("CREATE PIPE P10 AS COPY INTO W {source} MATCH_BY_COLUMN_NAME = CASE_SENSITIVE");
    assert!(
        client
            .sql(&eleventh)
            .await
            .unwrap_err()
            .message
            .contains("at most 10")
    );
}

#[tokio::test]
async fn documented_functions_give_what_snowflake_gives() {
    let client = Client::start().await.of_pipe("F");
    let record = r#"{"s":"Hello","n":42,"f":1.5,"t":"true","o":{"a":[1,{"b":"x"}]},"z":null,"d":"2026-11-24","q":"5","j":"{\"k\":1}"}"#;
    let cases = [
        ("ARRAY_CONSTRUCT($1:n, 'a', NULL)", Some(r#"[42,"a",null]"#)),
        ("ARRAY_SIZE($1:o.a)", Some("2")),
        ("ASCII($1:s)", Some("72")),
        ("CASE WHEN $1:n > 41 THEN 'big' ELSE 'small' END", Some("big")),
        ("CEIL($1:f)", Some("2")),
        ("CHR(65)", Some("A")),
        ("CONCAT($1:s, '!')", Some("Hello!")),
        ("$1:s || '-' || $1:q", Some("Hello-5")),
        ("ENDSWITH($1:s, 'lo')", Some("true")),
        ("EQUAL_NULL(NULL, $1:nothing)", Some("true")),
        ("FLOOR($1:f::FLOAT)", Some("1")),
        ("GET($1:o, 'a')", Some(r#"[1,{"b":"x"}]"#)),
        ("GET_PATH($1, 'o.a[1].b')", Some("x")),
        ("HEX_ENCODE($1:s)", Some("48656C6C6F")),
        ("HEX_DECODE_STRING('48656C6C6F')", Some("Hello")),
        ("IFF($1:n = 42, 'yes', 'no')", Some("yes")),
        ("IFNULL($1:nothing::STRING, 'none')", Some("none")),
        ("$1:s ILIKE 'HEL%'", Some("true")),
        ("$1:s IN ('Hello', 'x')", Some("true")),
        ("IS_ARRAY($1:o.a)", Some("true")),
        ("IS_INTEGER($1:f)", Some("false")),
        ("IS_NULL_VALUE($1:z)", Some("true")),
        ("IS_OBJECT($1:o)", Some("true")),
        ("LENGTH($1:s)", Some("5")),
        ("LPAD($1:q, 3, '0')", Some("005")),
        ("NULLIF($1:s::STRING, 'Hello')", None),
        ("NVL($1:nothing::STRING, 'b')", Some("b")),
        ("OBJECT_CONSTRUCT('a', $1:n, 'b', NULL)", Some(r#"{"a":42}"#)),
        ("PARSE_JSON($1:j):k", Some("1")),
        ("REGEXP_REPLACE($1:s::STRING, 'l+', 'L')", Some("HeLo")),
        ("REPLACE($1:s, 'l', 'w')", Some("Hewwo")),
        ("REVERSE($1:s)", Some("olleH")),
        ("SPLIT('a-b', '-')", Some(r#"["a","b"]"#)),
        ("SPLIT_PART('a-b', '-', 2)", Some("b")),
        ("STARTSWITH($1:s, 'He')", Some("true")),
        ("SUBSTR($1:s, 2, 3)", Some("ell")),
        ("TO_BOOLEAN($1:n)", Some("true")),
        ("TO_VARCHAR($1:n)", Some("42")),
        ("TO_DATE($1:d)", Some("2026-11-24")),
        ("TO_NUMBER($1:q)", Some("5")),
        ("TO_DECIMAL($1:f, 10, 0)", Some("2")),
        ("TO_TIMESTAMP_NTZ('1700000000')", Some("2023-11-14 22:13:20.000")),
        ("TRIM('  a ')", Some("a")),
        ("TRIM($1:s)", Some("Hello")),
        ("$1:n BETWEEN 41 AND 43", Some("true")),
        ("TRY_TO_NUMBER($1:s)", None),
        ("TRY_CAST($1:s AS INT)", None),
        ("$1['o']['a'][0]", Some("1")),
        ("UPPER($1:s)", Some("HELLO")),
        ("$1:n + 1", Some("43")),
        ("TO_JSON($1:o)", Some(r#"{"a":[1,{"b":"x"}]}"#)),
        ("TYPEOF($1:f)", Some("DECIMAL")),
        ("CHECK_JSON($1:j)", None),
        ("$1:o:a[1]:b::STRING", Some("x")),
        ("COALESCE($1:nothing::STRING, $1:s::STRING)", Some("Hello")),
    ];
    let columns: Vec<String> = (0..cases.len()).map(|n| format!("C{n} VARCHAR")).collect();
    client
        .sql(&format!(
            "CREATE TABLE F ({}) ERROR_LOGGING = TRUE",
            columns.join(", ")
        ))
        .await
        .unwrap();
    let selected: Vec<&str> = cases.iter().map(|(expression, _)| *expression).collect();
    let pipe = format!(
        "CREATE PIPE F AS COPY INTO F FROM (SELECT {} FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
        selected.join(", ")
    );
    client.sql(&pipe).await.unwrap();
    let token = client.open("C").await.token();
    client
        .append("C", &token, "1", "r", &format!("{record}\n"))
        .await
        .is_ok();
    let status = client.committed("C", "1").await;
    let refused = client
        .sql("SELECT ERROR_METADATA FROM ERROR_TABLE(F)")
        .await
        .unwrap();
    assert_eq!(status["rows_error_count"], 0, "{refused:?}");
    let rows = client.sql("SELECT * FROM F").await.unwrap();
    for ((expression, expected), cell) in cases.iter().zip(&rows[0]) {
        assert_eq!(cell.as_deref(), *expected, "{expression}");
    }
}

#[tokio::test]
async fn the_time_in_a_pipe_is_that_of_each_commit() {
    let client = Client::start().await.of_pipe("P");
    client
        .sql("CREATE TABLE TIMES (ID NUMBER, AT TIMESTAMP_LTZ)")
        .await
        .unwrap();
    client
        .sql(
            "CREATE PIPE P AS COPY INTO TIMES FROM (SELECT $1:id, CURRENT_TIMESTAMP() \
             FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
        )
        .await
        .unwrap();
    let token = client.open("C").await.token();
    let first = client
        .append("C", &token, "1", "a", "{\"id\":1}\n{\"id\":2}\n")
        .await;
    client.committed("C", "1").await;
    client
        .append("C", &first.token(), "2", "b", "{\"id\":3}\n")
        .await
        .is_ok();
    client.committed("C", "2").await;
    let rows = client
        .sql(
            "SELECT A.AT = B.AT, B.AT < C.AT FROM TIMES A, TIMES B, TIMES C WHERE A.ID = 1 AND B.ID = 2 AND C.ID = 3",
        )
        .await
        .unwrap();
    assert_eq!(
        rows,
        [some(&["true", "true"])],
        "one commit, one time; another commit, another time"
    );
}

#[tokio::test]
async fn the_time_in_a_pipe_is_that_of_its_making_where_that_is_asked_for() {
    let started =
        Client::start_with(|options| options.behaviours.set("pipe_current_timestamp=creation").unwrap());
    let client = started.await.of_pipe("P");
    for statement in [
        "CREATE TABLE TIMES (ID NUMBER, AT TIMESTAMP_LTZ, MADE TIMESTAMP_LTZ DEFAULT CURRENT_TIMESTAMP())",
        "CREATE PIPE P AS COPY INTO TIMES (ID, AT) FROM (SELECT $1:id, CURRENT_TIMESTAMP() \
         FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
    ] {
        client.sql(statement).await.unwrap();
    }
    let token = client.open("C").await.token();
    let first = client.append("C", &token, "1", "a", "{\"id\":1}\n").await;
    client.committed("C", "1").await;
    let second = client.append("C", &first.token(), "2", "b", "{\"id\":2}\n").await;
    second.is_ok();
    client.committed("C", "2").await;
    let rows = client
        .sql("SELECT COUNT(DISTINCT AT), MIN(AT) = MAX(MADE), MIN(AT) = MIN(MADE) FROM TIMES")
        .await
        .unwrap();
    assert_eq!(
        rows,
        [some(&["1", "true", "true"])],
        "two commits, one time, DEFAULT's too"
    );
}

#[tokio::test]
async fn a_pipe_and_a_default_take_numbers_of_sequences() {
    let client = Client::start().await.of_pipe("P");
    for statement in [
        "CREATE SEQUENCE S START 10 INCREMENT 10",
        "CREATE SEQUENCE OTHER",
        "CREATE TABLE NUMBERED (ID NUMBER, N NUMBER, D NUMBER DEFAULT OTHER.NEXTVAL)",
        "CREATE PIPE P AS COPY INTO NUMBERED (ID, N) FROM (SELECT $1:id, S.NEXTVAL FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
    ] {
        client.sql(statement).await.unwrap();
    }
    let token = client.open("C").await.token();
    let lines = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";
    client.append("C", &token, "1", "a", lines).await.is_ok();
    client.committed("C", "1").await;
    let sql = "SELECT COUNT(DISTINCT N), MIN(N), MAX(N), COUNT(DISTINCT D), MIN(D) FROM NUMBERED";
    assert_eq!(
        client.sql(sql).await.unwrap(),
        [some(&["3", "10", "30", "3", "1"])]
    );
    // Without its sequence the pipe is broken.
    client.sql("DROP SEQUENCE S").await.unwrap();
    let again = client.open("C").await.token();
    client.append("C", &again, "2", "b", "{\"id\":4}\n").await.is_ok();
    client.committed("C", "2").await;
    assert_eq!(
        client.sql("SELECT COUNT(*) FROM NUMBERED").await.unwrap(),
        [some(&["3"])]
    );
}

#[tokio::test]
async fn a_pipe_calls_functions_of_its_schema() {
    let client = Client::start().await.of_pipe("P");
    for statement in [
        "CREATE FUNCTION cents(a VARIANT) RETURNS NUMBER AS 'a::NUMBER(38,2) * 100'",
        "CREATE TABLE PRICES (ID NUMBER, CENTS NUMBER)",
        "CREATE PIPE P AS COPY INTO PRICES FROM (SELECT $1:id, CENTS($1:price) FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
    ] {
        client.sql(statement).await.unwrap();
    }
    let token = client.open("C").await.token();
    let lines = "{\"id\":1,\"price\":1.25}\n{\"id\":2,\"price\":\"x\"}\n{\"id\":3,\"price\":\"3\"}\n";
    let first = client.append("C", &token, "1", "a", lines).await;
    client.committed("C", "1").await;
    let rows = client
        .sql("SELECT ID, CENTS FROM PRICES ORDER BY ID")
        .await
        .unwrap();
    assert_eq!(rows, [some(&["1", "125"]), some(&["3", "300"])]);
    // Another body counts from the next commit on, and without the function the pipe is broken.
    let replaced = "CREATE OR REPLACE FUNCTION cents(a VARIANT) RETURNS NUMBER AS 'a::NUMBER(38,2) * -1'";
    client.sql(replaced).await.unwrap();
    let second = client
        .append("C", &first.token(), "2", "b", "{\"id\":4,\"price\":7}\n")
        .await;
    client.committed("C", "2").await;
    client.sql("DROP FUNCTION cents(VARIANT)").await.unwrap();
    client
        .append("C", &second.token(), "3", "c", "{\"id\":5,\"price\":7}\n")
        .await
        .is_ok();
    client.committed("C", "3").await;
    let rows = client
        .sql("SELECT ID, CENTS FROM PRICES WHERE ID > 3")
        .await
        .unwrap();
    assert_eq!(rows, [some(&["4", "-7"])]);
}
