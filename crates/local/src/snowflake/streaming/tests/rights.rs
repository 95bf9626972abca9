//! What a streaming client's role needs, and what it is told without.

use serde_json::json;

use super::client::{Answer, Client};

const TABLE: &str = "ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED";
const DATABASE: &str = "ERR_DATABASE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED";
const PIPE: &str = "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED";

async fn run(client: &Client, statements: &[&str]) {
    for sql in statements {
        client
            .sql(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// A client of role R, which has what is documented and no more.
async fn granted() -> Client {
    let mut client = Client::start().await;
    run(
        &client,
        &[
            "CREATE ROLE R",
            "GRANT ROLE R TO USER FRAZIL",
            "GRANT USAGE ON DATABASE D TO ROLE R",
            "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R",
            "GRANT INSERT ON TABLE T TO ROLE R",
        ],
    )
    .await;
    assert_eq!(client.in_role("R").await.status, 200);
    client
}

/// Each call about the channel C.
async fn calls(client: &Client, token: &str) -> Vec<Answer> {
    let body = json!({ "fail_on_uncommitted_rows": false });
    let status = client.status_with(&client.jwt(), &["C"]).await;
    let append = client.append("C", token, "1", "r", "{\"n\":\"1\"}\n").await;
    vec![append, status, client.open_body("C", &body).await]
}

#[tokio::test]
async fn each_missing_grant_refuses_each_call_and_its_grant_repairs_it() {
    let client = granted().await;
    let mut token = client.open("C").await.token();
    let mut refused = 0;
    for (what, code) in [
        ("USAGE ON DATABASE D", DATABASE),
        ("USAGE ON SCHEMA D.PUBLIC", DATABASE),
        ("INSERT ON TABLE T", TABLE),
    ] {
        run(&client, &[&format!("REVOKE {what} FROM ROLE R")]).await;
        for answer in calls(&client, &token).await {
            answer.is(404, code);
            refused += 1;
        }
        run(&client, &[&format!("GRANT {what} TO ROLE R")]).await;
        for answer in calls(&client, &token).await {
            answer.is_ok();
        }
        token = client.open("C").await.token();
    }
    assert_eq!(refused, 9);
    assert_eq!(
        client.rows(),
        client.status("C").await["rows_inserted"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn evolution_wants_its_own_privilege_and_ownership_has_all() {
    let client = granted().await;
    run(&client, &["ALTER TABLE T SET ENABLE_SCHEMA_EVOLUTION = TRUE"]).await;
    client.open("C").await.is(404, TABLE);
    run(&client, &["GRANT EVOLVE SCHEMA ON TABLE T TO ROLE R"]).await;
    client.open("C").await.is_ok();
    run(
        &client,
        &["GRANT OWNERSHIP ON TABLE T TO ROLE R REVOKE CURRENT GRANTS"],
    )
    .await;
    client.open("C").await.is_ok();
    let error = client.sql("SELECT * FROM T").await.unwrap_err();
    assert_eq!(error.code, "002003", "it is the role's alone now: {error}");
}

#[tokio::test]
async fn what_a_role_inherits_does_not_count() {
    let mut client = granted().await;
    run(
        &client,
        &[
            "CREATE ROLE HEIR",
            "GRANT ROLE R TO ROLE HEIR",
            "GRANT ROLE HEIR TO USER FRAZIL",
        ],
    )
    .await;
    assert_eq!(client.in_role("HEIR").await.status, 200);
    client.open("C").await.is(404, DATABASE);
    run(
        &client,
        &[
            "GRANT USAGE ON DATABASE D TO ROLE HEIR",
            "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE HEIR",
        ],
    )
    .await;
    client.open("C").await.is(404, TABLE);
    run(&client, &["GRANT INSERT ON TABLE T TO ROLE HEIR"]).await;
    client.open("C").await.is_ok();
}

#[tokio::test]
async fn a_pipe_of_ones_own_wants_operate_too() {
    let client = granted().await.of_pipe("P");
    run(
        &client,
        &["CREATE PIPE P AS COPY INTO T FROM (SELECT $1:n FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))"],
    )
    .await;
    client.open("C").await.is(404, PIPE);
    run(&client, &["GRANT OPERATE ON PIPE P TO ROLE R"]).await;
    client.open("C").await.is_ok();
    run(&client, &["REVOKE INSERT ON TABLE T FROM ROLE R"]).await;
    client.open("C").await.is(404, TABLE);
    // A projection adds no columns, names do.
    run(
        &client,
        &[
            "GRANT INSERT ON TABLE T TO ROLE R",
            "ALTER TABLE T SET ENABLE_SCHEMA_EVOLUTION = TRUE",
        ],
    )
    .await;
    client.open("C").await.is_ok();
    let by_name = "CREATE OR REPLACE PIPE P AS COPY INTO T FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                   MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE";
    run(&client, &[by_name, "GRANT OPERATE ON PIPE P TO ROLE R"]).await;
    client.open("C").await.is(404, TABLE);
    run(&client, &["GRANT EVOLVE SCHEMA ON TABLE T TO ROLE R"]).await;
    client.open("C").await.is_ok();
}

#[tokio::test]
async fn a_role_that_the_user_does_not_have_gets_no_token() {
    let mut client = Client::start().await;
    run(&client, &["CREATE ROLE STRANGER"]).await;
    client.in_role("STRANGER").await.is(401, "390186");
    client.in_role("NOBODY").await.is(401, "390186");
    run(&client, &["GRANT ROLE STRANGER TO USER FRAZIL"]).await;
    assert_eq!(client.in_role("STRANGER").await.status, 200);
    run(&client, &["REVOKE ROLE STRANGER FROM USER FRAZIL"]).await;
    client.open("C").await.is(401, "390186");
}
