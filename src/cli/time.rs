//! Times as people write and read them. Always UTC.

use std::str::FromStr;

/// A length of time: `90s`, `15m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub i64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "a length of time is a number and a unit: 90s, 15m, 24h, 30d".to_owned();
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refuse)?;
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(refuse()),
        };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        let number: i64 = number.parse().map_err(|_| refuse())?;
        let seconds = number.checked_mul(factor).filter(|s| (1..=100 * 366 * 86_400).contains(s));
        seconds.map(Self).ok_or_else(|| "a length of time is between a second and a hundred years".to_owned())
    }
}

/// `2026-11-25 08:30:00Z` of Unix seconds.
pub fn text(unix: i64) -> String {
    let (days, seconds) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day of a day count from 1970-01-01, in the Gregorian calendar: years are counted
/// from 1 March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // 0000-03-01 is day zero
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_seconds_read_as_dates() {
        for (unix, expected) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_795_000_000, "2026-11-18 11:06:40Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
            (-1, "1969-12-31 23:59:59Z"),
        ] {
            assert_eq!(text(unix), expected);
        }
    }

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        assert_eq!("90s".parse(), Ok(Span(90)));
        assert_eq!("15m".parse(), Ok(Span(900)));
        assert_eq!("30d".parse(), Ok(Span(2_592_000)));
        for bad in ["", "d", "30", "1w", "-1d", "1.5h", "0s", "9999999999d", "é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
