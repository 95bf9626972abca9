//! Statements about programmatic access tokens, security integrations and a user's two keys.

use super::*;
use crate::snowflake::keys;

async fn bench() -> Bench {
    let mut bench = Bench::new();
    for sql in [
        "CREATE USER ADA",
        "CREATE USER BOB",
        "CREATE ROLE R",
        "GRANT ROLE R TO USER ADA",
    ] {
        bench.run(sql).await;
    }
    bench.session.user = "ADA".to_owned();
    bench.session.role = Some("R".to_owned());
    bench
}

#[tokio::test]
async fn tokens_are_made_shown_and_removed() {
    let mut bench = bench().await;
    let made = bench
        .run("ALTER USER ADA ADD PROGRAMMATIC ACCESS TOKEN one ROLE_RESTRICTION = 'R' DAYS_TO_EXPIRY = 30 COMMENT = 'c'")
        .await;
    assert_eq!(made[0][0].as_deref(), Some("ONE"));
    let secret = made[0][1].clone().unwrap();
    assert!(secret.len() > 40, "{secret}");
    assert_ne!(
        bench.run("ALTER USER ADD PAT \"two\"").await[0][1].as_ref(),
        Some(&secret)
    );
    let shown = bench.run("SHOW USER PROGRAMMATIC ACCESS TOKENS").await;
    assert_eq!(shown, bench.run("SHOW USER PATS FOR USER ADA").await);
    let names: Vec<_> = shown.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(names, ["ONE", "two"]);
    let texts = |row: &Vec<Option<String>>| (row[1].clone(), row[2].clone(), row[4].clone(), row[5].clone());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        texts(&shown[0]),
        (some("ADA"), some("R"), some("ACTIVE"), some("c"))
    );
    assert_eq!(texts(&shown[1]), (some("ADA"), None, some("ACTIVE"), None));
    assert!(!format!("{shown:?}").contains(&secret), "told once only");
    let days = |row: &Vec<Option<String>>| {
        let seconds = |at: usize| {
            row[at]
                .as_ref()
                .unwrap()
                .split('.')
                .next()
                .unwrap()
                .parse::<i64>()
                .unwrap()
        };
        (seconds(3) - seconds(6)) / 86_400
    };
    assert_eq!((days(&shown[0]), days(&shown[1])), (30, 15));
    let rotated = bench
        .run("ALTER USER ADA ROTATE PROGRAMMATIC ACCESS TOKEN ONE")
        .await;
    assert_eq!(rotated[0][0].as_deref(), Some("ONE"));
    let shown = bench.run("SHOW USER PATS").await;
    let old = shown.iter().find(|row| row[0] == rotated[0][2]).unwrap();
    assert_eq!(old[9].as_deref(), Some("ONE"));
    bench
        .run("ALTER USER ADA MODIFY PAT ONE SET DISABLED = TRUE")
        .await;
    assert_eq!(
        bench.run("SHOW USER PATS").await[0][4].as_deref(),
        Some("DISABLED")
    );
    bench.run("ALTER USER ADA REMOVE PAT ONE").await;
    bench.run("ALTER USER ADA REMOVE PAT IF EXISTS ONE").await;
    bench.run("ALTER USER ADA ADD PAT IF NOT EXISTS \"two\"").await;
    assert_eq!(bench.run("SHOW USER PATS").await.len(), 2);
    for n in 0..13 {
        bench.run(&format!("ALTER USER ADD PAT N{n}")).await;
    }
    for (sql, code) in [
        ("ALTER USER ADD PAT MORE", "001003"),
        ("ALTER USER ADD PAT \"two\"", "002002"),
        ("ALTER USER REMOVE PAT NONE", "002003"),
        ("ALTER USER ROTATE PAT NONE", "002003"),
        // Another user's.
        ("ALTER USER BOB ADD PAT X", "003001"),
        ("SHOW USER PATS FOR USER BOB", "003001"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
    bench.session.role = Some("USERADMIN".to_owned());
    bench.session.user = String::new();
    bench.run("ALTER USER BOB ADD PAT X").await;
    assert_eq!(bench.run("SHOW USER PATS FOR USER BOB").await.len(), 1);
    for (sql, code) in [
        ("ALTER USER BOB ADD PAT Y ROLE_RESTRICTION = 'R'", "002003"),
        ("ALTER USER BOB ADD PAT Y DAYS_TO_EXPIRY = 0", "001003"),
        ("ALTER USER BOB ADD PAT Y DAYS_TO_EXPIRY = 366", "001003"),
        ("ALTER USER BOB ADD PAT Y DAYS_TO_EXPIRY", "001003"),
        ("ALTER USER BOB ADD PAT", "001003"),
        ("ALTER USER NOBODY ADD PAT Y", "002003"),
        ("SHOW USER PATS FOR USER NOBODY", "002003"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
    bench.run("ALTER USER IF EXISTS NOBODY ADD PAT Y").await;
    bench.run("DROP USER BOB").await;
    assert!(bench.engine.catalog.tokens("BOB").unwrap().is_empty());
}

#[tokio::test]
async fn integrations_are_made_shown_and_dropped() {
    let mut bench = bench().await;
    let create = "CREATE SECURITY INTEGRATION I TYPE = OAUTH OAUTH_CLIENT = CUSTOM ENABLED = TRUE";
    assert_eq!(bench.code(create).await, "003001");
    bench.session.role = Some("ACCOUNTADMIN".to_owned());
    bench.session.user = String::new();
    bench.run(create).await;
    assert_eq!(bench.code(create).await, "002002");
    bench
        .run("CREATE SECURITY INTEGRATION IF NOT EXISTS I TYPE = OAUTH OAUTH_CLIENT = CUSTOM")
        .await;
    bench
        .run("CREATE SECURITY INTEGRATION X TYPE = EXTERNAL_OAUTH ENABLED = FALSE EXTERNAL_OAUTH_ISSUER = 'i' COMMENT = 'c'")
        .await;
    let shown = bench.run("SHOW SECURITY INTEGRATIONS").await;
    let kinds: Vec<_> = shown
        .iter()
        .map(|row| (row[1].as_deref(), row[3].as_deref()))
        .collect();
    let expected = [
        (Some("OAUTH - CUSTOM"), Some("true")),
        (Some("EXTERNAL_OAUTH - CUSTOM"), Some("false")),
    ];
    assert_eq!(kinds, expected);
    let secrets = bench.cell("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('I')").await;
    bench
        .run("ALTER SECURITY INTEGRATION I SET ENABLED = FALSE")
        .await;
    assert_eq!(
        secrets,
        bench.cell("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('I')").await
    );
    for (sql, code) in [
        ("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('X')", "002003"),
        ("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('NONE')", "002003"),
        ("CREATE SECURITY INTEGRATION Y TYPE = SAML2", "000002"),
        ("CREATE SECURITY INTEGRATION Y TYPE = EXTERNAL_OAUTH", "001003"),
        (
            "CREATE SECURITY INTEGRATION Y TYPE = OAUTH OAUTH_CLIENT = TABLEAU_DESKTOP",
            "000002",
        ),
        ("ALTER SECURITY INTEGRATION NONE SET ENABLED = TRUE", "002003"),
        ("DROP INTEGRATION NONE", "002003"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
    bench.run("DROP INTEGRATION I").await;
    bench.run("DROP SECURITY INTEGRATION IF EXISTS I").await;
    assert_eq!(bench.run("SHOW INTEGRATIONS").await.len(), 1);
    bench.session.role = Some("R".to_owned());
    assert_eq!(
        bench.code("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('X')").await,
        "003001"
    );
}

#[tokio::test]
async fn a_user_has_two_keys_which_are_told_apart() {
    let mut bench = bench().await;
    bench.session.role = Some("USERADMIN".to_owned());
    bench.session.user = String::new();
    let (_, public) = keys::generate().unwrap();
    let pem = keys::pem("PUBLIC KEY", &public);
    bench
        .run(&format!("ALTER USER ADA SET RSA_PUBLIC_KEY_2 = '{pem}'"))
        .await;
    let told = bench.run("DESC USER ADA").await;
    let of = |name: &str| told.iter().find(|row| row[0].as_deref() == Some(name)).unwrap()[1].clone();
    assert_eq!(of("RSA_PUBLIC_KEY_FP"), None);
    assert_eq!(of("RSA_PUBLIC_KEY_2_FP"), Some(keys::fingerprint(&public)));
}
