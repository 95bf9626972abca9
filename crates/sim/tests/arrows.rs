//! The arrows between the crates, as the architecture page has them: nothing else may be imported.

use std::collections::BTreeSet;
use std::path::Path;

/// Crate, and what it may use of ours.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("kinesis", &["model"]),
    ("lease", &["model"]),
    ("snowflake", &["model"]),
    ("pipeline", &["kinesis", "lease", "snowflake", "model"]),
    ("runtime", &["pipeline", "kinesis", "lease", "snowflake", "model"]),
    ("local", &[]),
    (
        "cli",
        &[
            "runtime",
            "pipeline",
            "kinesis",
            "lease",
            "snowflake",
            "local",
            "model",
        ],
    ),
    (
        "sim",
        &["pipeline", "kinesis", "lease", "snowflake", "local", "model"],
    ),
];

fn crates_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("crates/sim has a parent")
}

/// The crates of ours that a manifest names as dependencies of any kind.
fn used_by(manifest: &str) -> BTreeSet<String> {
    let lines = manifest.lines().map(str::trim);
    let keys = lines.filter_map(|line| line.strip_prefix("frazil-"));
    let name = |rest: &str| {
        rest.chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect::<String>()
    };
    keys.map(name).collect()
}

#[test]
fn each_crate_uses_only_what_its_arrows_allow() {
    let mut seen = BTreeSet::new();
    let mut arrows = 0;
    for folder in std::fs::read_dir(crates_folder()).expect("crates/ is readable") {
        let folder = folder.expect("an entry of crates/");
        let name = folder.file_name().into_string().expect("crate names are ASCII");
        let allowed = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("crates/{name} has no place in the architecture"));
        let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml")).expect("a manifest");
        for used in used_by(&manifest) {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} -> {used} is no arrow of the architecture"
            );
            arrows += 1;
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), ALLOWED.len(), "a crate is missing: {seen:?}");
    assert!(
        arrows >= 15,
        "only {arrows} arrows were found; the check reads the manifests wrongly"
    );
}

#[test]
fn a_wrong_arrow_is_seen() {
    let used =
        used_by("[dependencies]\nfrazil-local.workspace = true\nfrazil-model = { path = \"../model\" }\n");
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["local", "model"]);
}
