//! How far this machine's clock is from a service's, by the `Date` of an answer (RFC 9110, 6.6.1: whole seconds).
//!
//! A signature of AWS is good for five minutes around the service's time (AWS Identity and Access Management user guide,
//! "AWS Signature Version 4"). A key-pair token of Snowflake says when it was issued and ends within the hour (Snowflake
//! documentation, "SQL REST API: authenticating"); Frazil dates it back by a minute.

use std::time::UNIX_EPOCH;

use frazil_model::Clock;
use frazil_runtime::exit::Exit;

use super::finding::{Book, Repair};

/// More than that is told, in seconds.
const TOLD_S: i64 = 60;
/// AWS refuses more than that, in seconds.
const AWS_LIMIT_S: i64 = 5 * 60;

/// How far the clock is ahead of this date, in seconds; none where it is no date. `asked_ms` and now are before and after the
/// question: the answer was made somewhere between.
fn ahead_s(date: &str, asked_ms: i64, clock: &dyn Clock) -> Option<i64> {
    let moment = httpdate::parse_http_date(date).ok()?;
    let service_s = i64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    Some((asked_ms + clock.wall_ms()) / 2000 - service_s)
}

/// What is said of the clock; whether it is so far off that credentials are refused for it.
pub(super) fn judge(
    book: &mut Book,
    id: &'static str,
    place: &str,
    date: Option<&str>,
    asked_ms: i64,
    clock: &dyn Clock,
) -> bool {
    let Some(ahead) = date.and_then(|date| ahead_s(date, asked_ms, clock)) else {
        book.unknowable(id, place, "the service does not say what time it has");
        return false;
    };
    if ahead.abs() <= TOLD_S {
        book.proved(
            id,
            place,
            &format!("this machine's clock is within {TOLD_S} s of the service's"),
        );
        return false;
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let what = format!("this machine's clock is {} s {side} the service's", ahead.abs());
    let step = "set this machine's clock, and keep it set (NTP)".to_owned();
    if ahead.abs() > AWS_LIMIT_S && id.starts_with("aws") {
        let what = format!("{what}; requests signed more than {AWS_LIMIT_S} s off are refused");
        book.refused(Exit::Unauthorized, id, place, &what, vec![Repair::Step(step)]);
    } else {
        book.warning(id, place, &what, vec![Repair::Step(step)]);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use frazil_model::PausedClock;

    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock::at_wall_ms(1_767_225_600_000));
        let now_s = clock.wall_ms() / 1000;
        let cases = [
            ("aws.clock", 0, State::Proved),
            ("aws.clock", 60, State::Proved),
            ("aws.clock", 62, State::Warning),
            ("aws.clock", -299, State::Warning),
            ("aws.clock", 302, State::Refused),
            ("snowflake.clock", -4000, State::Warning),
        ];
        for (id, ahead, state) in cases {
            let service = UNIX_EPOCH + std::time::Duration::from_secs((now_s - ahead).unsigned_abs());
            let mut book = Book::new("one");
            let date = httpdate::fmt_http_date(service);
            let is_off = judge(&mut book, id, "", Some(&date), clock.wall_ms(), &*clock);
            let found = &book.into_findings()[0];
            assert_eq!(found.state, state, "{id} {ahead}: {}", found.what);
            assert_eq!(is_off, state != State::Proved);
            if is_off {
                assert!(found.what.contains(&ahead.abs().to_string()), "{}", found.what);
                assert!(!found.repair.is_empty());
            }
        }
        let mut book = Book::new("one");
        assert!(!judge(&mut book, "aws.clock", "", Some("yesterday"), 0, &*clock));
        assert_eq!(book.into_findings()[0].state, State::Unknowable);
    }
}
