//! Numbers, aggregates and texts, where DataFusion alone would answer otherwise.

use super::*;

#[tokio::test]
async fn quotients_products_and_literals_have_the_digits_that_the_documentation_says() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (A NUMBER(10,2), B FLOAT, V VARIANT)")
        .await;
    bench
        .run("INSERT INTO T SELECT 7.25, 2, PARSE_JSON('{\"n\":10}')")
        .await;
    let cases = [
        ("7 / 2", "3.500000"),
        ("2 / 3", "0.666667"),
        ("-2 / 3", "-0.666667"),
        ("1 / 3.000", "0.333333"),
        ("A / 3", "2.41666667"),
        ("A / B", "3.625"),
        ("B / 3 > 0.66", "true"),
        ("V:n / 4", "2.5"),
        ("10 % 4", "2"),
        ("0.1 + 0.2", "0.3"),
        ("1.5", "1.5"),
        (
            "12345678901234567890123456789012345678",
            "12345678901234567890123456789012345678",
        ),
        ("1.123456789 * 1.123456789", "1.262155156750"),
        ("A * A", "52.5625"),
        ("DIV0(1, 0)", "0.000000"),
        ("DIV0(7, 2)", "3.500000"),
        ("DIV0(1, NULL)", "NULL"),
        ("DIV0NULL(1, NULL)", "0.000000"),
        ("1 / NULL", "NULL"),
        ("ZEROIFNULL(NULL)", "0"),
        ("NULLIFZERO(0)", "NULL"),
        ("GREATEST(1, 2.5)", "2.5"),
        ("LEAST(1, NULL)", "NULL"),
        ("ROUND(2.5)", "3"),
        ("1e300 > 1.5e-300", "true"),
        ("-2.5e-3", "-0.0025"),
        ("1e400::DECFLOAT", "1e400"),
        ("SQUARE(1.5)", "2.25"),
        ("OBJECT_CONSTRUCT()", "{}"),
        ("ARRAY_CONSTRUCT()", "[]"),
    ];
    for (expression, expected) in cases {
        let sql = format!("SELECT {expression} FROM T");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
    for expression in ["1 / 0", "1.5 / 0", "B / 0", "1 % 0"] {
        let sql = format!("SELECT {expression} FROM T");
        let error = bench.try_run(&sql).await.expect_err(&sql);
        assert_eq!(
            (error.code, error.message.as_str()),
            ("100051", "Division by zero"),
            "{sql}"
        );
    }
    let sql = "SELECT 1.50, 7 / 2 FROM T";
    let columns = bench.try_run(sql).await.expect(sql).columns;
    let kinds: Vec<_> = columns.iter().map(|column| (column.kind, column.scale)).collect();
    assert_eq!(kinds, [("fixed", Some(2)), ("fixed", Some(6))]);
}

#[tokio::test]
async fn aggregates_give_what_the_documentation_shows() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (K VARCHAR, N NUMBER(38,0), V VARIANT)")
        .await;
    bench
        .run(
            "INSERT INTO T SELECT column1, column2, PARSE_JSON(column3) FROM VALUES
              ('a', 1, '{\"n\":1.5}'), ('a', 2, '{\"n\":9}'), ('b', 2, '{\"n\":10}'), ('b', NULL, '{}')",
        )
        .await;
    for (expression, expected) in [
        ("AVG(N)", "1.666667"),
        ("AVG(DISTINCT N)", "1.500000"),
        ("SUM(N) / COUNT(*)", "1.250000"),
        ("COUNT_IF(N > 1) / COUNT(*)", "0.500000"),
        ("COUNT_IF(N > 5)", "0"),
        ("SUM(V:n)", "20.5"),
        ("AVG(V:n::FLOAT)", "6.833333333333333"),
        ("LISTAGG(K, ',') WITHIN GROUP (ORDER BY K DESC)", "b,b,a,a"),
        ("LISTAGG(DISTINCT K, '|') WITHIN GROUP (ORDER BY K)", "a|b"),
        (
            "LISTAGG(DISTINCT N * 6, ' ') WITHIN GROUP (ORDER BY N * 6 DESC)",
            "12 6",
        ),
        ("LISTAGG(N, ' ') WITHIN GROUP (ORDER BY N)", "1 2 2"),
        ("LISTAGG(CASE WHEN N > 9 THEN K END, ',')", ""),
        ("MEDIAN(N)", "2.000000"),
        ("MEDIAN(V:n)", "9"),
        ("ARRAY_AGG(N) WITHIN GROUP (ORDER BY N DESC)", "[2,2,1]"),
        ("ARRAY_AGG(DISTINCT K) WITHIN GROUP (ORDER BY K)", "[\"a\",\"b\"]"),
        ("ARRAY_SIZE(ARRAY_AGG(V:n))", "3"),
        ("ARRAY_AGG(CASE WHEN N > 9 THEN N END)", "[]"),
        (
            "OBJECT_AGG(K || COALESCE(N, 0), V:n)",
            "{\"a1\":1.5,\"a2\":9,\"b2\":10}",
        ),
        ("APPROX_COUNT_DISTINCT(K)", "2"),
        ("BOOLOR_AGG(N > 1)", "true"),
        ("BOOLAND_AGG(N > 1)", "false"),
    ] {
        let sql = format!("SELECT {expression} FROM T");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
    assert_eq!(bench.cell("SELECT AVG(N) FROM T WHERE N > 5").await, "NULL");
    let over = "SELECT AVG(N) OVER (PARTITION BY K) FROM T QUALIFY ROW_NUMBER() OVER (ORDER BY K) = 1";
    assert_eq!(bench.cell(over).await, "1.500000");
    assert_eq!(
        bench
            .cell("SELECT COUNT(*) FROM (SELECT K FROM T MINUS SELECT 'a')")
            .await,
        "1"
    );
    assert_eq!(bench.run("SELECT TOP 2 K FROM T ORDER BY K").await.len(), 2);
}

