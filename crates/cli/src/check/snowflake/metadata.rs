//! The column of the metadata: whether there is one, and whether it takes what a record carries.
//!
//! Source: Snowflake documentation, "Structured data types": a value is cast to OBJECT(...) if it has each key of the type, in its
//! case, and no other. "Set up the Openflow Connector for Kinesis" makes the column with `approximateArrival` as a number.

use frazil_runtime::config::ArrivalFormat;
use frazil_runtime::exit::Exit;
use frazil_snowflake::probe::{ShownColumn, TableKind, quoted};

use super::Look;
use super::table::alter;
use crate::check::finding::Repair;

const ARRIVAL: &str = "approximateArrival";
/// The keys of the metadata, and whether their values have more digits than a number takes.
const KEYS: [(&str, bool); 7] = [
    ("stream", false),
    ("shardId", false),
    (ARRIVAL, false),
    ("partitionKey", false),
    ("sequenceNumber", true),
    ("subSequenceNumber", false),
    ("shardedSequenceNumber", true),
];

/// Whether a value of this type can hold an object; text holds it as JSON.
fn holds_an_object(kind: &str) -> bool {
    ["OBJECT", "VARIANT", "VARCHAR", "STRING", "TEXT", "MAP"]
        .iter()
        .any(|good| kind.to_uppercase().starts_with(good))
}

