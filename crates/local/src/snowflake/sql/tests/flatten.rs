//! FLATTEN.

use super::*;

async fn rows(bench: &mut Bench, sql: &str) -> Vec<String> {
    let rows = bench.run(sql).await.into_iter();
    rows.map(|row| {
        let cells: Vec<String> = row
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "NULL".to_owned()))
            .collect();
        cells.join(" ")
    })
    .collect()
}

#[tokio::test]
async fn flatten_opens_arrays_and_objects() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (ID INT, V VARIANT, A ARRAY)").await;
    bench.load("T", r#"{"id":1,"v":{"commits":[{"sha":"a","n":1,"tags":["x","y"]},{"sha":"b","n":2,"tags":[]}],"who":{"name":"ada","age":36}},"a":[1,2]}
{"id":2,"v":{"commits":[]},"a":[]}
{"id":3,"v":null}"#);
    for (sql, expected) in [
        (
            "SELECT t.id, f.index, f.value:sha::VARCHAR, f.path FROM t, LATERAL FLATTEN(input => t.v:commits) f ORDER BY 1, 2",
            &["1 0 a [0]", "1 1 b [1]"][..],
        ),
        (
            "SELECT id, value:n + 1 FROM t, LATERAL FLATTEN(v:commits) ORDER BY index DESC",
            &["1 3", "1 2"],
        ),
        (
            "SELECT id, key, value FROM t, TABLE(FLATTEN(input => v, path => 'who')) AS x WHERE key <> 'age'",
            &["1 name \"ada\""],
        ),
        (
            "SELECT t.id, f.value FROM t, LATERAL FLATTEN(input => t.a, outer => TRUE) f ORDER BY 1, 2",
            &["1 1", "1 2", "2 NULL", "3 NULL"],
        ),
        (
            "SELECT t.id, f.value FROM t LEFT JOIN LATERAL FLATTEN(input => t.a) f ON TRUE WHERE t.id < 3 ORDER BY 1, 2",
            &["1 1", "1 2", "2 NULL"],
        ),
        (
            "SELECT c.value:sha::VARCHAR, g.value::VARCHAR FROM t, LATERAL FLATTEN(input => t.v:commits) c,
             LATERAL FLATTEN(input => c.value:tags) g ORDER BY g.index",
            &["a x", "a y"],
        ),
        (
            "SELECT f.path, TYPEOF(f.value) FROM t, LATERAL FLATTEN(input => t.v:who, recursive => TRUE, mode => 'OBJECT') f
             ORDER BY f.path",
            &["age INTEGER", "name VARCHAR"],
        ),
        (
            "SELECT path FROM t, LATERAL FLATTEN(input => t.v, recursive => TRUE) WHERE id = 1 AND path LIKE '%tags%' ORDER BY path",
            &["commits[0].tags", "commits[0].tags[0]", "commits[0].tags[1]", "commits[1].tags"],
        ),
        (
            "SELECT f.value:sha::VARCHAR, COUNT(*) FROM t JOIN (SELECT 1 AS k) u ON u.k = t.id, LATERAL FLATTEN(input => t.v:commits) f
             GROUP BY 1 HAVING COUNT(*) = 1 ORDER BY f.value:sha::VARCHAR",
            &["a 1", "b 1"],
        ),
        ("SELECT value, this FROM TABLE(FLATTEN(input => PARSE_JSON('[7]')))", &["7 [7]"]),
        (
            "WITH c AS (SELECT f.value AS commit FROM t, LATERAL FLATTEN(input => t.v:commits) f) SELECT SUM(commit:n) FROM c",
            &["3"],
        ),
        (
            "SELECT COUNT(*) FROM t WHERE EXISTS (SELECT 1 FROM (SELECT 5 AS z), LATERAL FLATTEN(input => PARSE_JSON('[1]')) f)",
            &["3"],
        ),
        ("SELECT COUNT(DISTINCT f.seq) FROM t, LATERAL FLATTEN(input => t.a, outer => TRUE) f", &["3"]),
    ] {
        assert_eq!(rows(&mut bench, sql).await, expected, "{sql}");
    }
    let sql = "SELECT t.id, f.* FROM t, LATERAL FLATTEN(input => t.a) f";
    let result = bench.try_run(sql).await.expect(sql);
    let columns: Vec<(&str, &str)> = result
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind))
        .collect();
    assert_eq!(
        columns,
        [
            ("ID", "fixed"),
            ("SEQ", "fixed"),
            ("KEY", "text"),
            ("PATH", "text"),
            ("INDEX", "fixed"),
            ("VALUE", "variant"),
            ("THIS", "variant")
        ]
    );
    let sql = "SELECT * FROM TABLE(FLATTEN(input => PARSE_JSON('{\"a\":1}')))";
    assert_eq!(bench.try_run(sql).await.expect(sql).columns.len(), 6);
    for sql in [
        "SELECT * FROM t, LATERAL FLATTEN(outer => TRUE) f",
        "SELECT * FROM t, LATERAL FLATTEN(input => t.a, mode => 'ALL') f",
        "SELECT * FROM t a, t b, LATERAL FLATTEN(input => v) f",
        "SELECT * FROM t RIGHT JOIN LATERAL FLATTEN(input => t.a) f ON TRUE",
    ] {
        assert!(bench.try_run(sql).await.is_err(), "{sql}");
    }
}
