//! Sine, cosine and exponential from additions and multiplications only.
//!
//! The platform's own differ in the last bit between machines, and a work must not. Evaluated in
//! f64 and rounded once to f32, so the error is below one unit in the last place of f32 for the
//! arguments that drawings use (|x| < 10,000).

pub(super) const TAU: f32 = std::f32::consts::TAU;

/// The largest integer not above x, for |x| < 2^62.
fn floor(x: f64) -> f64 {
    let i = x as i64 as f64;
    if i > x { i - 1.0 } else { i }
}

fn sin_of_turns(turns: f64) -> f64 {
    // Fold onto [-1/4, 1/4] turn, where the Taylor series to x^15 is exact to 1e-11.
    let mut t = turns - floor(turns + 0.5);
    if t > 0.25 {
        t = 0.5 - t;
    } else if t < -0.25 {
        t = -0.5 - t;
    }
    let x = t * std::f64::consts::TAU;
    let s = x * x;
    let mut sum = 1.0;
    for k in [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 - s * sum / (2.0 * k * (2.0 * k + 1.0));
    }
    x * sum
}

/// Sine of an angle in radians.
pub(super) fn sin(x: f32) -> f32 {
    sin_of_turns(f64::from(x) / std::f64::consts::TAU) as f32
}

/// Cosine of an angle in radians.
pub(super) fn cos(x: f32) -> f32 {
    sin_of_turns(f64::from(x) / std::f64::consts::TAU + 0.25) as f32
}

/// The unit vector of an angle in radians.
pub(super) fn unit_vector(x: f32) -> (f32, f32) {
    (cos(x), sin(x))
}

/// e to the x; 0 below -80, and x is clamped at 80.
pub(super) fn exp(x: f32) -> f32 {
    if x < -80.0 {
        return 0.0;
    }
    let x = f64::from(x.min(80.0));
    let halvings = floor(x / std::f64::consts::LN_2 + 0.5);
    let r = x - halvings * std::f64::consts::LN_2;
    let mut sum = 1.0;
    for k in [10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + r * sum / k;
    }
    let power = f64::from_bits(((halvings as i64 + 1023) as u64) << 52);
    (sum * power) as f32
}

/// Hermite step: 0 up to `low`, 1 from `high` on (`high` may be the smaller of the two).
pub(super) fn step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// From `a` at t = 0 to `b` at t = 1.
pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_platform_to_rounding() {
        for i in -4000..4000 {
            let x = i as f32 * 0.37;
            assert!((sin(x) - x.sin()).abs() < 2e-7, "sin {x}");
            assert!((cos(x) - x.cos()).abs() < 2e-7, "cos {x}");
        }
        for i in -700..700 {
            let x = i as f32 * 0.1;
            assert!((exp(x) / x.exp() - 1.0).abs() < 3e-7, "exp {x}");
        }
        assert_eq!(exp(-100.0), 0.0);
    }
}
