//! Times as text: those of Slicer's and Kubernetes' APIs, and this workstation's own, UTC to the millisecond.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Seconds since 1970 of an RFC 3339 time; fractions are dropped.
pub fn unix(text: &str) -> Option<i64> {
    text.parse().ok().map(Timestamp::as_second)
}

/// `2026-11-25T06:45:12.345Z`.
pub fn utc(time: SystemTime) -> String {
    // What jiff cannot represent is thousands of years away.
    let time = Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.3}")
}

/// Seconds since 1970, by this workstation's clock.
pub fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fuzz_time() {
        const SAMPLES: &[&str] = &[
            "2024-02-29T12:30:15.123456789Z",
            "2023-11-14T17:13:20-05:00",
            "9999-12-31T23:59:60+99:99",
        ];
        crate::fuzz::fuzz("time", SAMPLES, |text| {
            unix(text)
                .map(|time| time.to_string())
                .into_iter()
                .collect()
        });
    }

    #[test]
    fn times_are_read_with_fractions_and_zones() {
        assert_eq!(unix("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix("2024-02-29T12:30:15.123456789Z"), Some(1_709_209_815));
        assert_eq!(unix("2024-02-29T14:30:15+02:00"), Some(1_709_209_815));
        assert_eq!(unix("2023-11-14T17:13:20-05:00"), Some(1_700_000_000));
        for nonsense in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-02-29T12:30:15",
            "2023-02-29T12:30:15Z",
            "2024-02-31T12:30:15Z",
            "2024-04-31T12:30:15Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00+99:99",
            "2024-01-01T00:00:00+-1:00",
            "+024-01-01T00:00:00Z",
            "é2024",
        ] {
            assert_eq!(unix(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn leap_days_and_turns_of_years_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_795_589_112, "2026-11-25T06:45:12.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