#[tokio::test]
async fn texts_are_cut_found_and_joined_as_the_documentation_shows() {
    let mut bench = Bench::new();
    for (expression, expected) in [
        ("SUBSTR('abc', 2)", "bc"),
        ("SUBSTR('abc', 0, 2)", "ab"),
        ("SUBSTR('abc', -2)", "bc"),
        ("SUBSTR('abc', -2, 1)", "b"),
        ("SUBSTR('abc', -5, 2)", ""),
        ("SUBSTRING('üäö' FROM 2 FOR 1)", "ä"),
        ("SUBSTR('abc', 5)", ""),
        ("LEFT('abc', 2)", "ab"),
        ("LEFT('abc', -1)", ""),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', -1)", ""),
        ("CONCAT('a', NULL)", "NULL"),
        ("CONCAT('a', 1, TRUE)", "a1true"),
        ("CONCAT_WS('-', 'a', 'b', 'c')", "a-b-c"),
        ("CONCAT_WS('-', 'a', NULL)", "NULL"),
        ("CHARINDEX('b', 'abcb')", "2"),
        ("CHARINDEX('b', 'abcb', 3)", "4"),
        ("POSITION('x', 'abc')", "0"),
        ("POSITION('c' IN 'abc')", "3"),
        ("SPLIT_PART('a.b.c', '.', -1)", "c"),
        ("SPLIT_PART('a.b.c', '.', 0)", "a"),
        ("STRTOK('a.b;;c', '.;', 3)", "c"),
        ("STRTOK('a b', ' ', 3)", "NULL"),
        ("RLIKE('abc', 'b')", "false"),
        ("'abc' RLIKE 'a.c'", "true"),
        ("'abc' NOT RLIKE 'a.c'", "false"),
        ("REGEXP_LIKE('ABC', 'a.*', 'i')", "true"),
        ("REGEXP_COUNT('aabab', 'ab')", "2"),
        ("REGEXP_INSTR('aabab', 'ab', 1, 2)", "4"),
        ("REGEXP_INSTR('aabab', 'ab', 1, 1, 1)", "4"),
        ("REGEXP_INSTR('aab', 'x')", "0"),
    ] {
        let sql = format!("SELECT {expression}");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn texts_beside_numbers_are_numbers_and_the_time_of_now_has_a_zone() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A INT, B NUMBER(10,2), F FLOAT)").await;
    bench
        .run("INSERT INTO T VALUES (1, 1.5, 1), (2, 2.5, 2), (10, 10.25, 10)")
        .await;
    for (condition, count) in [
        ("A > '1' AND A < '10'", "1"),
        ("A BETWEEN '1' AND '10'", "3"),
        ("A = '1.0'", "1"),
        ("'10' > 9", "3"),
        ("'01' = 1", "3"),
        ("B = '2.50'", "1"),
        ("F >= '2'", "2"),
    ] {
        assert_eq!(
            bench
                .cell(&format!("SELECT COUNT(*) FROM T WHERE {condition}"))
                .await,
            count,
            "{condition}"
        );
    }
    let error = bench.try_run("SELECT COUNT(*) FROM T WHERE A = 'soon'").await;
    let message = error.expect_err("no number").message;
    assert!(message.contains("soon"), "{message}");
    let sql = "SELECT CURRENT_TIMESTAMP(), SYSDATE()";
    let kinds: Vec<_> = bench.try_run(sql).await.expect(sql).columns;
    let kinds: Vec<&str> = kinds.iter().map(|column| column.kind).collect();
    assert_eq!(kinds, ["timestamp_ltz", "timestamp_ntz"]);
}

#[tokio::test]
async fn show_has_limits_and_a_with_may_stand_anywhere() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    for name in ["A", "B", "C"] {
        bench.run(&format!("CREATE TABLE {name} (I INT)")).await;
    }
    assert_eq!(bench.run("SHOW TABLES LIMIT 2").await.len(), 2);
    assert_eq!(
        bench
            .run("SHOW TABLES IN SCHEMA D.PUBLIC LIMIT 5 FROM 'A'")
            .await
            .len(),
        2
    );
    assert_eq!(bench.code("SHOW TABLES LIMIT many").await, "001003");
    assert_eq!(bench.run("DESC TABLE D.PUBLIC.A TYPE = COLUMNS").await.len(), 1);
    assert_eq!(
        bench
            .cell("SELECT * FROM (WITH X AS (SELECT 1 I) SELECT I FROM X)")
            .await,
        "1"
    );
    assert_eq!(
        bench
            .cell("SELECT 2 WHERE 1 IN (WITH X AS (SELECT 1 I) SELECT I FROM X)")
            .await,
        "2"
    );
    bench
        .run("CREATE TABLE E AS (WITH X AS (SELECT 7 I) SELECT I FROM X)")
        .await;
    assert_eq!(bench.cell("SELECT I FROM E").await, "7");
    // It would take the place of the one that stays.
    for modifiers in ["OR REPLACE TEMPORARY", "OR REPLACE TEMP", "VOLATILE", "DYNAMIC"] {
        let sql = format!("CREATE {modifiers} TABLE E (J INT)");
        assert!(bench.try_run(&sql).await.is_err(), "{sql}");
    }
    assert_eq!(bench.cell("SELECT I FROM E").await, "7");
}
