use frazil_model::PausedClock;
use reqwest::header::HeaderValue;

use super::*;

const NOON_MS: i64 = 1_700_049_600_000;

/// An answer after `trip_ms` of a service whose clock is `ours + correction`, halfway through its trip.
async fn answer(clock: &PausedClock, service: &ServiceClock, correction_ms: i64, trip_ms: u64) {
    let sent = service.moment();
    let half = Duration::from_millis(trip_ms / 2);
    clock.advance(half).await;
    let theirs = u64::try_from(clock.wall_ms() + correction_ms).expect("after 1970");
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(theirs));
    clock.advance(half).await;
    let mut headers = HeaderMap::new();
    headers.insert(DATE, HeaderValue::from_str(&date).expect("ASCII"));
    service.note(sent, &headers);
}

#[tokio::test]
async fn a_true_clock_is_never_corrected() {
    let clock = PausedClock::at_wall_ms(NOON_MS);
    let service = ServiceClock::new(Arc::new(clock.clone()));
    assert_eq!(service.skew(), None);
    for step in 0..200 {
        answer(&clock, &service, 0, step * 17).await;
        clock.advance(Duration::from_millis(333)).await;
        assert_eq!(service.correction_ms(), 0, "{step}");
    }
    let skew = service.skew().expect("measured");
    assert!(skew.ahead_ms == 0 && skew.within_ms < 3000, "{skew:?}");
}

#[tokio::test]
async fn ten_minutes_either_way_are_measured_to_a_second() {
    for correction_ms in [-600_000, 600_000, -31_500, 2_000] {
        let clock = PausedClock::at_wall_ms(NOON_MS + 123);
        let service = ServiceClock::new(Arc::new(clock.clone()));
        let mut changes = 0;
        for step in 0..100 {
            let before = service.correction_ms();
            answer(&clock, &service, correction_ms, 40 + step).await;
            changes += usize::from(service.correction_ms() != before);
            clock.advance(Duration::from_millis(777)).await;
            let off = service.correction_ms().abs_diff(correction_ms);
            assert!(off <= 600, "{correction_ms}: {off}");
        }
        // It settles: it does not change with each answer.
        assert!((1..=12).contains(&changes), "{correction_ms}: {changes}");
        let skew = service.skew().expect("measured");
        assert!(skew.ahead_ms.abs_diff(-correction_ms) <= 600, "{skew:?}");
        assert_eq!(service.now_ms(), clock.wall_ms() - skew.ahead_ms);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_right_is_followed_back() {
    let clock = PausedClock::at_wall_ms(NOON_MS);
    let service = ServiceClock::new(Arc::new(clock.clone()));
    answer(&clock, &service, -600_000, 20).await;
    assert!(service.correction_ms() < -599_000);
    answer(&clock, &service, 0, 20).await;
    assert!(service.correction_ms().abs() < 1000);
}

#[tokio::test]
async fn what_says_nothing_changes_nothing() {
    let clock = PausedClock::at_wall_ms(NOON_MS);
    let service = ServiceClock::new(Arc::new(clock.clone()));
    // It took too long.
    answer(&clock, &service, 600_000, 5_200).await;
    assert_eq!(service.skew(), None);
    let date = HeaderValue::from_static("Wed, 15 Nov 2023 12:30:00 GMT");
    for (name, value) in [("x", ""), ("date", "yesterday")] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        service.note(service.moment(), &headers);
    }
    // A cache's.
    let mut headers = HeaderMap::new();
    headers.insert(DATE, date.clone());
    headers.insert(AGE, HeaderValue::from_static("3"));
    service.note(service.moment(), &headers);
    assert_eq!((service.skew(), service.correction_ms()), (None, 0));
    // The same, but of the service itself: the test would notice.
    headers.remove(AGE);
    service.note(service.moment(), &headers);
    assert!(service.correction_ms() > 1_700_000);
}
