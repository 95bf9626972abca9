//! Network rules and policies: definitions, what refers to what, privileges, and whom they let in.

use std::net::Ipv4Addr;

use super::*;

async fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE USER ADA").await;
    bench
}

fn texts(rows: &[Vec<Option<String>>]) -> Vec<Vec<&str>> {
    let rows = rows.iter();
    rows.map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect())
        .collect()
}

fn comes_in(bench: &Bench, user: &str) -> bool {
    let catalog = &bench.engine.catalog;
    catalog.lets_in(user, Ipv4Addr::LOCALHOST).expect("readable")
}

#[tokio::test]
async fn rules_policies_and_integrations_are_made_shown_changed_and_dropped() {
    let mut bench = bench().await;
    let made = bench
        .cell(
            "CREATE NETWORK RULE IF NOT EXISTS \"D\".\"PUBLIC\".\"IN\" MODE = INGRESS TYPE = IPV4 VALUE_LIST = \
             ('203.0.113.7', '198.51.100.0/24') COMMENT = 'ours'",
        )
        .await;
    assert_eq!(made, "Network rule IN successfully created.");
    bench
        .run("CREATE NETWORK RULE OUT TYPE = 'HOST_PORT' MODE = 'EGRESS' VALUE_LIST = ('example.com:443', 'example.org')")
        .await;
    let shown = bench.run("SHOW NETWORK RULES IN DATABASE D").await;
    assert_eq!(
        texts(&shown)
            .iter()
            .map(|row| row[1..].to_vec())
            .collect::<Vec<_>>(),
        [
            [
                "IN",
                "D",
                "PUBLIC",
                "ACCOUNTADMIN",
                "ours",
                "IPV4",
                "INGRESS",
                "2",
                "ROLE"
            ],
            [
                "OUT",
                "D",
                "PUBLIC",
                "ACCOUNTADMIN",
                "",
                "HOST_PORT",
                "EGRESS",
                "2",
                "ROLE"
            ],
        ]
    );
    bench
        .run("CREATE NETWORK POLICY P ALLOWED_NETWORK_RULE_LIST = ('\"D\".\"PUBLIC\".\"IN\"') BLOCKED_IP_LIST = ('203.0.113.9')")
        .await;
    bench
        .run("CREATE EXTERNAL ACCESS INTEGRATION IF NOT EXISTS E ALLOWED_NETWORK_RULES = (\"D\".\"PUBLIC\".\"OUT\") ENABLED = TRUE")
        .await;
    bench.run("GRANT USAGE ON INTEGRATION E TO ROLE PUBLIC").await;
    let shown = bench.run("SHOW NETWORK POLICIES").await;
    assert_eq!(texts(&shown)[0][1..], ["P", "", "0", "1", "1", "0"]);
    assert_eq!(
        texts(&bench.run("DESC NETWORK POLICY P").await),
        [
            ["BLOCKED_IP_LIST", "203.0.113.9"],
            ["ALLOWED_NETWORK_RULE_LIST", "D.PUBLIC.IN"]
        ]
    );
    bench
        .run("ALTER NETWORK RULE OUT SET VALUE_LIST = ('example.net:8443')")
        .await;
    assert_eq!(
        texts(&bench.run("DESC NETWORK RULE OUT").await)[0][8],
        "example.net:8443"
    );
    assert_eq!(
        texts(&bench.run("SHOW INTEGRATIONS").await)[0][..4],
        ["E", "EXTERNAL_ACCESS", "EXTERNAL_ACCESS", "true"]
    );
    bench
        .run("ALTER EXTERNAL ACCESS INTEGRATION E SET ENABLED = FALSE")
        .await;
    assert_eq!(
        texts(&bench.run("DESC INTEGRATION E").await)[..2],
        [["ENABLED", "false"], ["ALLOWED_NETWORK_RULES", "D.PUBLIC.OUT"]]
    );
    for (statement, code) in [
        (
            "CREATE NETWORK RULE OUT TYPE = IPV4 VALUE_LIST = ('10.0.0.1')",
            "002002",
        ),
        (
            "CREATE NETWORK RULE R TYPE = IPV4 VALUE_LIST = ('10.0.0.256')",
            "001003",
        ),
        (
            "CREATE NETWORK RULE R TYPE = IPV4 MODE = EGRESS VALUE_LIST = ('10.0.0.1')",
            "001003",
        ),
        (
            "CREATE NETWORK RULE R TYPE = HOST_PORT VALUE_LIST = ('a:1')",
            "001003",
        ),
        (
            "CREATE NETWORK RULE R TYPE = HOST_PORT MODE = EGRESS VALUE_LIST = ('https://a')",
            "001003",
        ),
        ("CREATE NETWORK RULE R TYPE = IPV4", "001003"),
        (
            "CREATE NETWORK RULE R TYPE = IPV4 VALUE_LIST = ('10.0.0.1'",
            "001003",
        ),
        ("CREATE NETWORK RULE R TYPE IPV4", "001003"),
        (
            "CREATE NETWORK RULE R TYPE = IPV5 VALUE_LIST = ('10.0.0.1')",
            "001003",
        ),
        (
            "CREATE NETWORK POLICY Q ALLOWED_NETWORK_RULE_LIST = ('GONE')",
            "002003",
        ),
        (
            "CREATE NETWORK POLICY Q ALLOWED_NETWORK_RULE_LIST = ('OUT')",
            "001003",
        ),
        (
            "CREATE NETWORK POLICY Q ALLOWED_IP_LIST = ('10.0.0.0/40')",
            "001003",
        ),
        ("CREATE NETWORK POLICY Q ALLOWED = ('10.0.0.0')", "001003"),
        (
            "CREATE EXTERNAL ACCESS INTEGRATION F ALLOWED_NETWORK_RULES = (\"IN\") ENABLED = TRUE",
            "001003",
        ),
        (
            "CREATE EXTERNAL ACCESS INTEGRATION F ALLOWED_NETWORK_RULES = (OUT)",
            "001003",
        ),
        ("ALTER NETWORK RULE OUT SET TYPE = IPV4", "001003"),
        (
            "ALTER NETWORK POLICY P ADD ALLOWED_NETWORK_RULE_LIST = 'IN'",
            "000002",
        ),
        ("ALTER NETWORK POLICY GONE SET COMMENT = 'x'", "002003"),
        ("ALTER USER ADA SET NETWORK_POLICY = GONE", "002003"),
        ("DROP NETWORK RULE \"IN\"", "001003"),
        ("DROP NETWORK RULE OUT", "001003"),
        ("DROP NETWORK RULE GONE", "002003"),
    ] {
        assert_eq!(bench.code(statement).await, code, "{statement}");
    }
    bench.run("DROP NETWORK POLICY P").await;
    bench.run("DROP NETWORK RULE \"IN\"").await;
    bench.run("DROP INTEGRATION E").await;
    bench.run("DROP INTEGRATION IF EXISTS E").await;
    assert!(bench.run("SHOW INTEGRATIONS").await.is_empty());
    bench.run("DROP DATABASE D").await;
    assert!(bench.run("SHOW NETWORK RULES IN ACCOUNT").await.is_empty());
}

