//! Schema evolution as a client meets it.

use super::client::Client;

fn columns(client: &Client) -> Vec<String> {
    client
        .table()
        .columns
        .into_iter()
        .map(|column| column.name)
        .collect()
}

#[tokio::test]
async fn new_key_becomes_a_column_where_evolution_is_on_and_is_ignored_elsewhere() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let token = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\",\"depth\":7}\n")
        .await
        .token();
    client.committed("C", "1").await;
    assert_eq!(columns(&client), ["N"]);

    let evolve = |table: &mut crate::snowflake::model::TableDef| {
        table.schema_evolution = true;
        Ok::<(), crate::Error>(())
    };
    client.catalog().alter_table(client.table().id, evolve).unwrap();
    client
        .append(
            "C",
            &token,
            "2",
            "r2",
            "{\"n\":\"1\",\"depth\":7}\n{\"n\":\"2\"}\n",
        )
        .await;
    let status = client.committed("C", "2").await;
    assert_eq!(columns(&client), ["N", "DEPTH"]);
    assert_eq!(status["rows_inserted"], 3);
}

#[tokio::test]
async fn evolved_table_is_the_same_after_a_restart_and_goes_on() {
    let client = Client::start().await;
    let evolve = |table: &mut crate::snowflake::model::TableDef| {
        table.schema_evolution = true;
        Ok::<(), crate::Error>(())
    };
    client.catalog().alter_table(client.table().id, evolve).unwrap();
    let token = client.open("C").await.token();
    let token = client
        .append("C", &token, "1", "r1", "{\"a\":1,\"b\":{\"c\":[1]}}\n")
        .await
        .token();
    client.committed("C", "1").await;
    let before = client.table();
    let client = client.restart().await;
    assert_eq!(client.table(), before);
    client
        .append("C", &token, "2", "r2", "{\"a\":2,\"d\":true}\n")
        .await;
    client.committed("C", "2").await;
    assert_eq!(columns(&client).len(), 4);
    assert_eq!(client.rows(), 2);
}
