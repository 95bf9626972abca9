//! Findings as people read them, and as programs do.

use std::collections::BTreeSet;
use std::path::Path;

use super::finding::{Finding, Group, Repair, Stage, State, policy_statement};
use crate::output;

/// A JSON array of findings.
pub(super) fn json(findings: &[Finding]) -> String {
    serde_json::to_string_pretty(findings).expect("texts are always JSON")
}

/// One line each, by connector and group; then what repairs them, in an order that can be pasted.
pub(super) fn text(findings: &[Finding], file: &Path) -> String {
    let mut lines = Vec::new();
    let mut stood: Option<(&str, Group)> = None;
    for finding in findings {
        let here = (finding.connector.as_str(), finding.group);
        if stood.map(|(connector, _)| connector) != Some(here.0) && !here.0.is_empty() {
            lines.push(format!("connector {}", here.0));
        }
        if stood != Some(here) {
            lines.push(head(finding.group).to_owned());
        }
        stood = Some(here);
        let Finding { id, what, place, .. } = finding;
        let state = finding.state.as_str();
        lines.push(format!("  {state:<10}  {id:<30}  {place}: {what}"));
    }
    lines.extend(repairs(findings, file));
    let of = |(state, says): (State, &str)| {
        let count = findings.iter().filter(|finding| finding.state == state).count();
        format!("{} {says}", output::count(count as u64))
    };
    let states = [
        (State::Proved, "proved"),
        (State::Refused, "refused"),
        (State::Warning, "warnings"),
        (State::Unknowable, "unknowable"),
    ];
    lines.push(String::new());
    lines.push(states.map(of).join(", "));
    lines.join("\n")
}

fn head(group: Group) -> &'static str {
    match group {
        Group::Configuration => "configuration",
        Group::Aws => "AWS",
        Group::Leases => "leases",
        Group::Snowflake => "Snowflake",
    }
}

/// Each repair once: the configuration, then AWS, then Snowflake, then what a person does.
fn repairs(findings: &[Finding], file: &Path) -> Vec<String> {
    let of: Vec<(&Finding, &Repair)> = findings
        .iter()
        .flat_map(|finding| finding.repair.iter().map(move |repair| (finding, repair)))
        .collect();
    let mut lines = Vec::new();
    let keys = of.iter().filter_map(|(finding, repair)| match repair {
        Repair::Configuration { key, value } => {
            let connector = &finding.connector;
            Some(format!(
                "# {}, connector {connector}\n{key}: {value}",
                file.display()
            ))
        }
        _ => None,
    });
    block(&mut lines, "the configuration", once(keys));
    block(
        &mut lines,
        "IAM policy of the connector's credentials",
        policy(&of),
    );
    let commands = of.iter().filter_map(|(_, repair)| match repair {
        Repair::Shell(text) => Some(text.clone()),
        _ => None,
    });
    block(&mut lines, "commands", once(commands));
    block(
        &mut lines,
        "SQL, by ACCOUNTADMIN or by the roles that own the objects",
        statements(&of),
    );
    let steps = of.iter().filter_map(|(_, repair)| match repair {
        Repair::Step(text) => Some(format!("- {text}")),
        _ => None,
    });
    block(&mut lines, "to do", once(steps));
    lines
}

fn block(lines: &mut Vec<String>, title: &str, block: Vec<String>) {
    if block.is_empty() {
        return;
    }
    lines.push(format!("\n-- {title}"));
    lines.extend(block);
}

fn once(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    texts.filter(|text| known.insert(text.clone())).collect()
}

fn statements(of: &[(&Finding, &Repair)]) -> Vec<String> {
    let mut staged: Vec<(Stage, &String)> = of
        .iter()
        .filter_map(|(_, repair)| match repair {
            Repair::Sql(stage, text) => Some((*stage, text)),
            _ => None,
        })
        .collect();
    // Stable: what came first stays first within its stage.
    staged.sort_by_key(|(stage, _)| *stage);
    once(staged.into_iter().map(|(_, text)| format!("{text};")))
}

fn policy(of: &[(&Finding, &Repair)]) -> Vec<String> {
    let mut by_resource: Vec<(&str, Vec<&str>)> = Vec::new();
    for (_, repair) in of {
        let Repair::Policy { action, resource } = repair else {
            continue;
        };
        let known = by_resource.iter().position(|(known, _)| *known == resource);
        let place = known.unwrap_or_else(|| {
            by_resource.push((resource, Vec::new()));
            by_resource.len() - 1
        });
        let actions = &mut by_resource[place].1;
        if !actions.contains(&action.as_str()) {
            actions.push(action);
        }
    }
    if by_resource.is_empty() {
        return Vec::new();
    }
    let statements: Vec<serde_json::Value> = by_resource
        .iter()
        .map(|(resource, actions)| policy_statement(actions, resource))
        .collect();
    let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": statements });
    vec![serde_json::to_string_pretty(&policy).expect("texts are always JSON")]
}

#[cfg(test)]
mod tests {
    use frazil_runtime::exit::Exit;

    use super::super::finding::Book;
    use super::*;

    fn sql(stage: Stage, text: &str) -> Repair {
        Repair::Sql(stage, text.to_owned())
    }

    fn action(action: &str, resource: &str) -> Repair {
        Repair::Policy {
            action: action.to_owned(),
            resource: resource.to_owned(),
        }
    }

    #[test]
    fn repairs_come_once_and_in_an_order_that_can_be_pasted() {
        let mut book = Book::new("one");
        book.proved("configuration", "frazil.yaml", "it can be used");
        book.enter(Group::Snowflake);
        let repair = vec![sql(Stage::Alter, "ALTER T"), sql(Stage::Grant, "GRANT A")];
        book.refused(Exit::Missing, "x", "T", "why", repair);
        let repair = vec![sql(Stage::Table, "CREATE T"), sql(Stage::Grant, "GRANT A")];
        book.warning("y", "T", "why", repair);
        let repair = vec![
            action("kinesis:B", "s"),
            action("kinesis:A", "s"),
            action("kinesis:B", "s"),
        ];
        book.refused(Exit::Unauthorized, "z", "T", "why", repair);
        let findings = book.into_findings();
        let told = text(&findings, Path::new("frazil.yaml"));
        let place = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
        assert!(place("CREATE T;") < place("GRANT A;") && place("GRANT A;") < place("ALTER T;"));
        assert_eq!(told.matches("GRANT A;").count(), 1);
        assert_eq!(told.matches("\"kinesis:B\"").count(), 1);
        assert!(told.contains("connector one\nconfiguration\n  proved "), "{told}");
        assert!(
            told.ends_with("1 proved, 2 refused, 1 warnings, 0 unknowable"),
            "{told}"
        );
        assert_eq!(
            super::super::finding::exit(&findings),
            Exit::Missing,
            "the first of the worst"
        );
        let parsed: serde_json::Value = serde_json::from_str(&json(&findings)).expect("JSON");
        let first = &parsed[1];
        assert_eq!(
            (
                first["id"].as_str(),
                first["state"].as_str(),
                first["where"].as_str()
            ),
            (Some("x"), Some("refused"), Some("T"))
        );
        assert_eq!(first["repair"][0]["text"], "ALTER T;");
    }
}
