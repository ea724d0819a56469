//! Times as text: those of Slicer's and Kubernetes' APIs, and this workstation's own, UTC to the millisecond.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 of an RFC 3339 time; fractions are dropped.
pub fn unix(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|_| all)
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // A leap second is the 61st.
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let begin = text.len() - zone.len();
            let (hours, minutes) = (number(begin + 1..begin + 3)?, number(begin + 4..begin + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    // Days before a year that begins in March: leap days then come last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// `2026-11-25T06:45:12.345Z`.
pub fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

/// Seconds since 1970, by this workstation's clock.
pub fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Year, month and day of a day counted from 1970-01-01; years are taken to begin in March, so that leap days end them.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
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
