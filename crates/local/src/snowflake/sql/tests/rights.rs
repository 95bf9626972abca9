//! Roles, grants, and statements that a role may or may not run.

use super::*;

/// Runs statements in order, each as a role; `None`: it works, else the code.
async fn play(bench: &mut Bench, script: &[(&str, &str, Option<&str>)]) {
    for (role, sql, code) in script {
        bench.session.role = Some((*role).to_owned());
        let told = bench.try_run(sql).await;
        let got = told.as_ref().err().map(|error| error.code);
        assert_eq!(got, *code, "{role}: {sql}: {told:?}");
    }
}

async fn bench() -> Bench {
    let mut bench = Bench::new();
    for sql in [
        "CREATE USER ADA",
        "CREATE DATABASE D",
        "CREATE TABLE T (N NUMBER) ERROR_LOGGING = TRUE",
        "CREATE ROLE R",
        "CREATE ROLE Q",
        "GRANT ROLE R TO USER ADA",
        "GRANT ROLE Q TO USER ADA",
        "GRANT ROLE ACCOUNTADMIN TO USER ADA",
    ] {
        bench.run(sql).await;
    }
    bench.session.user = "ADA".to_owned();
    bench
}

const ADMIN: &str = "ACCOUNTADMIN";
const MISSING: Option<&str> = Some("002003");
const DENIED: Option<&str> = Some("003001");

#[tokio::test]
async fn each_statement_wants_its_privilege() {
    let mut bench = bench().await;
    let cases = [
        ("SELECT * FROM T", "SELECT ON TABLE T"),
        ("INSERT INTO T VALUES (1)", "INSERT ON TABLE T"),
        ("SELECT * FROM ERROR_TABLE(T)", "SELECT ERROR TABLE ON TABLE T"),
        ("TRUNCATE ERROR_TABLE(T)", "TRUNCATE ON TABLE T"),
        ("CREATE TABLE OF_R (N NUMBER)", "CREATE TABLE ON SCHEMA D.PUBLIC"),
        ("CREATE SCHEMA D.OF_R", "CREATE SCHEMA ON DATABASE D"),
        ("CREATE DATABASE OF_R", "CREATE DATABASE ON ACCOUNT"),
        ("CREATE ROLE OF_R", "CREATE ROLE ON ACCOUNT"),
        ("CREATE USER OF_R", "CREATE USER ON ACCOUNT"),
    ];
    play(
        &mut bench,
        &[("R", "SELECT * FROM T", MISSING), ("R", "DESC TABLE T", MISSING)],
    )
    .await;
    play(
        &mut bench,
        &[
            (ADMIN, "GRANT USAGE ON DATABASE D TO ROLE R", None),
            ("R", "SELECT * FROM T", MISSING),
            (ADMIN, "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R", None),
            ("R", "SELECT * FROM T", MISSING),
            // Seen, and not to be read.
            (ADMIN, "GRANT REFERENCES ON TABLE T TO ROLE R", None),
            ("R", "DESC TABLE T", None),
        ],
    )
    .await;
    for (sql, privilege) in cases {
        bench.session.database = Some("D".to_owned());
        bench.session.schema = Some("PUBLIC".to_owned());
        play(
            &mut bench,
            &[
                ("R", sql, DENIED),
                (ADMIN, &format!("GRANT {privilege} TO ROLE R"), None),
                ("R", sql, None),
            ],
        )
        .await;
    }
    bench.session.database = Some("D".to_owned());
    bench.session.schema = Some("PUBLIC".to_owned());
    play(
        &mut bench,
        &[
            ("R", "ALTER TABLE T ADD COLUMN A INT", DENIED),
            ("R", "DROP TABLE T", DENIED),
            ("R", "ALTER TABLE OF_R ADD COLUMN A INT", None),
            (ADMIN, "SELECT * FROM OF_R", MISSING),
            ("R", "CREATE OR REPLACE TABLE T (N INT)", DENIED),
            (ADMIN, "GRANT OWNERSHIP ON TABLE T TO ROLE R", Some("003036")),
            (
                ADMIN,
                "GRANT OWNERSHIP ON TABLE T TO ROLE R COPY CURRENT GRANTS",
                None,
            ),
            ("R", "DROP TABLE T", None),
        ],
    )
    .await;
}

