//! Functions of dates and times.

use super::*;

#[tokio::test]
async fn functions_of_dates_and_times_give_what_the_documentation_shows() {
    let mut bench = Bench::new();
    let ts = "'2024-02-29 13:45:30.987654321'::TIMESTAMP_NTZ";
    let tz = "'2024-03-01 01:30:00 +0200'::TIMESTAMP_TZ";
    let cases = [
        (format!("DATE_TRUNC('month', {ts})"), "1706745600.000000000"),
        (format!("DATE_TRUNC(quarter, {ts})"), "1704067200.000000000"),
        (format!("DATE_TRUNC('week', {ts})"), "1708905600.000000000"),
        (format!("DATE_TRUNC('ms', {ts})"), "1709214330.987000000"),
        (format!("TRUNC({ts}, 'day')"), "1709164800.000000000"),
        ("DATE_TRUNC('year', '2024-02-29'::DATE)".to_owned(), "19723"),
        (format!("DATE_TRUNC('day', {tz})"), "1709244000.000000000 1560"),
        ("TRUNC(12.345, 1)".to_owned(), "12.3"),
        (format!("YEAR({ts})"), "2024"),
        (format!("QUARTER({ts})"), "1"),
        (format!("MONTH({tz})"), "3"),
        (format!("DAY({ts})"), "29"),
        (format!("DAYOFWEEK({ts})"), "4"),
        ("DAYOFWEEKISO('2024-03-03'::DATE)".to_owned(), "7"),
        (format!("DAYOFYEAR({ts})"), "60"),
        (format!("WEEK({ts})"), "9"),
        ("YEAROFWEEK('2024-12-30'::DATE)".to_owned(), "2025"),
        (format!("HOUR({tz})"), "1"),
        (format!("MINUTE({ts})"), "45"),
        (format!("SECOND({ts})"), "30"),
        (format!("DATE_PART(nanosecond, {ts})"), "987654321"),
        (format!("DATE_PART('epoch_millisecond', {ts})"), "1709214330987"),
        (format!("DATE_PART(epoch, {tz})"), "1709249400"),
        (format!("DATE_PART(tzh, {tz})"), "2"),
        (format!("EXTRACT(dow FROM {ts})"), "4"),
        ("DATE_PART('hour', '13:45:30'::TIME)".to_owned(), "13"),
        (format!("DATEADD(month, 12, {ts})"), "1740750330.987654321"),
        (format!("DATEADD('hour', -1, {tz})"), "1709245800.000000000 1560"),
        ("DATEADD(day, 1 + 1, '2024-02-28'::DATE)".to_owned(), "19783"),
        (
            "DATEADD(hour, 1, '2024-02-28'::DATE)".to_owned(),
            "1709082000.000000000",
        ),
        ("DATEADD(hour, 11, '13:45:30'::TIME)".to_owned(), "2730.000000000"),
        (
            "TIMESTAMPADD(quarter, 1.4, '2024-01-31'::DATE)".to_owned(),
            "19843",
        ),
        ("ADD_MONTHS('2024-02-29'::DATE, 1)".to_owned(), "19813"),
        (
            "DATEDIFF('year', '2023-12-31'::DATE, '2024-01-01'::DATE)".to_owned(),
            "1",
        ),
        ("DATEDIFF(month, '2024-01-31', '2024-02-01')".to_owned(), "1"),
        (
            "DATEDIFF(week, '2024-03-03'::DATE, '2024-03-04'::DATE)".to_owned(),
            "1",
        ),
        (format!("DATEDIFF(day, {tz}, {ts})"), "-1"),
        (format!("DATEDIFF(hour, {ts}, {tz})"), "10"),
        (
            format!("TIMESTAMPDIFF('ms', {ts}, DATEADD(second, 2, {ts}))"),
            "2000",
        ),
        ("DATEDIFF(minute, '13:00'::TIME, '14:30'::TIME)".to_owned(), "90"),
        (
            "DATEDIFF(year, '0001-01-01'::TIMESTAMP_NTZ, '9999-12-31'::TIMESTAMP_NTZ)".to_owned(),
            "9998",
        ),
        (format!("LAST_DAY({ts})"), "19782"),
        ("LAST_DAY('2024-05-08'::DATE, 'year')".to_owned(), "20088"),
        (format!("DAYNAME({ts}) || ' ' || MONTHNAME({ts})"), "Thu Feb"),
        (
            "YEAR(PARSE_JSON('{\"at\":\"2024-02-29T01:02:03Z\"}'):at)".to_owned(),
            "2024",
        ),
        ("YEAR(NULL)".to_owned(), "NULL"),
        ("DATEDIFF(day, NULL, '2024-01-01'::DATE)".to_owned(), "NULL"),
    ];
    for (expression, expected) in &cases {
        assert_eq!(
            bench.cell(&format!("SELECT {expression}")).await,
            *expected,
            "{expression}"
        );
    }
    assert_eq!(cases.len(), 47);
}

#[tokio::test]
async fn what_is_no_part_and_what_leaves_the_calendar_is_refused() {
    let mut bench = Bench::new();
    for (expression, code, words) in [
        (
            "DATE_TRUNC('fortnight', '2024-01-01'::DATE)",
            "001003",
            "'fortnight' is not a valid",
        ),
        (
            "DATEDIFF(day, '2024-01-01'::DATE)",
            "001003",
            "does not take 2 arguments",
        ),
        ("YEAR('soon')", "100038", "'soon' is not recognized"),
        (
            "DATEADD(year, 9000, '2024-01-01'::DATE)",
            "100038",
            "beyond the years 1 to 9999",
        ),
        (
            "DATEADD(year, 300, '2024-01-01'::TIMESTAMP_NTZ)",
            "100038",
            "TIMESTAMP_NTZ(6)",
        ),
        (
            "DATEADD(dow, 1, '2024-01-01'::DATE)",
            "100038",
            "no part that can be counted",
        ),
    ] {
        let sql = format!("SELECT {expression}");
        let error = bench.try_run(&sql).await.expect_err(&sql);
        assert!(error.message.contains(words), "{sql}: {}", error.message);
        assert_eq!(error.code, code, "{sql}");
    }
}

#[tokio::test]
async fn columns_without_an_alias_are_called_as_they_were_asked_for() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A TIMESTAMP_NTZ, V VARIANT)").await;
    let sql = "SELECT a, a::VARCHAR, v:b.c::NUMBER, 1 + 1, current_user(), 'x' AS y, t.v FROM t ORDER BY a";
    let result = bench.try_run(sql).await.expect(sql);
    let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "A",
            "A::VARCHAR",
            "V:B.C::NUMBER",
            "1 + 1",
            "CURRENT_USER()",
            "Y",
            "V"
        ]
    );
    for sql in [
        "SELECT DISTINCT a::VARCHAR FROM t ORDER BY a::VARCHAR",
        "SELECT COUNT(*) FROM t GROUP BY a ORDER BY COUNT(*) DESC",
        "SELECT a::DATE, COUNT(*) FROM t GROUP BY a::DATE HAVING COUNT(*) > 1 ORDER BY a::DATE",
        "SELECT a::DATE FROM t UNION ALL SELECT a::DATE FROM t ORDER BY 1",
        "SELECT \"MAX(A)\" FROM (SELECT MAX(a) FROM t)",
    ] {
        bench
            .try_run(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
