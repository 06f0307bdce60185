//! A steady clock for measurements, natively and in a browser.

/// Milliseconds since some moment: `performance.now()` in a browser, or the date where that is absent.
pub fn now_ms() -> f64 {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed().as_secs_f64() * 1e3
    }
    #[cfg(target_arch = "wasm32")]
    {
        use js_sys::{Function, Reflect};
        use wasm_bindgen::JsCast;
        let measured = || {
            let clock = Reflect::get(&js_sys::global(), &"performance".into()).ok()?;
            let now: Function = Reflect::get(&clock, &"now".into()).ok()?.dyn_into().ok()?;
            now.call0(&clock).ok()?.as_f64()
        };
        measured().unwrap_or_else(js_sys::Date::now)
    }
}