#[tokio::test]
async fn a_policy_lets_in_whom_it_allows_and_a_users_own_goes_before_the_accounts() {
    let mut bench = bench().await;
    bench
        .run("CREATE NETWORK RULE ELSEWHERE TYPE = IPV4 VALUE_LIST = ('203.0.113.0/24')")
        .await;
    bench
        .run("CREATE NETWORK RULE HERE TYPE = IPV4 VALUE_LIST = ('127.0.0.0/8')")
        .await;
    bench
        .run("CREATE NETWORK RULE PRIVATE TYPE = AWSVPCEID VALUE_LIST = ('vpce-127')")
        .await;
    // What a policy says, and whether it lets in who comes from this machine.
    let policies = [
        ("ALLOWED_NETWORK_RULE_LIST = ('HERE')", true),
        ("ALLOWED_NETWORK_RULE_LIST = ('ELSEWHERE')", false),
        ("ALLOWED_NETWORK_RULE_LIST = ('ELSEWHERE', 'HERE')", true),
        ("ALLOWED_NETWORK_RULE_LIST = ('PRIVATE')", false),
        (
            "ALLOWED_NETWORK_RULE_LIST = ('HERE') BLOCKED_NETWORK_RULE_LIST = ('HERE')",
            false,
        ),
        (
            "ALLOWED_NETWORK_RULE_LIST = ('HERE') BLOCKED_IP_LIST = ('127.0.0.1')",
            false,
        ),
        ("BLOCKED_IP_LIST = ('203.0.113.7')", true),
        ("ALLOWED_IP_LIST = ('0.0.0.0/0')", true),
        ("ALLOWED_IP_LIST = ('192.0.2.1')", false),
    ];
    for (number, (said, wanted)) in policies.into_iter().enumerate() {
        bench
            .run(&format!("CREATE NETWORK POLICY P{number} {said}"))
            .await;
        bench
            .run(&format!("ALTER USER ADA SET NETWORK_POLICY = P{number}"))
            .await;
        assert_eq!(comes_in(&bench, "ADA"), wanted, "{said}");
        assert!(comes_in(&bench, "OTHER"), "{said}");
        assert_eq!(
            bench.code(&format!("DROP NETWORK POLICY P{number}")).await,
            "001003"
        );
        let of_account = bench
            .try_run(&format!("ALTER ACCOUNT SET NETWORK_POLICY = P{number}"))
            .await;
        assert_eq!(of_account.is_ok(), wanted, "{said}");
    }
    // Of ADA the last one counts, of all others the account's.
    bench
        .run("ALTER NETWORK POLICY P7 SET ALLOWED_IP_LIST = ('192.0.2.1')")
        .await;
    bench.run("ALTER NETWORK POLICY P8 RENAME TO \"of ada\"").await;
    assert!(!comes_in(&bench, "ADA") && !comes_in(&bench, "OTHER"));
    assert_eq!(
        texts(&bench.run("DESC USER ADA").await)[3],
        ["NETWORK_POLICY", "of ada"]
    );
    bench.run("ALTER USER ADA UNSET NETWORK_POLICY").await;
    assert!(!comes_in(&bench, "ADA"));
    bench.run("ALTER ACCOUNT UNSET NETWORK_POLICY").await;
    assert!(comes_in(&bench, "ADA") && comes_in(&bench, "OTHER"));
    bench.run("DROP NETWORK POLICY \"of ada\"").await;
}

