//! The forms of an account identifier.
//!
//! Sources: docs.snowflake.com, "Account identifiers" (organisation and account, locator with region, `privatelink`),
//! "Connecting with a URL" (underscores become hyphens in host names), "SQL REST API: authenticating" (the account in a JWT).

use url::Url;

use crate::error::Error;

/// The account as the issuer of a JWT has it: upper case, without the region that a locator carries behind a dot; a
/// replicated account's global name is cut at its first hyphen instead. Underscores and hyphens stay as they are.
pub(crate) fn in_jwt(account: &str) -> String {
    let end = if account.to_ascii_lowercase().contains(".global") {
        '-'
    } else {
        '.'
    };
    account.split(end).next().unwrap_or(account).to_uppercase()
}

/// The account's address: the one that is given, or the one that its identifier makes.
///
/// # Errors
/// [`Error::BadConfig`] where that is no http or https address.
pub(crate) fn address(account: &str, url: Option<&str>) -> Result<Url, Error> {
    let text = match url {
        Some(url) => url.to_owned(),
        None => format!(
            "https://{}.{}",
            account.to_lowercase().replace('_', "-"),
            domain(account)
        ),
    };
    let parsed = Url::parse(&text).ok();
    parsed
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            Error::BadConfig(format!(
                "{text:?} is no address of a Snowflake account; expected https://HOST[:PORT]"
            ))
        })
}

/// Regions of China have a domain of their own.
fn domain(account: &str) -> &'static str {
    let in_china = |part: &str| part.to_ascii_lowercase().starts_with("cn-");
    if account.split('.').skip(1).any(in_china) {
        "snowflakecomputing.cn"
    } else {
        "snowflakecomputing.com"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_host_and_its_name_in_a_jwt() {
        for (account, host, name) in [
            (
                "myorg-myaccount",
                "myorg-myaccount.snowflakecomputing.com",
                "MYORG-MYACCOUNT",
            ),
            (
                "MyOrg-my_test_acct",
                "myorg-my-test-acct.snowflakecomputing.com",
                "MYORG-MY_TEST_ACCT",
            ),
            ("xy12345", "xy12345.snowflakecomputing.com", "XY12345"),
            (
                "xy12345.us-east-1",
                "xy12345.us-east-1.snowflakecomputing.com",
                "XY12345",
            ),
            (
                "xy12345.eu-central-1.aws",
                "xy12345.eu-central-1.aws.snowflakecomputing.com",
                "XY12345",
            ),
            (
                "xy12345.us-east-1.privatelink",
                "xy12345.us-east-1.privatelink.snowflakecomputing.com",
                "XY12345",
            ),
            (
                "myorg-my_acct.privatelink",
                "myorg-my-acct.privatelink.snowflakecomputing.com",
                "MYORG-MY_ACCT",
            ),
            (
                "xy12345.cn-northwest-1",
                "xy12345.cn-northwest-1.snowflakecomputing.cn",
                "XY12345",
            ),
            (
                "demo-1q2w3e.global",
                "demo-1q2w3e.global.snowflakecomputing.com",
                "DEMO",
            ),
        ] {
            let url = address(account, None).expect("an address");
            assert_eq!((url.scheme(), url.host_str()), ("https", Some(host)), "{account}");
            assert_eq!(in_jwt(account), name, "{account}");
        }
        let local = address("local", Some("http://127.0.0.1:8084")).expect("an address");
        assert_eq!(local.as_str(), "http://127.0.0.1:8084/");
        for (account, url) in [("a b", None), ("a", Some("ftp://host")), ("a", Some("host"))] {
            assert!(address(account, url).is_err(), "{account} {url:?}");
        }
    }
}
