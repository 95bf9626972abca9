//! Broken set-ups against the local stack. Each is named by exactly the right findings, and its own repairs, applied as they are
//! printed, leave none; no check changes anything.

mod aws;
mod bench;
mod cases;
mod snowflake;

/// The fewest broken set-ups that are tried; a list that shrinks is noticed.
const FEWEST: usize = 20;

/// What the page of the verb says of ids: the backquoted words of each table's first column, behind that of states.
fn ids_of_the_page() -> Vec<&'static str> {
    let page = include_str!("../../../../docs/check.md");
    let lines = page
        .split("## Configuration and AWS")
        .nth(1)
        .expect("the tables")
        .lines();
    let cells = lines.filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split(", "))
        .map(|id| id.trim_matches('`'))
        .collect()
}

/// Whether the page describes this id.
fn is_on_the_page(id: &str) -> bool {
    let service = id.split_once(':').map(|(service, _)| format!("{service}:*"));
    ids_of_the_page()
        .iter()
        .any(|known| *known == id || service.as_deref() == Some(known))
}

#[test]
fn the_page_describes_each_id_and_no_other() {
    let sources = concat!(
        include_str!("../check.rs"),
        include_str!("aws.rs"),
        include_str!("channels.rs"),
        include_str!("leases.rs"),
        include_str!("snowflake.rs"),
        include_str!("snowflake/names.rs"),
        include_str!("snowflake/rights.rs"),
        include_str!("snowflake/table.rs"),
        include_str!("snowflake/columns.rs"),
        include_str!("snowflake/metadata.rs"),
        include_str!("snowflake/pipe.rs"),
        include_str!("snowflake/pipes.rs"),
    );
    let quoted = |text: &str| sources.contains(&format!("\"{text}\""));
    let known = ids_of_the_page();
    assert!(known.len() >= 35, "{} ids", known.len());
    for id in known {
        let is_known = match (id.split_once(" ON "), id.strip_suffix(":*")) {
            (Some((privilege, kind)), _) => quoted(privilege) && quoted(kind),
            (None, Some(service)) => sources.contains(&format!("\"{service}:{{action}}\"")),
            (None, None) => quoted(id),
        };
        assert!(is_known, "{id} is not in the code");
    }
    let literals = sources.split('"').skip(1).step_by(2);
    let of_code = literals.filter(|text| {
        ["aws.", "leases.", "snowflake."]
            .iter()
            .any(|area| text.starts_with(area))
            && !text.contains([' ', '{'])
    });
    let mut seen = 0;
    for id in of_code {
        assert!(is_on_the_page(id), "{id} is not on the page");
        seen += 1;
    }
    assert!(seen >= 25, "{seen} ids");
}
