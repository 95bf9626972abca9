//! Functions of a user's own: definitions, calls, overloads, privileges.

use super::*;

async fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
}

#[tokio::test]
async fn functions_are_made_shown_and_dropped() {
    let mut bench = bench().await;
    let made = bench
        .cell("CREATE FUNCTION multiply(a NUMBER, b NUMBER(10,2)) RETURNS NUMBER LANGUAGE SQL COMMENT = 'times' AS 'a * b'")
        .await;
    assert_eq!(made, "Function MULTIPLY successfully created.");
    let rows = bench.run("DESC FUNCTION multiply(number, NUMBER(38,0))").await;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row[1].as_deref().unwrap_or_default())
        .collect();
    assert_eq!(
        rows,
        ["(A NUMBER(38,0), B NUMBER(10,2))", "NUMBER(38,0)", "SQL", "a * b"]
    );
    let shown = bench.run("SHOW USER FUNCTIONS LIKE 'multi%'").await;
    let cell = |at: usize| shown[0][at].as_deref().unwrap_or_default();
    assert_eq!(
        (cell(1), cell(8), cell(9), cell(15)),
        (
            "MULTIPLY",
            "MULTIPLY(NUMBER, NUMBER) RETURN NUMBER",
            "times",
            "SQL"
        )
    );
    let again = "FUNCTION multiply(a NUMBER, b NUMBER) RETURNS NUMBER AS $$ a * b + 1 $$";
    assert_eq!(bench.code(&format!("CREATE {again}")).await, "002002");
    assert_eq!(bench.cell("SELECT multiply(3, 4)").await, "12");
    bench.run(&format!("CREATE OR REPLACE {again}")).await;
    assert_eq!(bench.cell("SELECT D.PUBLIC.MULTIPLY(b => 4, a => 3)").await, "13");
    for (statement, code) in [
        (
            "CREATE FUNCTION f() RETURNS INT LANGUAGE JAVASCRIPT AS 'return 1'",
            "000002",
        ),
        (
            "CREATE FUNCTION f() RETURNS INT LANGUAGE PYTHON HANDLER = 'f' AS 'x'",
            "000002",
        ),
        (
            "CREATE FUNCTION f() RETURNS TABLE (a INT) AS 'SELECT 1'",
            "000002",
        ),
        ("CREATE FUNCTION f() RETURNS INT AS 'SELECT 1'", "000002"),
        (
            "CREATE FUNCTION f(a INT) RETURNS INT AS 'a + (SELECT 1)'",
            "000002",
        ),
        ("CREATE FUNCTION f(a INT) RETURNS INT AS 'a + c'", "000904"),
        ("CREATE FUNCTION f(a INT) RETURNS INT AS 'nothing(a)'", "002140"),
        ("CREATE FUNCTION f(a INT) RETURNS INT AS 'a +'", "001003"),
        ("CREATE FUNCTION f(a INT) RETURNS INT AS 'a, a'", "001003"),
        ("CREATE FUNCTION f(a INT, a INT) RETURNS INT AS 'a'", "001003"),
        ("CREATE FUNCTION f(a INT) AS 'a'", "001003"),
        ("DROP FUNCTION multiply(NUMBER)", "002003"),
        ("DROP FUNCTION multiply", "001003"),
        ("SELECT multiply(1)", "001044"),
        ("SELECT gone(1)", "002140"),
    ] {
        assert_eq!(bench.code(statement).await, code, "{statement}");
    }
    bench.run("DROP FUNCTION IF EXISTS gone()").await;
    bench.run("DROP FUNCTION multiply(NUMBER, NUMBER)").await;
    assert_eq!(bench.code("SELECT multiply(3, 4)").await, "002140");
    assert!(bench.run("SHOW FUNCTIONS").await.is_empty());
}

