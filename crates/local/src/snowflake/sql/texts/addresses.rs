//! PARSE_URL and PARSE_IP.

use serde_json::{Map, Value as Json, json};

use super::{Answer, Given, at, cut, first};

/// `PARSE_URL(url [, permissive])`
pub(super) fn parse_url(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    let permissive = at(given, 1).is_some_and(|flag| flag != "0");
    let scheme_end = text.find(':').filter(|end| {
        text.get(..*end).is_some_and(|scheme| {
            scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        })
    });
    let Some(end) = scheme_end else {
        return match permissive {
            true => Ok(Some(json!({ "error": "scheme not specified" }).to_string())),
            false => Err(format!("Error parsing URL: scheme not specified in '{text}'")),
        };
    };
    let (scheme, rest) = text.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let (rest, fragment) = cut(rest, '#');
    let (rest, query) = cut(rest, '?');
    let (authority, path) = match rest.strip_prefix("//") {
        None => (None, Some(rest)),
        Some(rest) => {
            let (authority, path) = cut(rest, '/');
            (Some(authority), path)
        }
    };
    let (host, port) = match authority {
        None => (None, None),
        Some(authority) => match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => {
                (Some(host), Some(port))
            }
            _ => (Some(authority), None),
        },
    };
    let parameters = query.filter(|query| query.contains('=')).map(|query| {
        let pairs = query.split('&').map(|pair| cut(pair, '='));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.map_or(Json::Null, Json::from)));
        Json::Object(pairs.collect::<Map<_, _>>())
    });
    let parsed = json!({
        "fragment": fragment,
        "host": host,
        "parameters": parameters,
        "path": path,
        "port": port,
        "query": query,
        "scheme": scheme.to_lowercase(),
    });
    Ok(Some(parsed.to_string()))
}

/// `PARSE_IP(address, 'INET' [, permissive])`
pub(super) fn parse_ip(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    let kind = at(given, 1).unwrap_or("INET");
    if !kind.eq_ignore_ascii_case("INET") {
        return Err(format!("PARSE_IP: '{kind}' is no type of an address"));
    }
    let (address, prefix) = cut(text, '/');
    let parsed: Option<std::net::IpAddr> = address.parse().ok();
    let bits = match parsed {
        Some(std::net::IpAddr::V4(_)) => 32_u32,
        _ => 128,
    };
    let prefix = prefix.map(|prefix| prefix.parse::<u32>().ok().filter(|prefix| *prefix <= bits));
    let (Some(parsed), false) = (parsed, prefix == Some(None)) else {
        let permissive = at(given, 2).is_some_and(|flag| flag != "0");
        return match permissive {
            true => Ok(Some(
                json!({ "error": format!("Failed to parse IP address: {text}") }).to_string(),
            )),
            false => Err(format!("Failed to parse IP address: {text}")),
        };
    };
    let prefix = prefix.flatten();
    let mut told = json!({
        "host": address,
        "ip_type": "inet",
        "netmask_prefix_length": prefix,
        "snowflake$type": "ip_address",
    });
    match parsed {
        std::net::IpAddr::V4(four) => {
            let value = u32::from(four);
            told["family"] = 4.into();
            told["ip_fields"] = json!([value, 0, 0, 0]);
            told["ipv4"] = value.into();
            if let Some(prefix) = prefix {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                told["ipv4_range_start"] = (value & mask).into();
                told["ipv4_range_end"] = (value | !mask).into();
            }
        }
        std::net::IpAddr::V6(six) => {
            let value = u128::from(six);
            let field =
                |shift: u32| Json::from(u32::try_from(value >> shift & u128::from(u32::MAX)).unwrap_or(0));
            told["family"] = 6.into();
            told["ip_fields"] = json!([field(96), field(64), field(32), field(0)]);
            told["hex_ipv6"] = format!("{value:032X}").into();
            if let Some(prefix) = prefix {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                told["hex_ipv6_range_start"] = format!("{:032X}", value & mask).into();
                told["hex_ipv6_range_end"] = format!("{:032X}", value | !mask).into();
            }
        }
    }
    Ok(Some(told.to_string()))
}
