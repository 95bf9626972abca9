//! TIMESTAMP_TZ, DECFLOAT, VECTOR and the geospatial types in statements.

use std::fmt::Write as _;

use super::*;

async fn zoned_bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench
        .run("CREATE TABLE t (id INT, at TIMESTAMP_TZ, n NUMBER)")
        .await;
    bench.load(
        "T",
        "{\"id\":1,\"at\":\"2026-01-02T12:00:00.5+02:00\"}\n{\"id\":2,\"at\":\"2026-01-02T10:00:00.5Z\"}\n\
         {\"id\":3,\"at\":\"2026-01-02T08:00:00-05:30\"}\n{\"id\":4}\n",
    );
    bench
}

#[tokio::test]
async fn a_moment_keeps_its_offset_and_is_shown_with_it() {
    let mut bench = zoned_bench().await;
    let found = bench.try_run("SELECT at FROM t ORDER BY id").await.expect("rows");
    assert_eq!(
        (found.columns[0].kind, found.columns[0].scale),
        ("timestamp_tz", Some(9))
    );
    let cells: Vec<Option<&str>> = found.rows.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(
        cells,
        [
            Some("1767348000.500000000 1560"),
            Some("1767348000.500000000 1440"),
            Some("1767360600.000000000 1110"),
            None
        ]
    );
    for (expression, expected) in [
        ("at::VARCHAR", "2026-01-02 12:00:00.500 +0200"),
        ("TO_VARCHAR(at)", "2026-01-02 12:00:00.500 +0200"),
        ("at || '!'", "2026-01-02 12:00:00.500 +0200!"),
        ("at::VARIANT", "\"2026-01-02 12:00:00.500 +0200\""),
        ("TO_CHAR(at, 'HH24:MI TZH:TZM')", "12:00 +02:00"),
        // Casts to what has no offset keep the clock; the instant stays where there is one.
        ("at::TIMESTAMP_NTZ", "1767355200.500000000"),
        ("at::TIMESTAMP_LTZ", "1767348000.500000000"),
        ("at::DATE", "20455"),
        ("at::TIME", "43200.500000000"),
        ("EXTRACT(HOUR FROM at)", "12"),
        ("DATE_PART('hour', at)", "12"),
        ("DATE_TRUNC('day', at)", "1767304800.000000000 1560"),
        ("DATEADD(hour, 1, at)", "1767351600.500000000 1560"),
        (
            "CONVERT_TIMEZONE('Asia/Kolkata', at)",
            "1767348000.500000000 1770",
        ),
        (
            "'2026-01-02 10:00:00 -0800'::TIMESTAMP_TZ",
            "1767376800.000000000 960",
        ),
        (
            "TO_TIMESTAMP_TZ('2026-01-02T10:00:00-08:00')",
            "1767376800.000000000 960",
        ),
        ("'2026-01-02'::DATE::TIMESTAMP_TZ", "1767312000.000000000 1440"),
        ("TRY_CAST('soon' AS TIMESTAMP_TZ)", "NULL"),
    ] {
        let sql = format!("SELECT {expression} FROM t WHERE id = 1");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn moments_are_compared_and_ordered_whatever_their_offsets() {
    let mut bench = zoned_bench().await;
    for (condition, expected) in [
        ("at = '2026-01-02 10:00:00.5Z'", "2"),
        ("at <> '2026-01-02 12:00:00.5 +0200'::TIMESTAMP_TZ", "1"),
        ("at > '2026-01-02 11:00:00'", "1"),
        ("at BETWEEN '2026-01-02 10:00:00' AND '2026-01-02 11:00:00'", "2"),
        (
            "at NOT BETWEEN '2026-01-02 10:00:00' AND '2026-01-02 11:00:00'",
            "1",
        ),
        ("at IN ('2026-01-02 09:00:00.5 -0100'::TIMESTAMP_TZ)", "2"),
        ("EQUAL_NULL(at, '2026-01-02 10:00:00.5 +0000'::TIMESTAMP_TZ)", "2"),
        ("at < CURRENT_TIMESTAMP() OR at >= CURRENT_TIMESTAMP()", "3"),
    ] {
        let sql = format!("SELECT COUNT(*) FROM t WHERE {condition}");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
    let joined = "SELECT COUNT(*) FROM t a JOIN t b ON a.at = b.at";
    assert_eq!(bench.cell(joined).await, "5");
    let renamed = "SELECT COUNT(*) FROM (SELECT at AS x FROM t) WHERE x > '2026-01-02 11:00:00'";
    assert_eq!(bench.cell(renamed).await, "1");
    assert_eq!(
        bench.cell("SELECT MAX(at)::VARCHAR FROM t").await,
        "2026-01-02 08:00:00.000 -0530"
    );
    let last = bench
        .run("SELECT id FROM t WHERE at IS NOT NULL ORDER BY at DESC, id")
        .await;
    assert_eq!(last[0][0].as_deref(), Some("3"));
}

#[tokio::test]
async fn offsets_survive_inserts_renames_and_time_travel() {
    let mut bench = zoned_bench().await;
    bench
        .run("INSERT INTO t (id, at) SELECT id + 10, at FROM t WHERE id = 1")
        .await;
    bench
        .run("INSERT INTO t (id, at) VALUES (21, '2026-05-01 00:00:00 +0900')")
        .await;
    bench
        .run("CREATE TABLE copied AS SELECT id, at AS happened FROM t")
        .await;
    let kinds = bench.run("DESC TABLE copied").await;
    assert_eq!(kinds[1][1].as_deref(), Some("TIMESTAMP_TZ(9)"));
    let copied = "SELECT happened::VARCHAR FROM copied WHERE id = 11";
    assert_eq!(bench.cell(copied).await, "2026-01-02 12:00:00.500 +0200");
    bench.run("ALTER TABLE t RENAME COLUMN at TO happened").await;
    let renamed = "SELECT happened::VARCHAR FROM t WHERE id = 21";
    assert_eq!(bench.cell(renamed).await, "2026-05-01 00:00:00.000 +0900");
    let then = "SELECT happened::VARCHAR FROM t AT(OFFSET => 0) WHERE id = 3";
    assert_eq!(bench.cell(then).await, "2026-01-02 08:00:00.000 -0530");
    bench.run("ALTER TABLE t ADD COLUMN later TIMESTAMP_TZ").await;
    assert_eq!(bench.cell("SELECT COUNT(later) FROM t").await, "0");
}

/// A segment as versions before wrote it, without the offsets.
#[tokio::test]
async fn moments_of_earlier_versions_are_read_as_utc() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench.run("CREATE TABLE t (id INT, at TIMESTAMP_TZ)").await;
    let table = bench
        .engine
        .catalog
        .table("D", "PUBLIC", "T")
        .expect("readable")
        .expect("there");
    let accepted = [AcceptedRows {
        ndjson: b"{\"id\":1,\"at\":\"2026-01-02T12:00:00+02:00\"}\n",
    }];
    let converted = convert(
        &table,
        Mapping::ByName {
            case_sensitive: false,
        },
        &accepted,
        crate::snowflake::rows::Terms::at(0),
    );
    let names: Vec<String> = converted
        .record_batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let earlier = converted.record_batch.project(&[0, 1]).expect("two columns");
    let disk = RealDisk::new(bench.folder.path());
    let written = stored::write(&disk, &bench.engine.catalog, &table, None, &earlier).expect("written");
    let commit = TableCommit {
        table_id: table.id,
        columns_before: table.columns.clone(),
        columns_after: None,
        segment: written.segment,
        errors: None,
        channels: Vec::new(),
        overwrite: false,
        iceberg: None,
    };
    assert!(matches!(bench.engine.catalog.commit(&commit), Ok(Outcome::Done)));
    bench.load("T", "{\"id\":2,\"at\":\"2026-01-02T12:00:00+02:00\"}\n");
    let rows = bench.run("SELECT at::VARCHAR FROM t ORDER BY id").await;
    assert_eq!(rows[0][0].as_deref(), Some("2026-01-02 10:00:00.000 +0000"));
    assert_eq!(rows[1][0].as_deref(), Some("2026-01-02 12:00:00.000 +0200"));
}

#[tokio::test]
async fn decimal_floats_are_exact_and_are_ordered_as_numbers() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench.run("CREATE TABLE t (id INT, d DECFLOAT)").await;
    bench.load("T", "{\"id\":1,\"d\":123e7000}\n{\"id\":2,\"d\":\"-4.2e-5432\"}\n{\"id\":3,\"d\":9}\n{\"id\":4,\"d\":10.5}\n{\"id\":5}\n");
    bench
        .run("INSERT INTO t VALUES (6, DECFLOAT '-1e1000'), (7, 12345678901234567890123456789::DECFLOAT)")
        .await;
    let found = bench
        .try_run("SELECT d FROM t WHERE d IS NOT NULL ORDER BY d")
        .await
        .expect("rows");
    assert_eq!(
        (found.columns[0].kind, found.columns[0].precision),
        ("decfloat", Some(38))
    );
    let cells: Vec<Option<&str>> = found.rows.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(
        cells,
        [
            Some("-1e1000"),
            Some("-4.2e-5432"),
            Some("9"),
            Some("10.5"),
            Some("12345678901234567890123456789"),
            Some("1.23e7002")
        ]
    );
    for (expression, expected) in [
        ("COUNT(*) FROM t WHERE d > 9", "3"),
        ("COUNT(*) FROM t WHERE d BETWEEN 9 AND '10.5'", "2"),
        ("COUNT(*) FROM t WHERE 10.50 = d", "1"),
        ("MIN(d)::VARCHAR FROM t", "-1e1000"),
        ("d::NUMBER(10,1) FROM t WHERE id = 4", "10.5"),
        ("d::FLOAT FROM t WHERE id = 4", "10.5"),
        ("TO_DECFLOAT('1.50')", "1.5"),
        ("TRY_TO_DECFLOAT('x')", "NULL"),
        ("TRY_CAST('1e16385' AS DECFLOAT)", "NULL"),
        ("CAST('2.5' AS DECFLOAT) || 'x'", "2.5x"),
        ("COUNT(*) FROM (SELECT d FROM t GROUP BY d)", "7"),
    ] {
        let sql = format!("SELECT {expression}");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
    for sql in [
        "SELECT 'x'::DECFLOAT",
        "SELECT 'NaN'::DECFLOAT",
        "SELECT d + 1 FROM t",
        "SELECT d::VARIANT FROM t",
        "SELECT ARRAY_CONSTRUCT(d) FROM t",
        "SELECT SUM(d) FROM t",
        "CREATE TABLE no (d DECFLOAT(10))",
        "CREATE TABLE no (o OBJECT(d DECFLOAT))",
    ] {
        assert!(bench.try_run(sql).await.is_err(), "{sql}");
    }
    let described = bench.run("DESC TABLE t").await;
    assert_eq!(described[1][1].as_deref(), Some("DECFLOAT(38)"));
}

#[tokio::test]
async fn vectors_have_their_dimension_and_are_read_as_arrays() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench
        .run("CREATE TABLE t (id INT, v VECTOR(FLOAT, 3), w VECTOR(INT, 2))")
        .await;
    bench.load("T", "{\"id\":1,\"v\":[1.5,-2,3],\"w\":[1,2]}\n{\"id\":2}\n");
    bench
        .run("INSERT INTO t SELECT 4, [1.1, 2.2, -3]::VECTOR(FLOAT, 3), PARSE_JSON('[7,8]')::VECTOR(INT,2)")
        .await;
    let found = bench
        .try_run("SELECT v, w FROM t ORDER BY id")
        .await
        .expect("rows");
    let described = found.columns[0].described();
    assert_eq!(
        (&described["type"], &described["vectorDimension"]),
        (&"vector".into(), &3.into())
    );
    assert_eq!(described["fields"][0]["type"], "real");
    assert_eq!(found.columns[1].described()["fields"][0]["type"], "fixed");
    let rows: Vec<Vec<Option<&str>>> = found
        .rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.as_deref()).collect())
        .collect();
    assert_eq!(
        rows,
        [
            [Some("[1.5,-2.0,3.0]"), Some("[1,2]")],
            [None, None],
            [Some("[1.1,2.2,-3.0]"), Some("[7,8]")]
        ]
    );
    for (expression, expected) in [
        ("GET(v::ARRAY, 1)::INT", "-2"),
        ("w::VARCHAR", "[1,2]"),
        ("TRY_CAST([1] AS VECTOR(INT, 2))", "NULL"),
    ] {
        let sql = format!("SELECT {expression} FROM t WHERE id = 1");
        assert_eq!(bench.cell(&sql).await, expected, "{sql}");
    }
    bench.run("CREATE TABLE copied AS SELECT * FROM t").await;
    let kinds = bench.run("DESC TABLE copied").await;
    assert_eq!(kinds[1][1].as_deref(), Some("VECTOR(FLOAT, 3)"));
    let long: String = (0..1536).fold(String::new(), |mut text, number| {
        let _ = write!(text, "{}-0.{number}", if number > 0 { "," } else { "" });
        text
    });
    let long = format!("SELECT GET([{long}]::VECTOR(FLOAT, 1536)::ARRAY, 1535)::FLOAT");
    assert_eq!(bench.cell(&long).await, "-0.1535");
    for sql in [
        "SELECT [1,2]::VECTOR(FLOAT, 3)",
        "SELECT [1.5]::VECTOR(INT, 1)",
        "SELECT v::VARIANT FROM t",
        "CREATE TABLE no (v VECTOR(STRING, 3))",
        "CREATE TABLE no (v VECTOR(INT, -1))",
        "CREATE TABLE no (v VECTOR(INT, 0))",
        "CREATE TABLE no (v VECTOR(FLOAT, 4097))",
        "CREATE TABLE no (v VECTOR)",
        "CREATE TABLE no (o ARRAY(VECTOR(FLOAT, 3)))",
    ] {
        assert!(bench.try_run(sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn definitions_of_these_types_are_shown_and_make_the_table_again() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench.run("CREATE TABLE t (a DECFLOAT NOT NULL, b VECTOR(FLOAT, 256), c VECTOR(INT, 16), e TIMESTAMP_TZ(3))").await;
    let shown = bench.run("SHOW COLUMNS IN TABLE t").await;
    let types: Vec<serde_json::Value> = shown
        .iter()
        .map(|row| serde_json::from_str(row[3].as_deref().expect("a type")).expect("JSON"))
        .collect();
    assert_eq!(
        (&types[0]["type"], &types[0]["nullable"]),
        (&"DECFLOAT".into(), &false.into())
    );
    assert_eq!(
        (&types[1]["type"], &types[1]["vectorDimension"]),
        (&"VECTOR".into(), &256.into())
    );
    let schema = bench
        .run("SELECT data_type FROM information_schema.columns WHERE table_name = 'T' ORDER BY ordinal_position")
        .await;
    let families: Vec<Option<&str>> = schema.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(
        families,
        [
            Some("DECFLOAT"),
            Some("VECTOR"),
            Some("VECTOR"),
            Some("TIMESTAMP_TZ")
        ]
    );
    let before = bench.run("DESC TABLE t").await;
    let ddl = bench.cell("SELECT GET_DDL('TABLE', 'T')").await;
    bench.run(&ddl).await;
    assert_eq!(bench.run("DESC TABLE t").await, before, "{ddl}");
}

#[tokio::test]
async fn geospatial_types_are_refused_with_what_to_do_instead() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    for sql in [
        "CREATE TABLE t (g GEOGRAPHY)",
        "CREATE TABLE t (g GEOMETRY)",
        "SELECT 'POINT(1 2)'::GEOGRAPHY",
    ] {
        let error = bench.try_run(sql).await.expect_err(sql);
        assert_eq!((error.code, error.sql_state), ("000002", "0A000"), "{sql}");
        assert!(error.message.contains("use VARIANT or VARCHAR"), "{error}");
    }
}

#[tokio::test]
async fn a_timestamp_is_cast_to_text_as_its_output_format_says() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE L (A TIMESTAMP_LTZ)").await;
    bench
        .run("INSERT INTO L VALUES ('2024-02-03 04:05:06 +0100')")
        .await;
    for (statement, wanted) in [
        (
            "SELECT '2024-02-03T04:05:06.7891'::TIMESTAMP_NTZ::VARCHAR",
            "2024-02-03 04:05:06.789",
        ),
        (
            "SELECT TO_VARCHAR('2024-02-03'::TIMESTAMP_NTZ)",
            "2024-02-03 00:00:00.000",
        ),
        ("SELECT A::VARCHAR FROM L", "2024-02-03 03:05:06.000 +0000"),
        (
            "SELECT '2024-02-03T04:05:06Z'::TIMESTAMP_LTZ::VARCHAR",
            "2024-02-03 04:05:06.000 +0000",
        ),
        (
            "SELECT CAST('2024-02-03 04:05:06 +0130'::TIMESTAMP_TZ AS VARCHAR)",
            "2024-02-03 04:05:06.000 +0130",
        ),
        (
            "SELECT LEFT('2024-02-03'::TIMESTAMP_NTZ::VARCHAR, 10)",
            "2024-02-03",
        ),
        ("SELECT '2024-02-03'::DATE::VARCHAR", "2024-02-03"),
        ("SELECT NULL::TIMESTAMP_NTZ::VARCHAR IS NULL", "true"),
    ] {
        assert_eq!(bench.cell(statement).await, wanted, "{statement}");
    }
    bench
        .run("CREATE TABLE S (A VARCHAR, B VARCHAR, C VARCHAR)")
        .await;
    bench
        .run("INSERT INTO S SELECT A::TIMESTAMP_NTZ, A, A::TIMESTAMP_TZ FROM L")
        .await;
    let inserted = bench.run("SELECT * FROM S").await;
    let zoned = Some("2024-02-03 03:05:06.000 +0000".to_owned());
    let expected = [Some("2024-02-03 03:05:06.000".to_owned()), zoned.clone(), zoned];
    assert_eq!(inserted, [expected]);
}