#[tokio::test]
async fn a_call_is_the_body_with_its_values_cast_to_the_arguments() {
    let mut bench = bench().await;
    for statement in [
        "CREATE FUNCTION twice(a NUMBER) RETURNS NUMBER AS 'a * 2'",
        "CREATE FUNCTION four(a NUMBER) RETURNS VARCHAR AS 'twice(twice(a))'",
        "CREATE FUNCTION name_of(v VARIANT) RETURNS VARCHAR AS 'v:name::STRING || ''!'''",
        "CREATE FUNCTION strict_one(a VARCHAR) RETURNS VARCHAR STRICT AS 'COALESCE(a, ''none'')'",
        "CREATE FUNCTION lenient_one(a VARCHAR) RETURNS VARCHAR AS 'COALESCE(a, ''none'')'",
        "CREATE FUNCTION pi() RETURNS FLOAT AS '3.141592654::FLOAT'",
        "CREATE FUNCTION what(a NUMBER) RETURNS VARCHAR AS '''number'''",
        "CREATE FUNCTION what(a VARCHAR) RETURNS VARCHAR AS '''text'''",
        "CREATE TABLE T (ID NUMBER, V VARIANT)",
        "INSERT INTO T SELECT 1, PARSE_JSON('{\"name\":\"ada\"}')",
    ] {
        bench.run(statement).await;
    }
    for (sql, expected) in [
        ("SELECT twice(1.5)", "4"),
        ("SELECT twice('21')", "42"),
        ("SELECT four(3)", "12"),
        ("SELECT name_of(V) FROM T WHERE twice(ID) = 2", "ada!"),
        ("SELECT name_of(PARSE_JSON('{\"name\":1}'))", "1!"),
        ("SELECT strict_one(NULL)", "NULL"),
        ("SELECT lenient_one(NULL)", "none"),
        ("SELECT what(1)", "number"),
        ("SELECT what('1')", "text"),
        ("SELECT what(ID::VARCHAR) FROM T", "text"),
        ("SELECT twice(SUM(ID)) FROM T", "2"),
    ] {
        assert_eq!(bench.cell(sql).await, expected, "{sql}");
    }
    assert_eq!(bench.cell("SELECT pi()").await, "3.141592654");
    assert_eq!(bench.code("SELECT what(ID) FROM T").await, "000002");
    bench.run("CREATE SCHEMA OTHER").await;
    assert_eq!(bench.code("SELECT twice(1)").await, "002140");
    // The body's names are those of its own schema.
    assert_eq!(bench.cell("SELECT PUBLIC.four(1)").await, "4");
    bench.run("USE SCHEMA PUBLIC").await;
    bench.run("INSERT INTO T (ID) SELECT twice(5)").await;
    assert_eq!(bench.cell("SELECT MAX(ID) FROM T").await, "10");
    // One that calls itself ends.
    bench
        .run("CREATE OR REPLACE FUNCTION twice(a NUMBER) RETURNS NUMBER AS 'twice(a)'")
        .await;
    assert_eq!(bench.code("SELECT twice(1)").await, "000002");
}

#[tokio::test]
async fn a_function_wants_usage_and_runs_with_its_owners_privileges() {
    let mut bench = bench().await;
    for statement in [
        "CREATE SEQUENCE S",
        "CREATE FUNCTION next() RETURNS NUMBER AS 'S.NEXTVAL'",
        "CREATE ROLE R",
        "GRANT USAGE ON DATABASE D TO ROLE R",
        "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R",
    ] {
        bench.run(statement).await;
    }
    bench.session.role = Some("R".to_owned());
    assert_eq!(bench.code("SELECT next()").await, "002140");
    assert_eq!(bench.code("DESC FUNCTION next()").await, "002003");
    assert_eq!(bench.code("DROP FUNCTION next()").await, "002003");
    assert_eq!(
        bench.code("CREATE FUNCTION mine() RETURNS INT AS '1'").await,
        "003001"
    );
    assert!(bench.run("SHOW USER FUNCTIONS").await.is_empty());
    bench.session.role = None;
    bench.run("GRANT USAGE ON FUNCTION next() TO ROLE R").await;
    let grants = bench.run("SHOW GRANTS TO ROLE R").await;
    let is_it = |row: &Vec<Option<String>>| {
        row[2].as_deref() == Some("FUNCTION") && row[3].as_deref() == Some("D.PUBLIC.NEXT")
    };
    assert!(grants.iter().any(is_it), "{grants:?}");
    bench.session.role = Some("R".to_owned());
    assert_eq!(bench.cell("SELECT next()").await, "1");
    assert_eq!(
        bench.code("SELECT S.NEXTVAL").await,
        "002003",
        "only the function's owner may"
    );
    assert_eq!(bench.code("DROP FUNCTION next()").await, "003001");
}

#[tokio::test]
async fn calls_inside_each_other_are_planned_or_refused_and_end_no_server() {
    let mut bench = bench().await;
    let deep = |levels: usize| {
        let (open, close) = ("ABS(".repeat(levels), ")".repeat(levels));
        format!("SELECT {open}-7{close}")
    };
    for levels in [2, 10, 20] {
        assert_eq!(bench.cell(&deep(levels)).await, "7", "{levels}");
    }
    assert_eq!(bench.code(&deep(10_000)).await, "001003");
}
