//! Answers of the service that its documents and the tests of its clients tell differently: which one is given here.
//!
//! Each question has a name and two answers, of which the first is given unless the other one is asked for. The questions are
//! those for which both answers are documented by Snowflake, or shown by the tests of its own clients; `docs/local.md` names the
//! sources. All but the last three are about JSON that goes into columns by name, not about casts in SQL.

use crate::{Error, Result};

/// The answer that is not given unless it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// A text `YYYY-MM-DD` makes a DATE column.
    DateOfText,
    /// An array makes an ARRAY column.
    ArrayOfArray,
    /// BOOLEAN takes numbers; 0 is false.
    BooleanOfNumber,
    /// TIME takes an offset, and drops it.
    TimeWithOffset,
    /// A number for TIMESTAMP_NTZ is a moment, whose clock in Los Angeles is stored.
    LosAngeles,
    /// A null for VARIANT is NULL.
    NullOfNull,
    /// Of a key that stands twice the last value counts.
    LastTwin,
    /// Interactive tables get no columns.
    NoInteractiveEvolution,
    /// Iceberg tables get no columns.
    NoIcebergEvolution,
    /// CURRENT_TIMESTAMP in a pipe is that of its making.
    TimeOfMaking,
}

struct Switch {
    name: &'static str,
    /// The default, and the other one.
    values: [&'static str; 2],
    other: Other,
}

const fn switch(name: &'static str, values: [&'static str; 2], other: Other) -> Switch {
    Switch { name, values, other }
}

const SWITCHES: [Switch; 10] = [
    switch("column_from_date_text", ["varchar", "date"], Other::DateOfText),
    switch("column_from_array", ["variant", "array"], Other::ArrayOfArray),
    switch(
        "boolean_from_number",
        ["refuse", "accept"],
        Other::BooleanOfNumber,
    ),
    switch("time_with_offset", ["refuse", "accept"], Other::TimeWithOffset),
    switch("ntz_from_number", ["utc", "los_angeles"], Other::LosAngeles),
    switch("variant_from_null", ["json_null", "sql_null"], Other::NullOfNull),
    switch("duplicate_keys", ["refuse", "last"], Other::LastTwin),
    switch(
        "interactive_evolution",
        ["allow", "ignore"],
        Other::NoInteractiveEvolution,
    ),
    switch(
        "iceberg_evolution",
        ["allow", "ignore"],
        Other::NoIcebergEvolution,
    ),
    switch(
        "pipe_current_timestamp",
        ["commit", "creation"],
        Other::TimeOfMaking,
    ),
];

/// The answers that are given; the default ones unless [`Behaviours::set`] changed some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviours(u16);

impl Behaviours {
    /// Chooses an answer: `name=value`.
    ///
    /// # Errors
    /// [`Error::Behaviour`] with all known names and values if this is none of them.
    pub fn set(&mut self, choice: &str) -> Result<()> {
        let chosen = choice.split_once('=').and_then(|(name, value)| {
            let switch = SWITCHES.iter().find(|switch| switch.name == name.trim())?;
            let place = switch.values.iter().position(|known| *known == value.trim())?;
            Some((switch.other, place == 1))
        });
        let Some((other, is_other)) = chosen else {
            return Err(Error::Behaviour {
                choice: choice.to_owned(),
                known: Self::known(),
            });
        };
        self.0 &= !other.bit();
        if is_other {
            self.0 |= other.bit();
        }
        Ok(())
    }

    /// All names with their values, the default first: one a line, `name=value|value`.
    #[must_use]
    pub fn known() -> String {
        let lines = SWITCHES
            .iter()
            .map(|switch| format!("{}={}", switch.name, switch.values.join("|")));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The choices that differ from the default, as [`Behaviours::set`] takes them.
    #[must_use]
    pub fn chosen(self) -> Vec<String> {
        let chosen = SWITCHES.iter().filter(|switch| self.has(switch.other));
        chosen
            .map(|switch| format!("{}={}", switch.name, switch.values[1]))
            .collect()
    }

    pub(crate) fn has(self, other: Other) -> bool {
        self.0 & other.bit() != 0
    }
}

impl Other {
    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The defaults but for this.
#[cfg(test)]
pub(crate) fn with(choice: &str) -> Behaviours {
    let mut behaviours = Behaviours::default();
    behaviours.set(choice).expect("a known choice");
    behaviours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_can_be_made_and_taken_back() {
        for switch in SWITCHES {
            let [default, other] = switch.values.map(|value| format!("{}={value}", switch.name));
            let mut behaviours = Behaviours::default();
            behaviours.set(&other).unwrap();
            assert_eq!(behaviours.chosen(), [other]);
            let has = SWITCHES
                .iter()
                .filter(|switch| behaviours.has(switch.other))
                .count();
            assert_eq!(has, 1, "{}", switch.name);
            behaviours.set(&default).unwrap();
            assert_eq!(behaviours, Behaviours::default());
        }
    }

    #[test]
    fn an_unknown_name_or_value_is_refused_with_the_known_ones() {
        let unknown = [
            "",
            "duplicate_keys",
            "duplicate_keys=first",
            "twins=last",
            "=",
            "=",
        ];
        for choice in unknown {
            let mut behaviours = Behaviours::default();
            let error = behaviours.set(choice).unwrap_err().to_string();
            assert!(error.contains("duplicate_keys=refuse|last"), "{error}");
            assert!(error.contains("iceberg_evolution=allow|ignore"), "{error}");
            assert_eq!(behaviours, Behaviours::default());
        }
    }
}
