//! RFC 3339 timestamps, dates and Go's spelling of durations, as the API uses them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

const SECONDS_A_DAY: i64 = 86_400;
/// Nanoseconds in a second.
pub(crate) const NANOS_A_SECOND: i64 = 1_000_000_000;

/// Seconds since the epoch, now.
pub(crate) fn unix_now() -> i64 {
    unix(SystemTime::now())
}

/// Seconds since the epoch of a system time; times before it count as zero.
pub(crate) fn unix(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Nanoseconds since the epoch, now.
pub(crate) fn nanos_now() -> i64 {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// Nanoseconds since the epoch of a second and a fraction of it.
pub(crate) fn nanos(seconds: i64, fraction: i64) -> i64 {
    seconds
        .saturating_mul(NANOS_A_SECOND)
        .saturating_add(fraction)
}

/// A second of the epoch as an RFC 3339 timestamp in UTC.
pub(crate) fn rfc3339(unix: i64) -> String {
    format!("{}Z", clock(unix))
}

/// A nanosecond of the epoch as an agent gives it: in UTC, with a fraction as Go writes one.
pub(crate) fn agent_time(nanos: i64) -> String {
    let second = nanos.div_euclid(NANOS_A_SECOND);
    format!("{}{}Z", clock(second), fraction(nanos))
}

/// A nanosecond of the epoch as the daemon gives it: in its host's zone, with a fraction as Go writes one. The zone is
/// that of the documents' samples (reference/api.md: `2025-09-02T08:32:37.667253315+01:00`), whatever the host's is: a
/// client that expects UTC, or whole seconds, must fail here.
pub(crate) fn daemon_time(nanos: i64) -> String {
    let second = nanos.div_euclid(NANOS_A_SECOND).saturating_add(3600);
    format!("{}{}+01:00", clock(second), fraction(nanos))
}

fn clock(unix: i64) -> String {
    let (year, month, day) = civil(unix.div_euclid(SECONDS_A_DAY));
    let second = unix.rem_euclid(SECONDS_A_DAY);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The fraction of a second with its point, without zeros at its end: nothing for a whole second.
fn fraction(nanos: i64) -> String {
    match nanos.rem_euclid(NANOS_A_SECOND) {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

/// Days since the epoch of a `YYYY-MM-DD` date.
pub(crate) fn day_of(date: &str) -> Result<i64> {
    let parts: Vec<i64> = date
        .trim()
        .split('-')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("`{date}` is not a date of the form YYYY-MM-DD"))?;
    let &[year, month, day] = parts.as_slice() else {
        bail!("`{date}` is not a date of the form YYYY-MM-DD");
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        bail!("`{date}` is not a date of the form YYYY-MM-DD");
    }
    Ok(days(year, month, day))
}

/// The date of a day since the epoch, as `YYYY-MM-DD`.
pub(crate) fn date_of(day: i64) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Today, in days since the epoch.
pub(crate) fn today() -> i64 {
    unix_now().div_euclid(SECONDS_A_DAY)
}

/// Parses a duration as Go writes it (`30s`, `2m0s`, `1.5h`, `100ms`).
pub(crate) fn go_duration(text: &str) -> Result<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0.0_f64;
    let mut seen = false;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .with_context(|| format!("duration `{text}` lacks a unit"))?;
        let number: f64 = rest[..number_end]
            .parse()
            .with_context(|| format!("`{text}` is not a duration"))?;
        rest = &rest[number_end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => bail!("`{text}` has the unknown unit `{other}`"),
        };
        total += number * unit;
        rest = &rest[unit_end..];
        seen = true;
    }
    if !seen || total > 1e6 {
        bail!("`{text}` is not a usable duration");
    }
    Ok(Duration::from_secs_f64(total))
}

/// Days since the epoch of a civil date (proleptic Gregorian calendar).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client in Go fails a whole call on a timestamp that it cannot parse.
    #[test]
    fn timestamps_are_rfc3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_795_573_444), "2026-11-25T02:24:04Z");
    }

    /// Clients compare times, and some expect whole seconds in UTC: the original has neither.
    #[test]
    fn times_have_the_fraction_and_the_zone_that_go_writes() {
        assert_eq!(agent_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(agent_time(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(
            agent_time(nanos(951_827_696, 42)),
            "2000-02-29T12:34:56.000000042Z"
        );
        assert_eq!(
            daemon_time(nanos(951_827_696, 667_253_310)),
            "2000-02-29T13:34:56.66725331+01:00"
        );
        assert_eq!(
            daemon_time(nanos(951_868_799, 0)),
            "2000-03-01T00:59:59+01:00"
        );
        assert!(nanos_now() > nanos(unix_now() - 2, 0));
    }

    /// A licence's last day is compared as a date.
    #[test]
    fn dates_go_both_ways() {
        for date in ["1970-01-01", "2000-02-29", "2026-11-25", "2100-03-01"] {
            assert_eq!(date_of(day_of(date).unwrap()), date);
        }
        assert!(day_of("soon").is_err());
        assert!(day_of("2026-13-01").is_err());
    }

    /// `timeout=` comes from Go clients.
    #[test]
    fn durations_are_gos() {
        assert_eq!(go_duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(go_duration("2m0s").unwrap(), Duration::from_mins(2));
        assert_eq!(go_duration("100ms").unwrap(), Duration::from_millis(100));
        assert!(go_duration("5").is_err());
        assert!(go_duration("").is_err());
        assert!(go_duration("5 parsecs").is_err());
    }
}