#[tokio::test]
async fn roles_inherit_and_options_let_grants_travel() {
    let mut bench = bench().await;
    play(
        &mut bench,
        &[
            (ADMIN, "GRANT USAGE ON DATABASE D TO ROLE R", None),
            (ADMIN, "GRANT USAGE ON ALL SCHEMAS IN DATABASE D TO ROLE R", None),
            (
                ADMIN,
                "GRANT SELECT ON ALL TABLES IN SCHEMA D.PUBLIC TO ROLE R WITH GRANT OPTION",
                None,
            ),
            ("Q", "SELECT * FROM D.PUBLIC.T", MISSING),
            ("R", "GRANT SELECT ON TABLE D.PUBLIC.T TO ROLE Q", None),
            ("R", "GRANT INSERT ON TABLE D.PUBLIC.T TO ROLE Q", DENIED),
            (ADMIN, "GRANT ROLE R TO ROLE Q", None),
            ("Q", "SELECT * FROM D.PUBLIC.T", None),
            (ADMIN, "GRANT ROLE Q TO ROLE R", Some("001003")),
            (ADMIN, "REVOKE ROLE R FROM ROLE Q", None),
            ("Q", "SELECT * FROM D.PUBLIC.T", MISSING),
            (
                ADMIN,
                "REVOKE GRANT OPTION FOR SELECT ON TABLE D.PUBLIC.T FROM ROLE R",
                None,
            ),
            ("R", "GRANT SELECT ON TABLE D.PUBLIC.T TO ROLE Q", DENIED),
            (
                ADMIN,
                "GRANT INSERT ON FUTURE TABLES IN SCHEMA D.PUBLIC TO ROLE R",
                None,
            ),
            (ADMIN, "CREATE TABLE D.PUBLIC.LATER (N INT)", None),
            ("R", "INSERT INTO D.PUBLIC.LATER VALUES (1)", None),
            (ADMIN, "CREATE OR REPLACE TABLE D.PUBLIC.T (N INT)", None),
            ("R", "SELECT * FROM D.PUBLIC.T", DENIED),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_a_grant_gets_wrong_is_told() {
    let mut bench = bench().await;
    play(
        &mut bench,
        &[
            (ADMIN, "GRANT SELECT ON DATABASE D TO ROLE R", Some("001003")),
            (ADMIN, "GRANT ON DATABASE D TO ROLE R", Some("001003")),
            (ADMIN, "GRANT USAGE ON DATABASE NONE TO ROLE R", MISSING),
            (ADMIN, "GRANT USAGE ON DATABASE D TO ROLE NOBODY", MISSING),
            (
                ADMIN,
                "GRANT USAGE ON DATABASE D TO ROLE R AND MORE",
                Some("001003"),
            ),
            (
                ADMIN,
                "REVOKE OWNERSHIP ON DATABASE D FROM ROLE R",
                Some("001003"),
            ),
            (ADMIN, "DROP ROLE ACCOUNTADMIN", DENIED),
            (ADMIN, "CREATE ROLE R", Some("002002")),
            ("R", "GRANT USAGE ON DATABASE D TO ROLE Q", DENIED),
            ("R", "GRANT ROLE Q TO ROLE R", DENIED),
            ("R", "DROP ROLE Q", MISSING),
            ("R", "USE ROLE SYSADMIN", None),
            ("NOBODY", "SELECT 1", Some("390186")),
        ],
    )
    .await;
    bench.session.role = Some("R".to_owned());
    assert_eq!(bench.code("USE ROLE NOBODY").await, "002043");
    bench.session.role = Some(ADMIN.to_owned());
    bench.run("REVOKE ROLE ACCOUNTADMIN FROM USER ADA").await;
    bench.session.role = Some("R".to_owned());
    assert_eq!(bench.code("USE ROLE SYSADMIN").await, "003013");
    bench.session.role = None;
    assert_eq!(bench.cell("SELECT CURRENT_ROLE()").await, "PUBLIC");
    bench.run("ALTER USER ADA SET DEFAULT_ROLE = R").await;
    bench.session.role = None;
    assert_eq!(bench.cell("SELECT CURRENT_ROLE()").await, "R");
}

#[tokio::test]
async fn lists_hold_what_the_role_sees_and_a_dropped_role_leaves_its_objects() {
    let mut bench = bench().await;
    let names = |rows: Vec<Vec<Option<String>>>| rows.len();
    bench.session.role = Some("R".to_owned());
    assert_eq!(names(bench.run("SHOW TABLES IN SCHEMA D.PUBLIC").await), 0);
    assert_eq!(names(bench.run("SHOW DATABASES").await), 0);
    bench.session.role = Some(ADMIN.to_owned());
    for sql in [
        "GRANT USAGE ON DATABASE D TO ROLE R",
        "GRANT USAGE, CREATE TABLE ON SCHEMA D.PUBLIC TO ROLE R",
    ] {
        bench.run(sql).await;
    }
    bench.session.role = Some("R".to_owned());
    bench.run("CREATE TABLE D.PUBLIC.MINE (N INT)").await;
    assert_eq!(names(bench.run("SHOW TABLES IN SCHEMA D.PUBLIC").await), 1);
    bench.session.role = Some(ADMIN.to_owned());
    assert_eq!(
        names(bench.run("SHOW TABLES IN SCHEMA D.PUBLIC").await),
        1,
        "T alone"
    );
    let grants = bench.run("SHOW GRANTS TO ROLE R").await;
    let of = |privilege: &str| {
        grants
            .iter()
            .filter(|row| row[1].as_deref() == Some(privilege))
            .count()
    };
    assert_eq!((of("USAGE"), of("CREATE TABLE"), of("OWNERSHIP")), (2, 1, 1));
    bench.run("DROP ROLE R").await;
    assert_eq!(names(bench.run("SHOW TABLES IN SCHEMA D.PUBLIC").await), 2);
    assert_eq!(bench.code("SHOW GRANTS TO ROLE R").await, "002003");
}

/// The scripts of the set-up page, one after the other in one session each.
#[tokio::test]
async fn the_set_up_pages_scripts_run_whole() {
    let mut bench = bench().await;
    let mut run = 0;
    for script in [
        include_str!("../../../../../../testdata/sql/1-roles.sql"),
        include_str!("../../../../../../testdata/sql/2-tables.sql"),
        include_str!("../../../../../../testdata/sql/3-pipes.sql"),
        include_str!("../../../../../../testdata/sql/4-iceberg.sql"),
        include_str!("../../../../../../testdata/sql/5-changes.sql"),
    ] {
        bench.session = Session {
            user: "ADA".to_owned(),
            role: Some(ADMIN.to_owned()),
            ..Session::default()
        };
        let plain: Vec<&str> = script.lines().filter(|line| !line.starts_with("--")).collect();
        for sql in plain.join("\n").split(';').filter(|sql| !sql.trim().is_empty()) {
            bench.run(sql).await;
            run += 1;
        }
    }
    assert!(run >= 91, "{run} statements");
    bench.session.role = Some(ADMIN.to_owned());
    assert_eq!(
        bench.code("SELECT * FROM KINESIS_DB.KINESIS_SCHEMA.CLICKS").await,
        "002003",
        "it belongs to the connector's role"
    );
}

#[tokio::test]
async fn what_was_allowed_once_is_asked_anew_after_each_change() {
    let mut bench = bench().await;
    let read = "SELECT COUNT(*) FROM T";
    let script = [
        ("R", read, MISSING),
        (ADMIN, "GRANT USAGE ON DATABASE D TO ROLE Q", None),
        (ADMIN, "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE Q", None),
        (ADMIN, "GRANT SELECT ON TABLE T TO ROLE Q", None),
        ("Q", read, None),
        ("R", read, MISSING),
        (ADMIN, "GRANT ROLE Q TO ROLE R", None),
        ("R", read, None),
        (ADMIN, "REVOKE SELECT ON TABLE T FROM ROLE Q", None),
        ("R", read, MISSING),
        ("Q", read, MISSING),
        (ADMIN, "GRANT OWNERSHIP ON TABLE T TO ROLE Q", None),
        ("R", read, None),
        (ADMIN, "REVOKE ROLE Q FROM ROLE R", None),
        ("R", read, MISSING),
        ("Q", read, None),
        ("Q", "DROP TABLE T", None),
        (ADMIN, "CREATE TABLE T (N NUMBER)", None),
        ("Q", read, MISSING),
        (ADMIN, "GRANT SELECT ON TABLE T TO ROLE PUBLIC", None),
        ("Q", read, None),
        (ADMIN, "REVOKE USAGE ON DATABASE D FROM ROLE Q", None),
        ("Q", read, MISSING),
    ];
    for (role, sql, code) in script {
        // Twice: the second time from what is kept.
        let times = if sql == read { 2 } else { 1 };
        for _ in 0..times {
            play(&mut bench, &[(role, sql, code)]).await;
        }
    }
}
