//! `frazil sql`: one statement or a script of them, results as tables or JSON.

use std::path::Path;

use frazil_runtime::exit::Exit;
use frazil_runtime::run::snowflake;
use frazil_snowflake::{Column, Rows, SnowflakeConfig};

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::script;
use crate::target::{self, LocalAddresses};

/// The longest cell of a table.
const WIDEST: usize = 60;

pub(crate) async fn run(args: args::Sql) -> Result<Exit, Failure> {
    let config = match &args.data {
        Some(data) => LocalAddresses::read(data)?.snowflake("FRAZIL", "PUBLIC"),
        None => snowflake(&target::first(target::load(&args.config)?, &args.config)?.destination),
    };
    let shown = |rows: &Rows| output::line(if args.json { json(rows) } else { table(rows) });
    if let Some(file) = &args.file {
        return play(file, config, shown).await;
    }
    let statement = args.statement.unwrap_or_default();
    let answer = target::sql_client(config)?.execute(&statement).await;
    shown(&answer.map_err(target::of_snowflake)?);
    Ok(Exit::Done)
}

/// Runs the statements of a file, each in the role, database and schema that the last USE chose.
async fn play(file: &Path, mut config: SnowflakeConfig, shown: impl Fn(&Rows)) -> Result<Exit, Failure> {
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
    let statements = script::statements(&text);
    if statements.is_empty() {
        let text = format!("{} holds no statement", file.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut client = target::sql_client(config.clone())?;
    for statement in statements {
        let rows = client.execute(&statement.text).await.map_err(|error| {
            let mut failure = target::of_snowflake(error);
            failure.text = format!("{}:{}: {}", file.display(), statement.line, failure.text);
            failure
        })?;
        shown(&rows);
        if let Some(next) = script::used(&statement.text, &config) {
            config = next;
            client = target::sql_client(config.clone())?;
        }
    }
    Ok(Exit::Done)
}

/// The result as text.
pub(crate) fn table(rows: &Rows) -> String {
    let head: Vec<&str> = rows.columns.iter().map(|column| column.name.as_str()).collect();
    let cells: Vec<Vec<String>> = rows
        .rows
        .iter()
        .map(|row| {
            row.iter()
                .zip(&rows.columns)
                .map(|(cell, column)| shown(cell.as_deref(), column))
                .collect()
        })
        .collect();
    let is_number = |column: &Column| matches!(column.kind.as_str(), "fixed" | "real" | "decfloat");
    let numbers = rows
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_number(column));
    let numbers: Vec<usize> = numbers.map(|(index, _)| index).collect();
    format!(
        "{}\n{} row(s)",
        output::table(&head, &cells, &numbers),
        output::count(rows.rows.len() as u64)
    )
}

fn shown(cell: Option<&str>, column: &Column) -> String {
    let Some(cell) = cell else {
        return "NULL".to_owned();
    };
    let text = match column.kind.as_str() {
        "date" => cell.parse().ok().and_then(date),
        "timestamp_ntz" | "timestamp_ltz" => timestamp(cell),
        "timestamp_tz" => zoned(cell),
        _ => None,
    };
    let text = text.unwrap_or_else(|| cell.to_owned());
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

/// Days since 1970 as a date ("days from civil", inverted).
fn date(days: i64) -> Option<String> {
    let shifted = days.checked_add(719_468)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// Seconds since 1970 with a fraction as a moment.
fn timestamp(text: &str) -> Option<String> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // Before 1970 the fraction counts downwards; such a cell is shown as it came.
    let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds >= 0)?;
    let (day, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let fraction: String = fraction.chars().take(3).collect();
    Some(format!(
        "{} {hour:02}:{minute:02}:{second:02}.{fraction:0<3}",
        date(day)?
    ))
}

/// Seconds since 1970 and an offset in minutes, 1440 for UTC, as the offset's clock shows it.
fn zoned(text: &str) -> Option<String> {
    let (moment, offset) = text.split_once(' ')?;
    let offset = offset.parse::<i64>().ok()? - 1440;
    let (seconds, fraction) = moment.split_once('.').unwrap_or((moment, "0"));
    let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds >= 0)?;
    let clock = timestamp(&format!("{}.{fraction}", seconds + offset * 60))?;
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs();
    Some(format!("{clock} {sign}{:02}{:02}", minutes / 60, minutes % 60))
}

/// The result as JSON: numbers, booleans and VARIANT as what they are.
fn json(rows: &Rows) -> String {
    let value = |cell: &Option<String>, column: &Column| match cell {
        None => serde_json::Value::Null,
        Some(text) => match column.kind.as_str() {
            "fixed" | "real" | "boolean" | "variant" | "object" | "array" | "vector" => {
                serde_json::from_str(text).unwrap_or_else(|_| text.clone().into())
            }
            _ => text.clone().into(),
        },
    };
    let object = |row: &Vec<Option<String>>| {
        let pairs = rows
            .columns
            .iter()
            .zip(row)
            .map(|(column, cell)| (column.name.clone(), value(cell, column)));
        serde_json::Value::Object(pairs.collect())
    };
    serde_json::Value::Array(rows.rows.iter().map(object).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shown_as_people_read_them() {
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(20_455).as_deref(), Some("2026-01-02"));
        assert_eq!(date(-1).as_deref(), Some("1969-12-31"));
        assert_eq!(
            timestamp("1767355445.678000000").as_deref(),
            Some("2026-01-02 12:04:05.678")
        );
        assert_eq!(
            zoned("1767355445.678000000 1530").as_deref(),
            Some("2026-01-02 13:34:05.678 +0130")
        );
        assert_eq!(
            zoned("1767355445.678000000 1110").as_deref(),
            Some("2026-01-02 06:34:05.678 -0530")
        );
        let text = Column {
            name: "T".to_owned(),
            kind: "text".to_owned(),
            scale: None,
        };
        assert_eq!(shown(Some(&"ü".repeat(100)), &text).chars().count(), WIDEST);
        assert_eq!(shown(None, &text), "NULL");
    }

    #[test]
    fn json_keeps_numbers_and_variants() {
        let column = |name: &str, kind: &str| Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            scale: None,
        };
        let rows = Rows {
            columns: vec![column("N", "fixed"), column("V", "variant"), column("T", "text")],
            rows: vec![vec![Some("1".to_owned()), Some("{\"a\":[1]}".to_owned()), None]],
        };
        assert_eq!(json(&rows), r#"[{"N":1,"T":null,"V":{"a":[1]}}]"#);
    }
}
