//! The drivers' protocol over real HTTP.

use serde_json::{Value, json};

use crate::{Local, LocalOptions};

struct Driver {
    _folder: tempfile::TempDir,
    local: Local,
    http: reqwest::Client,
    token: String,
}

impl Driver {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::start(LocalOptions::new(folder.path().join("data")))
            .await
            .unwrap();
        let engine = local.snowflake().engine();
        let mut session = crate::snowflake::sql::Session::default();
        for sql in [
            "CREATE USER ADA PASSWORD = 'canary-word'",
            "CREATE DATABASE DEMO",
            "CREATE ROLE ANN",
            "GRANT ROLE ACCOUNTADMIN TO ROLE ANN",
            "GRANT ROLE ANN TO USER ADA",
        ] {
            engine.execute(&mut session, sql).await.unwrap();
        }
        Self {
            _folder: folder,
            local,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            token: String::new(),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.local.addresses().snowflake_http_url);
        let request = self.http.post(url).body(body.to_string());
        let token = format!("Snowflake Token=\"{}\"", self.token);
        let answer = request.header("authorization", token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.local.addresses().snowflake_http_url);
        let token = format!("Snowflake Token=\"{}\"", self.token);
        let request = self.http.get(url).header("authorization", token);
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    async fn login(&mut self, data: Value) -> Value {
        let path = "/session/v1/login-request?databaseName=demo&schemaName=public&roleName=ann";
        let answer = self.post(path, &json!({ "data": data })).await;
        if let Some(token) = answer["data"]["token"].as_str() {
            self.token = token.to_owned();
        }
        answer
    }

    async fn query(&self, id: &str, sql: &str) -> Value {
        let path = format!("/queries/v1/query-request?requestId={id}");
        self.post(&path, &json!({ "sqlText": sql })).await
    }
}

fn ada() -> Value {
    json!({ "ACCOUNT_NAME": "local", "LOGIN_NAME": "ada", "PASSWORD": "canary-word" })
}