/// The keys of `OBJECT(...)` and their types; none where the type is another.
fn parts(kind: &str) -> Option<Vec<(String, String)>> {
    let head = kind
        .get(..7)
        .filter(|head| head.eq_ignore_ascii_case("OBJECT("))?;
    let within = kind[head.len()..].strip_suffix(')')?;
    let mut depth = 0_usize;
    let pieces = within.split(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    pieces
        .map(|piece| {
            let (name, kind) = piece.trim().split_once(' ')?;
            Some((name.trim_matches('"').to_owned(), kind.trim().to_uppercase()))
        })
        .collect()
}

fn is_number(kind: &str) -> bool {
    ["NUMBER", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE", "LONG"]
        .iter()
        .any(|number| kind.starts_with(number))
}

/// Why a structured type does not take the metadata, and what repairs it.
fn misfit(parts: &[(String, String)], arrival: ArrivalFormat) -> Option<(String, Repair)> {
    let lacks = KEYS
        .iter()
        .find(|(key, _)| !parts.iter().any(|(name, _)| name == key));
    let more = parts
        .iter()
        .find(|(name, _)| !KEYS.iter().any(|(key, _)| name == key));
    let long = KEYS.iter().filter(|(_, long)| *long).find(|(key, _)| {
        let of_key = parts.iter().find(|(name, _)| name == key);
        of_key.is_some_and(|(_, kind)| is_number(kind))
    });
    let why = match (lacks, more, long) {
        (Some((key, _)), ..) => Some(format!("its type lacks the key {key}")),
        (_, Some((name, _)), _) => Some(format!("its type has the key {name}, which the metadata has not")),
        (.., Some((key, _))) => Some(format!("{key} has more digits than a number takes")),
        _ => None,
    };
    if let Some(why) = why {
        let step = "make the column OBJECT, or OBJECT(stream STRING, shardId STRING, approximateArrival STRING, partitionKey \
                    STRING, sequenceNumber STRING, subSequenceNumber INTEGER, shardedSequenceNumber STRING)";
        return Some((why, Repair::Step(step.to_owned())));
    }
    let of_arrival = parts.iter().find(|(name, _)| name == ARRIVAL);
    let is_number = of_arrival.is_some_and(|(_, kind)| is_number(kind));
    (is_number && arrival == ArrivalFormat::Iso8601).then(|| {
        let repair = Repair::Configuration {
            key: "metadata.approximate_arrival",
            value: "epoch_ms".to_owned(),
        };
        (
            format!("its {ARRIVAL} is a number, and the metadata's is text"),
            repair,
        )
    })
}

impl Look<'_> {
    /// Says where the metadata goes. Keys go to the columns of their names here.
    pub(super) fn metadata(
        &mut self,
        names: &[&str],
        place: &str,
        columns: &[ShownColumn],
        evolves: bool,
        kind: &TableKind,
    ) {
        let (id, key) = ("snowflake.metadata", self.connector.metadata.key.clone());
        let column = columns
            .iter()
            .find(|column| column.name.to_uppercase() == key.to_uppercase());
        let Some(column) = column else {
            return match evolves {
                true => {
                    let what = format!("{key} gets a column with the first row");
                    self.book.proved(id, place, &what);
                }
                false => {
                    let what =
                        format!("there is no column for {key}: rows do not tell which record they come from");
                    let of = if *kind == TableKind::Iceberg {
                        "STRING"
                    } else {
                        "OBJECT"
                    };
                    let change = format!("ADD COLUMN {} {of}", quoted(&key.to_uppercase()));
                    self.book
                        .warning(id, place, &what, vec![alter(kind, names, &change)]);
                }
            };
        };
        if !holds_an_object(&column.kind) {
            let what = format!(
                "{} is {}, and {key} is an object: no row would fit",
                column.name, column.kind
            );
            let value = format!("{key}Of");
            let key = "metadata.key";
            let repair = vec![Repair::Configuration { key, value }];
            return self.book.refused(Exit::Usage, id, place, &what, repair);
        }
        let arrival = self.connector.metadata.approximate_arrival;
        match parts(&column.kind).and_then(|parts| misfit(&parts, arrival)) {
            Some((why, repair)) => {
                let what = format!("column {}: {why}: no row would fit", column.name);
                self.book.refused(Exit::Usage, id, place, &what, vec![repair]);
            }
            None => {
                let what = format!("{key} goes to column {}", column.name);
                self.book.proved(id, place, &what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "OBJECT(stream VARCHAR(134217728), shardId VARCHAR, approximateArrival VARCHAR, partitionKey VARCHAR, \
                         sequenceNumber VARCHAR, subSequenceNumber NUMBER(38,0), shardedSequenceNumber VARCHAR)";

    fn why(kind: &str, arrival: ArrivalFormat) -> Option<String> {
        let parts = parts(kind).expect("a structured type");
        misfit(&parts, arrival).map(|(why, _)| why)
    }

    #[test]
    fn a_structured_type_takes_the_metadata_whole_or_not_at_all() {
        assert_eq!(why(WHOLE, ArrivalFormat::Iso8601), None);
        assert_eq!(why(WHOLE, ArrivalFormat::EpochMs), None);
        let number = WHOLE.replace("approximateArrival VARCHAR", "approximateArrival NUMBER(19,0)");
        assert_eq!(why(&number, ArrivalFormat::EpochMs), None);
        let cases = [
            (number, "approximateArrival is a number"),
            (WHOLE.replace("shardId", "shardid"), "lacks the key shardId"),
            (
                WHOLE.replace(
                    "stream VARCHAR(134217728)",
                    "stream VARCHAR, \"more\" MAP(VARCHAR, NUMBER(1,0))",
                ),
                "has the key more",
            ),
            (
                WHOLE.replace("sequenceNumber VARCHAR", "sequenceNumber NUMBER(38,0)"),
                "sequenceNumber has more digits",
            ),
        ];
        for (kind, words) in cases {
            let why = why(&kind, ArrivalFormat::Iso8601).unwrap_or_else(|| panic!("{kind}"));
            assert!(why.contains(words), "{kind}: {why}");
        }
        for kind in ["OBJECT", "VARIANT", "VARCHAR(10)", "OBJ"] {
            assert_eq!(parts(kind), None, "{kind}");
        }
    }

    #[test]
    fn types_that_hold_an_object() {
        for (kind, holds) in [
            ("OBJECT", true),
            (WHOLE, true),
            ("VARIANT", true),
            ("VARCHAR(16777216)", true),
            ("NUMBER(38,0)", false),
            ("TIMESTAMP_NTZ(9)", false),
        ] {
            assert_eq!(holds_an_object(kind), holds, "{kind}");
        }
    }
}
