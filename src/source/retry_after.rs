//! The header Retry-After: how long a host asks to be left alone.

/// Longest pause that a host may ask for, in milliseconds; a longer one is cut to this.
pub const PAUSE_MAX_MS: i32 = 20_000;

/// The pause that `header` asks for, in milliseconds: it holds seconds, or a date that `parse_date` takes to
/// milliseconds since 1970, where `now_ms` is now. `None` for anything else.
pub fn pause_asked_ms(header: &str, now_ms: f64, parse_date: impl Fn(&str) -> f64) -> Option<i32> {
    let header = header.trim();
    let milliseconds = match header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a very long pause.
        true if !header.is_empty() => header.parse().unwrap_or(f64::MAX) * 1e3,
        _ => parse_date(header) - now_ms,
    };
    let bounded = milliseconds.clamp(0.0, f64::from(PAUSE_MAX_MS));
    (!milliseconds.is_nan()).then_some(bounded.ceil() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_pauses_and_nothing_else_is() {
        let date = |text: &str| match text {
            "Wed, 21 Oct 2015 07:28:00 GMT" => 1_445_412_480_000.0,
            _ => f64::NAN,
        };
        let pause = |header: &str, now| pause_asked_ms(header, now, date);
        for (header, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7000)),
            ("3600", Some(PAUSE_MAX_MS)),
            ("99999999999999999999999", Some(PAUSE_MAX_MS)),
            ("-3", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(pause(header, 0.0), expected, "{header:?}");
        }
        let text = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(pause(text, 1_445_412_477_500.0), Some(2500));
        assert_eq!(pause(text, 1_445_412_490_000.0), Some(0));
        assert_eq!(pause(text, 0.0), Some(PAUSE_MAX_MS));
    }
}
