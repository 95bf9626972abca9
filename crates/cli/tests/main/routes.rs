//! One stream into several tables, as processes: set up as printed, checked, killed on its way, and routed anew.

use std::path::Path;

use serde_json::{Value, json};

use crate::connector::Worker;
use crate::{Local, frazil, told};

const EVENTS: u64 = 3000;

/// Routes by `type`, to be put in place of the only table.
fn routed(clicks: &str, orders: &str) -> String {
    format!(
        "role: CONNECTOR
      table: T
      routes:
        key: type
        to:
          - {{table: CLICKS, values: [{clicks}]}}
          - {{table: ORDERS, values: [{orders}]}}
    lease_timeout: 10s"
    )
}

fn output(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = frazil()
        .args(arguments)
        .arg("-c")
        .arg(config)
        .output()
        .expect("it runs");
    (output.status.code(), told(&output))
}

#[test]
fn rows_go_to_the_table_of_their_kind_once_whatever_is_killed_and_however_routes_change() {
    let local = Local::start();
    let data = local.folder.path().join("data");
    let sql = |statement: &str| -> Value {
        let asked = frazil()
            .args(["sql", "--json", "--data"])
            .arg(&data)
            .arg(statement)
            .output();
        let asked = asked.expect("it runs");
        assert_eq!(asked.status.code(), Some(0), "{}", told(&asked));
        serde_json::from_slice(&asked.stdout).expect("JSON")
    };
    let config = local.configuration("table: T", &routed("click", "order, refund"));
    let (code, missing) = output(&["check"], &config);
    assert_ne!(code, Some(0), "two tables are not there: {missing}");
    let (code, script) = output(&["setup", "snowflake", "table"], &config);
    assert_eq!(code, Some(0), "{script}");
    assert_eq!(script.matches("CREATE TABLE").count(), 3, "{script}");
    local.play(&script);
    let tables = ["T", "CLICKS", "ORDERS"];
    let may_read = tables.map(|table| format!("GRANT SELECT ON TABLE D.PUBLIC.{table} TO ROLE CONNECTOR;"));
    local.play(&may_read.join("\n"));
    let (code, checked) = output(&["check"], &config);
    assert_eq!(code, Some(0), "{checked}");
    for table in tables {
        assert!(checked.contains(&format!("D.PUBLIC.{table}")), "{checked}");
    }

    let events = local.folder.path().join("events");
    let receipts = local.folder.path().join("receipts");
    let send = |numbers: std::ops::Range<u64>| {
        let kinds = ["click", "order", "refund", "visit"];
        let lines = numbers.map(|n| match n % 5 {
            4 => format!("{{\"n\":{n}}}"),
            kind => format!("{{\"type\":\"{}\",\"n\":{n}}}", kinds[kind as usize]),
        });
        std::fs::write(&events, lines.collect::<Vec<_>>().join("\n")).expect("written");
        let sent = frazil()
            .arg("send")
            .arg(&events)
            .args(["--stream", "clicks", "--local"])
            .arg(local.addresses["kinesisUrl"].as_str().expect("an address"))
            .arg("--receipts")
            .arg(&receipts)
            .output()
            .expect("it runs");
        assert_eq!(sent.status.code(), Some(0), "{}", told(&sent));
        std::fs::read_to_string(&receipts).expect("receipts")
    };
    let mut of_all = send(0..EVENTS / 2);
    let worker = Worker::start(&config);
    worker.until(|lines| lines.last().is_some_and(|line| line.contains("SpanCommitted")));
    // Killed with rows on their way to three tables, and no position remembered.
    of_all.push_str(&send(EVENTS / 2..EVENTS));
    worker.until(|lines| lines.last().is_some_and(|line| line.contains("BatchAccepted")));
    drop(worker);
    std::fs::write(&receipts, of_all).expect("written");
    let config = local.configuration("table: T", &routed("click, visit", "order"));
    let worker = Worker::start(&config);
    let all = "SELECT COUNT(*) AS C, COUNT(DISTINCT N) AS D FROM (SELECT N FROM D.PUBLIC.T UNION ALL SELECT N FROM \
               D.PUBLIC.CLICKS UNION ALL SELECT N FROM D.PUBLIC.ORDERS)";
    worker.until(|lines| {
        lines
            .last()
            .is_some_and(|line| line.contains("pipe left for another"))
    });
    // The routes of before are settled, and whatever they did not reach goes by the new ones.
    if sql(all)[0]["C"].as_u64() < Some(EVENTS) {
        worker.until(|lines| {
            let last = lines.last().is_some_and(|line| line.contains("SpanCommitted"));
            last && sql(all)[0]["C"].as_u64() >= Some(EVENTS)
        });
    }
    assert_eq!(sql(all), json!([{ "C": EVENTS, "D": EVENTS }]));
    let (code, verdict) = output(&["verify", receipts.to_str().expect("UTF-8")], &config);
    assert_eq!(code, Some(0), "{verdict}");
    // What no route ever took is in the table for all others, and the rest in its own.
    let strays = "SELECT (SELECT COUNT(*) FROM D.PUBLIC.T WHERE TYPE IN ('click', 'order')) + \
                  (SELECT COUNT(*) FROM D.PUBLIC.CLICKS WHERE TYPE NOT IN ('click', 'visit')) + \
                  (SELECT COUNT(*) FROM D.PUBLIC.ORDERS WHERE TYPE NOT IN ('order', 'refund')) AS C";
    assert_eq!(sql(strays), json!([{ "C": 0 }]));
    // And now by the new routes.
    std::fs::write(
        &events,
        "{\"type\":\"visit\",\"n\":-1}\n{\"type\":\"refund\",\"n\":-2}\n",
    )
    .expect("written");
    local.send(&events);
    worker.until(|lines| {
        let last = lines.last().is_some_and(|line| line.contains("SpanCommitted"));
        last && sql(all)[0]["C"].as_u64() >= Some(EVENTS + 2)
    });
    let place = "SELECT (SELECT COUNT(*) FROM D.PUBLIC.CLICKS WHERE N = -1) AS A, \
                 (SELECT COUNT(*) FROM D.PUBLIC.T WHERE N = -2) AS B";
    assert_eq!(sql(place), json!([{ "A": 1, "B": 1 }]));
}