#[tokio::test]
async fn logins_that_are_wrong_are_refused_and_never_say_the_password() {
    let mut driver = Driver::start().await;
    let cases = [
        (json!({ "LOGIN_NAME": "ada", "PASSWORD": "canary-wor" }), "390100"),
        (json!({ "LOGIN_NAME": "ada" }), "390100"),
        (
            json!({ "LOGIN_NAME": "eve", "PASSWORD": "canary-word" }),
            "390100",
        ),
        (json!({ "LOGIN_NAME": "FRAZIL", "PASSWORD": "" }), "390100"),
        (
            json!({ "ACCOUNT_NAME": "other", "LOGIN_NAME": "ada", "PASSWORD": "canary-word" }),
            "390201",
        ),
        (
            json!({ "LOGIN_NAME": "ada", "AUTHENTICATOR": "EXTERNALBROWSER" }),
            "390190",
        ),
        (
            json!({ "LOGIN_NAME": "ada", "AUTHENTICATOR": "SNOWFLAKE_JWT", "TOKEN": "canary" }),
            "390144",
        ),
    ];
    for (data, code) in cases {
        let answer = driver.login(data.clone()).await;
        assert_eq!(
            (&answer["success"], answer["code"].as_str()),
            (&json!(false), Some(code)),
            "{data}"
        );
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
    let broken = driver.post("/session/v1/login-request", &json!([])).await;
    assert_eq!(broken["code"], "390142");
    assert_eq!(driver.query("1", "SELECT 1").await["code"], "390112");
}

#[tokio::test]
async fn tokens_log_in_too_in_the_role_that_they_are_bound_to() {
    let mut driver = Driver::start().await;
    let engine = driver.local.snowflake().engine();
    let mut session = crate::snowflake::sql::Session::default();
    let mut add = async |sql: &str| {
        let made = engine.execute(&mut session, sql).await.unwrap();
        made.rows[0].get(1).cloned().flatten().unwrap_or_default()
    };
    let bound = add("ALTER USER ADA ADD PAT B ROLE_RESTRICTION = 'ANN'").await;
    let other = add("ALTER USER ADA ADD PAT P ROLE_RESTRICTION = 'PUBLIC'").await;
    let access = crate::snowflake::auth::AccessClaims {
        issuer: "i".to_owned(),
        integration: None,
        user: "ADA".to_owned(),
        role: Some("ANN".to_owned()),
    };
    let access = driver
        .local
        .snowflake()
        .auth
        .access_token(&access, std::time::Duration::from_secs(60));
    add("CREATE SECURITY INTEGRATION X TYPE = EXTERNAL_OAUTH ENABLED = TRUE EXTERNAL_OAUTH_ISSUER = 'i'")
        .await;
    for (data, code) in [
        (
            json!({ "AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN": bound }),
            None,
        ),
        (
            json!({ "AUTHENTICATOR": "programmatic_access_token", "PASSWORD": bound }),
            None,
        ),
        (json!({ "LOGIN_NAME": "ada", "PASSWORD": bound }), None),
        (json!({ "AUTHENTICATOR": "OAUTH", "TOKEN": access }), None),
        (
            json!({ "LOGIN_NAME": "frazil", "PASSWORD": bound }),
            Some("390100"),
        ),
        (
            json!({ "AUTHENTICATOR": "OAUTH", "TOKEN": bound }),
            Some("390303"),
        ),
        (
            json!({ "AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN": access }),
            Some("394400"),
        ),
        (
            json!({ "AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN": other }),
            Some("390186"),
        ),
    ] {
        let answer = driver.login(data.clone()).await;
        assert_eq!(answer["code"].as_str(), code, "{data}: {answer}");
        if code.is_none() {
            let who = driver.query("1", "SELECT CURRENT_USER(), CURRENT_ROLE()").await;
            assert_eq!(who["data"]["rowset"], json!([["ADA", "ANN"]]), "{data}");
        }
    }
}

#[tokio::test]
async fn a_session_keeps_where_it_is_and_is_renewed_with_its_master_token() {
    let mut driver = Driver::start().await;
    let opened = driver.login(ada()).await;
    assert_eq!(opened["data"]["sessionInfo"]["databaseName"], "DEMO");
    let answer = driver
        .query("1", "SELECT CURRENT_USER(), CURRENT_ROLE(), TRUE, NULL")
        .await;
    assert_eq!(answer["data"]["rowset"], json!([["ADA", "ANN", "1", null]]));
    driver.query("2", "CREATE DATABASE ELSE_WHERE").await;
    let moved = driver.query("3", "SELECT CURRENT_DATABASE()").await;
    assert_eq!(moved["data"]["rowset"], json!([["ELSE_WHERE"]]));

    let (old, master) = (
        driver.token.clone(),
        opened["data"]["masterToken"].as_str().unwrap().to_owned(),
    );
    let renew = json!({ "oldSessionToken": old, "requestType": "RENEW" });
    assert_eq!(
        driver.post("/session/token-request", &renew).await["code"],
        "390114",
        "no master token"
    );
    driver.token = master;
    let renewed = driver.post("/session/token-request", &renew).await;
    driver.token = renewed["data"]["sessionToken"].as_str().unwrap().to_owned();
    let still = driver.query("4", "SELECT CURRENT_DATABASE()").await;
    assert_eq!(still["data"]["rowset"], json!([["ELSE_WHERE"]]));
    driver.post("/session?delete=true", &Value::Null).await;
    assert_eq!(driver.query("5", "SELECT 1").await["code"], "390112");
}

#[tokio::test]
async fn a_repeated_request_runs_once() {
    let mut driver = Driver::start().await;
    driver.login(ada()).await;
    let made = driver.query("1", "CREATE TABLE R (A INT)").await;
    assert_eq!(made["success"], true, "{made}");
    let first = driver.query("2", "INSERT INTO R VALUES (1)").await;
    let again = driver.query("2", "INSERT INTO R VALUES (1)").await;
    assert_eq!(first["data"]["queryId"], again["data"]["queryId"]);
    let count = driver.query("3", "SELECT COUNT(*) FROM R").await;
    assert_eq!(count["data"]["rowset"], json!([["1"]]), "{count}");
}

#[tokio::test]
async fn a_table_is_seen_as_it_was_before_and_behind_a_statement() {
    let mut driver = Driver::start().await;
    driver.login(ada()).await;
    let mut ids = Vec::new();
    for (number, sql) in [
        "CREATE TABLE R (A INT)",
        "INSERT INTO R VALUES (1)",
        "INSERT INTO R VALUES (2), (3)",
        "TRUNCATE TABLE R",
        "SELECT 1 FROM NOWHERE",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = driver.query(&number.to_string(), sql).await;
        ids.push(answer["data"]["queryId"].as_str().unwrap().to_owned());
        // Moments are whole milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for (number, (statement, before, behind)) in [(1, "0", "1"), (2, "1", "3"), (3, "3", "0"), (4, "0", "0")]
        .into_iter()
        .enumerate()
    {
        for (word, expected) in [("BEFORE", before), ("AT", behind)] {
            let sql = format!("SELECT COUNT(*) FROM R {word}(STATEMENT => '{}')", ids[statement]);
            let answer = driver.query(&format!("{word}{number}"), &sql).await;
            assert_eq!(answer["data"]["rowset"], json!([[expected]]), "{sql}: {answer}");
        }
    }
    let sql = format!("CREATE TABLE C CLONE R BEFORE(STATEMENT => '{}')", ids[3]);
    driver.query("clone", &sql).await;
    let count = driver.query("count", "SELECT COUNT(*) FROM C").await;
    assert_eq!(count["data"]["rowset"], json!([["3"]]), "{count}");
    let unknown = driver
        .query("unknown", "SELECT * FROM R AT(STATEMENT => 'no such id')")
        .await;
    assert_eq!(unknown["code"], "000709", "{unknown}");
}

#[tokio::test]
async fn users_are_made_changed_and_dropped_by_sql() {
    let mut driver = Driver::start().await;
    driver.login(ada()).await;
    let cases = [
        ("CREATE USER ADA PASSWORD = 'x'", Some("002002")),
        ("CREATE USER IF NOT EXISTS ADA PASSWORD = 'x'", None),
        ("CREATE USER S TYPE = SERVICE PASSWORD = 'x'", Some("001003")),
        ("CREATE USER S RSA_PUBLIC_KEY = 'no key'", Some("002003")),
        ("DESC USER S", Some("002003")),
        (
            "CREATE USER S TYPE = SERVICE DEFAULT_NAMESPACE = D.PUBLIC COMMENT = 'it'",
            None,
        ),
        ("ALTER USER S SET RSA_PUBLIC_KEY = 'no key'", Some("002003")),
        ("ALTER USER S UNSET RSA_PUBLIC_KEY_2", None),
        ("ALTER USER ADA SET PASSWORD = 'other'", None),
        ("DROP USER S", None),
        ("DROP USER S", Some("002003")),
        ("BEGIN", Some("000002")),
        ("ALTER SESSION SET AUTOCOMMIT = FALSE", Some("000002")),
        ("ALTER SESSION SET TIMEZONE = 'UTC'", None),
    ];
    for (number, (sql, code)) in cases.into_iter().enumerate() {
        let answer = driver.query(&number.to_string(), sql).await;
        assert_eq!(answer["code"].as_str(), code, "{sql}: {answer}");
    }
    assert_eq!(driver.login(ada()).await["code"], "390100", "the old password");
}

#[tokio::test]
async fn queries_of_sessions_that_take_arrow_are_arrow_and_all_else_is_json() {
    let mut driver = Driver::start().await;
    let with = |more: Value| {
        let mut data = ada();
        for (name, value) in more.as_object().unwrap() {
            data[name] = value.clone();
        }
        data
    };
    let form = |answer: &Value| {
        assert_eq!(answer["success"], true, "{answer}");
        let data = &answer["data"];
        let has = (data.get("rowset").is_some(), data.get("rowsetBase64").is_some());
        let form = data["queryResultFormat"].as_str().unwrap().to_owned();
        assert_eq!(has, (form == "json", form == "arrow"), "{answer}");
        form
    };
    let told = |answer: &Value, name: &str| {
        let parameters = answer["data"]["parameters"].as_array().unwrap().iter();
        let mut named = parameters.filter(|parameter| parameter["name"] == name);
        named
            .next()
            .map(|parameter| parameter["value"].as_str().unwrap().to_owned())
    };
    let parameter = "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT";
    let opened = driver
        .login(with(json!({ "CLIENT_APP_ID": "PythonConnector" })))
        .await;
    assert_eq!(told(&opened, parameter).as_deref(), Some("ARROW"));
    let mut ids = Vec::new();
    for (number, (sql, expected)) in [
        ("CREATE TABLE R (A INT)", "json"),
        ("INSERT INTO R VALUES (1)", "json"),
        ("SELECT * FROM R", "arrow"),
        ("SELECT * FROM R WHERE FALSE", "arrow"),
        ("WITH X AS (SELECT * FROM R) SELECT A, NULL FROM X", "arrow"),
        ("SHOW TABLES", "json"),
        ("DESC TABLE R", "json"),
        ("ALTER SESSION SET GO_QUERY_RESULT_FORMAT = JSON", "json"),
        ("SELECT 1", "arrow"),
        (
            "ALTER SESSION SET TIMEZONE = 'UTC' PYTHON_CONNECTOR_QUERY_RESULT_FORMAT = 'json'",
            "json",
        ),
        ("SELECT 1", "json"),
        (
            "ALTER SESSION SET PYTHON_CONNECTOR_QUERY_RESULT_FORMAT = ARROW",
            "json",
        ),
        ("SELECT 1", "arrow"),
        ("ALTER SESSION UNSET PYTHON_CONNECTOR_QUERY_RESULT_FORMAT", "json"),
        ("SELECT 1", "arrow"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = driver.query(&format!("a{number}"), sql).await;
        assert_eq!(form(&answer), expected, "{sql}");
        ids.push(answer["data"]["queryId"].as_str().unwrap().to_owned());
    }
    // A scan of what SHOW answered is a query; the statement's own result stays what it was.
    let scan = format!("SELECT * FROM TABLE(RESULT_SCAN('{}'))", ids[5]);
    assert_eq!(form(&driver.query("scan", &scan).await), "arrow");
    for (id, expected) in [(&ids[5], "json"), (&ids[2], "arrow"), (&ids[10], "json")] {
        assert_eq!(
            form(&driver.get(&format!("/queries/{id}/result")).await),
            expected
        );
    }
    let one = |number: &str, more: Value| {
        let mut body = json!({ "sqlText": "SELECT 1" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        (format!("/queries/v1/query-request?requestId={number}"), body)
    };
    let (path, body) = one("p", json!({ "parameters": { parameter: "JSON" } }));
    assert_eq!(form(&driver.post(&path, &body).await), "json");
    let (path, body) = one("d", json!({ "describeOnly": true }));
    assert_eq!(form(&driver.post(&path, &body).await), "json");

    let json = json!({ "CLIENT_APP_ID": "PythonConnector", "SESSION_PARAMETERS": { parameter: "JSON" } });
    let opened = driver.login(with(json)).await;
    assert_eq!(told(&opened, parameter).as_deref(), Some("JSON"));
    assert_eq!(form(&driver.query("b", "SELECT 1").await), "json");
    assert_eq!(
        form(&driver.get(&format!("/queries/{}/result", ids[2])).await),
        "json"
    );
    for (client, expected) in [
        ("Go", "arrow"),
        ("JDBC", "arrow"),
        ("JavaScript", "json"),
        ("ODBC", "json"),
    ] {
        driver.login(with(json!({ "CLIENT_APP_ID": client }))).await;
        assert_eq!(
            form(&driver.query(client, "SELECT 1").await),
            expected,
            "{client}"
        );
    }
}

/// The test runs on one thread: what a statement computes must not be on it.
#[tokio::test]
async fn a_statement_that_computes_for_long_or_makes_the_planner_panic_takes_nothing_else_along() {
    let mut driver = Driver::start().await;
    driver.login(ada()).await;
    let panics = "SELECT '2024-01-01'::DATE + INTERVAL '9999999 years'";
    let answer = driver.query("p", panics).await;
    assert_eq!(
        (&answer["success"], &answer["code"]),
        (&json!(false), &json!("000603")),
        "{answer}"
    );
    assert_eq!(
        driver.query("1", "SELECT 1").await["data"]["rowset"],
        json!([["1"]])
    );
    driver.query("t", "CREATE TABLE N (I INT)").await;
    let rows: Vec<String> = (0..3000).map(|n| format!("({n})")).collect();
    driver
        .query("i", &format!("INSERT INTO N VALUES {}", rows.join(",")))
        .await;
    let heavy =
        "SELECT COUNT(*) FROM N A, N B, N C WHERE MOD(A.I * B.I + C.I, 7) = 3 AND A.I::VARCHAR LIKE '%9%'";
    let begun = driver
        .post(
            "/queries/v1/query-request?requestId=h",
            &json!({ "sqlText": heavy, "asyncExec": true }),
        )
        .await;
    let handle = begun["data"]["queryId"].as_str().unwrap().to_owned();
    for _ in 0..20 {
        assert_eq!(
            driver.post("/session/heartbeat", &json!({})).await["success"],
            true
        );
    }
    assert_eq!(
        driver.get(&format!("/monitoring/queries/{handle}")).await["data"]["queries"][0]["status"],
        "RUNNING"
    );
    driver
        .post("/queries/v1/abort-request", &json!({ "requestId": "h" }))
        .await;
    let ended = driver.get(&format!("/queries/{handle}/result")).await;
    assert_eq!(ended["code"], "000604", "{ended}");
}

#[tokio::test]
async fn a_statement_is_described_before_its_values_are_bound() {
    let mut driver = Driver::start().await;
    driver.login(ada()).await;
    driver.query("t", "CREATE TABLE P (I INT, S VARCHAR)").await;
    let body = json!({ "sqlText": "SELECT S, I + ? FROM P WHERE I = ? AND S LIKE ?", "describeOnly": true });
    let answer = driver.post("/queries/v1/query-request?requestId=d", &body).await;
    assert_eq!(answer["success"], true, "{answer}");
    let columns = answer["data"]["rowtype"].as_array().unwrap();
    assert_eq!((columns.len(), &columns[0]["name"]), (2, &json!("S")));
}