#[tokio::test]
async fn policies_are_for_administrators_and_nobody_takes_off_its_own() {
    let mut bench = bench().await;
    bench
        .run("CREATE NETWORK POLICY P ALLOWED_IP_LIST = ('192.0.2.1')")
        .await;
    bench.run("ALTER USER ADA SET NETWORK_POLICY = P").await;
    let granted = bench.run("SHOW GRANTS TO ROLE ACCOUNTADMIN").await;
    let owned = granted
        .iter()
        .filter(|row| row[2].as_deref() == Some("NETWORK_POLICY"));
    assert_eq!(
        owned.map(|row| row[3].as_deref()).collect::<Vec<_>>(),
        [Some("P")]
    );
    bench.run("CREATE ROLE WRITER").await;
    bench.run("GRANT ROLE WRITER TO USER ADA").await;
    bench.run("GRANT USAGE ON DATABASE D TO ROLE WRITER").await;
    bench.run("GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE WRITER").await;
    let mut ada = Session {
        user: "ADA".to_owned(),
        role: Some("WRITER".to_owned()),
        database: Some("D".to_owned()),
        ..Session::default()
    };
    for statement in [
        "CREATE NETWORK POLICY Q ALLOWED_IP_LIST = ('127.0.0.1')",
        "CREATE NETWORK RULE R TYPE = IPV4 VALUE_LIST = ('127.0.0.1')",
        "ALTER ACCOUNT SET NETWORK_POLICY = P",
        "ALTER USER ADA UNSET NETWORK_POLICY",
        "ALTER NETWORK POLICY P SET ALLOWED_IP_LIST = ('127.0.0.1')",
        "DROP NETWORK POLICY P",
    ] {
        let refused = bench
            .engine
            .execute(&mut ada, statement)
            .await
            .expect_err(statement);
        assert!(
            ["003001", "002003"].contains(&refused.code),
            "{statement}: {refused}"
        );
    }
    assert!(!comes_in(&bench, "ADA"));
    let shown = bench
        .engine
        .execute(&mut ada, "SHOW NETWORK POLICIES")
        .await
        .expect("shown");
    assert!(shown.rows.is_empty());
    bench
        .run("GRANT CREATE NETWORK RULE ON SCHEMA D.PUBLIC TO ROLE WRITER")
        .await;
    let statement = "CREATE NETWORK RULE R TYPE = IPV4 VALUE_LIST = ('127.0.0.1')";
    bench.engine.execute(&mut ada, statement).await.expect("made");
    bench.session.role = Some("SECURITYADMIN".to_owned());
    bench.run("ALTER USER ADA UNSET NETWORK_POLICY").await;
    assert!(comes_in(&bench, "ADA"));
}
