//! The error table as a client and a query meet it.

use serde_json::{Value, json};

use super::client::Client;

const LOGGING: &str = "CREATE OR REPLACE TABLE T (N NUMBER(5,0) NOT NULL, S VARCHAR(3)) ERROR_LOGGING = TRUE";
/// Two good rows, and one of each kind that the table does not take.
const LINES: &[u8] = b"{\"n\":1}\n{\"n\":123456}\nno json\n{\"n\":2,\"s\":\"abcd\"}\n{\"s\":\"x\"}\n{\"n\":\"\xff\"}\n{\"n\":3}\n";

/// A table with logged errors, committed up to token 9.
async fn refused() -> Client {
    let client = Client::start().await;
    client.sql(LOGGING).await.unwrap();
    let token = client.open("C").await.token();
    client
        .append_body("C", &token, "9", "r1", "identity", LINES.to_vec())
        .await
        .is_ok();
    let status = client.committed("C", "9").await;
    assert_eq!(
        (&status["rows_inserted"], &status["rows_error_count"]),
        (&json!(2), &json!(5))
    );
    client
}

async fn errors(client: &Client) -> Vec<(String, Value, Value)> {
    let rows = client
        .sql("SELECT ERROR_CODE, ERROR_METADATA, ERROR_DATA FROM ERROR_TABLE(T)")
        .await
        .unwrap();
    let read = |cell: &Option<String>| cell.clone().expect("not NULL");
    let parse = |cell: &Option<String>| serde_json::from_str(&read(cell)).expect("JSON");
    rows.iter()
        .map(|row| (read(&row[0]), parse(&row[1]), parse(&row[2])))
        .collect()
}

#[tokio::test]
async fn refused_rows_stand_in_the_error_table_and_survive_a_restart() {
    let client = refused().await.restart().await;
    let found = errors(&client).await;
    let codes: Vec<_> = found
        .iter()
        .map(|(code, metadata, data)| (code.as_str(), &metadata["error_source"], &data["$1"]))
        .collect();
    assert_eq!(
        codes,
        [
            ("100071", &json!("N"), &json!({"n": 123_456})),
            ("100069", &Value::Null, &json!("no json")),
            ("100078", &json!("S"), &json!({"n": 2, "s": "abcd"})),
            ("100072", &json!("N"), &json!({"s": "x"})),
            ("100069", &Value::Null, &json!("eyJuIjoi/yJ9")),
        ]
    );
    let details = |content: &str| {
        json!({
            "pipe_name": "T-STREAMING", "channel_name": "C", "offset_token_lower_bound": "9",
            "offset_token_upper_bound": "9", "error_data_truncated": false, "error_data_content_type": content,
        })
    };
    let contents = ["json", "json-invalid", "json", "json", "binary-base64"];
    for ((_, metadata, _), content) in found.iter().zip(contents) {
        assert_eq!(metadata["service"], "snowpipe_streaming");
        assert_eq!(metadata["details"], details(content));
    }
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn the_documents_query_runs_on_an_error_table() {
    let client = refused().await;
    let query = "SELECT error_code, error_metadata:error_message::STRING, error_data:\"$1\" FROM ERROR_TABLE(D.PUBLIC.T) \
                 WHERE timestamp > DATEADD(hour, -1, CURRENT_TIMESTAMP()) ORDER BY 1 LIMIT 1";
    let rows = client.sql(query).await.unwrap();
    assert_eq!(
        rows[0],
        [
            "100069",
            "Error parsing JSON: json-invalid: the line is no JSON object",
            "\"no json\""
        ]
        .map(|cell| Some(cell.to_owned()))
    );
    let later = query.replace("-1, CURRENT", "1, CURRENT");
    assert!(client.sql(&later).await.unwrap().is_empty());
}

#[tokio::test]
async fn truncate_empties_it_and_switching_off_drops_it() {
    let client = refused().await;
    client
        .sql("TRUNCATE TABLE IF EXISTS ERROR_TABLE(T)")
        .await
        .unwrap();
    assert!(errors(&client).await.is_empty());
    assert_eq!(client.rows(), 2, "the table's own rows stay");
    let token = client.open("C").await.token();
    client.append("C", &token, "91", "r2", "{}\n").await.is_ok();
    client.committed("C", "91").await;
    assert_eq!(errors(&client).await.len(), 1);
    client
        .sql("ALTER TABLE T SET ERROR_LOGGING = FALSE")
        .await
        .unwrap();
    let gone = client.sql("SELECT * FROM ERROR_TABLE(T)").await.unwrap_err();
    assert_eq!(gone.code, "002003");
    assert_eq!(
        client.sql("TRUNCATE ERROR_TABLE(T)").await.unwrap_err().code,
        "002003"
    );
    client
        .sql("ALTER TABLE T SET ERROR_LOGGING = TRUE")
        .await
        .unwrap();
    assert!(errors(&client).await.is_empty(), "its rows are gone for good");
    client.sql("TRUNCATE TABLE T").await.unwrap();
    assert_eq!(client.rows(), 0);
    let status = client.status("C").await;
    assert_eq!(
        status["last_committed_offset_token"], "91",
        "a channel's token stays"
    );
}
