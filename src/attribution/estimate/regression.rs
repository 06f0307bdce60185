//! Weighted least squares with a few terms, and a covariance that does not trust the rows' independence.

/// Number of terms.
pub const TERMS: usize = 4;

pub type Vector = [f64; TERMS];
pub type Matrix = [[f64; TERMS]; TERMS];

/// One row: terms, value, weight; rows of one group may have errors in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    pub terms: Vector,
    pub value: f64,
    pub weight: f64,
    pub group: usize,
}

/// Coefficients and their covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    pub coefficients: Vector,
    pub covariance: Matrix,
}

impl Fit {
    /// Fits the first `terms` terms; those that the rows do not determine get 0. Groups count from 0 to
    /// `groups`. The covariance is Liang and Zeger's sandwich: residuals are summed over a group before
    /// they are squared.
    pub fn new(rows: &[Row], groups: usize, terms: usize) -> Self {
        let terms = terms.min(TERMS);
        let mut gram = Matrix::default();
        let mut right = Vector::default();
        for row in rows {
            for (i, term) in row.terms.iter().enumerate().take(terms) {
                right[i] += row.weight * term * row.value;
                for (sum, other) in gram[i].iter_mut().zip(row.terms).take(terms) {
                    *sum += row.weight * term * other;
                }
            }
        }
        let inverse = inverse(gram, terms);
        let mut fit = Self {
            coefficients: product(&inverse, &right),
            covariance: Matrix::default(),
        };
        let mut scores = vec![Vector::default(); groups];
        for row in rows {
            if let Some(score) = scores.get_mut(row.group) {
                let left = row.weight * (row.value - fit.at(&row.terms));
                for (sum, term) in score.iter_mut().zip(row.terms).take(terms) {
                    *sum += left * term;
                }
            }
        }
        let used = groups as f64;
        let few = used / (used - terms as f64).max(0.5);
        for score in scores {
            let moved = product(&inverse, &score);
            for i in 0..terms {
                for j in 0..terms {
                    fit.covariance[i][j] += few * moved[i] * moved[j];
                }
            }
        }
        fit
    }

    /// The fitted value.
    pub fn at(&self, terms: &Vector) -> f64 {
        dot(&self.coefficients, terms)
    }

    /// Variance of the fitted value at `terms`, or of a weighted sum of fitted values at the sum of terms.
    pub fn variance(&self, terms: &Vector) -> f64 {
        dot(&product(&self.covariance, terms), terms).max(0.0)
    }
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn product(matrix: &Matrix, vector: &Vector) -> Vector {
    matrix.map(|row| dot(&row, vector))
}

/// Inverse of the leading block of a symmetric matrix that is not negative, by Gauss and Jordan; a term
/// that depends on those before it is left out.
fn inverse(mut left: Matrix, terms: usize) -> Matrix {
    let mut right = Matrix::default();
    let sizes: Vector = std::array::from_fn(|i| left[i][i]);
    for (i, row) in right.iter_mut().enumerate().take(terms) {
        row[i] = 1.0;
    }
    for pivot in 0..terms {
        let value = left[pivot][pivot];
        if value.is_nan() || value <= 1e-9 * sizes[pivot] {
            right[pivot] = Vector::default();
            left[pivot] = Vector::default();
            continue;
        }
        left[pivot] = left[pivot].map(|x| x / value);
        right[pivot] = right[pivot].map(|x| x / value);
        let (from_left, from_right) = (left[pivot], right[pivot]);
        for row in (0..terms).filter(|row| *row != pivot) {
            let factor = left[row][pivot];
            for i in 0..terms {
                left[row][i] -= factor * from_left[i];
                right[row][i] -= factor * from_right[i];
            }
        }
    }
    // What was left out neither gives nor takes.
    for row in 0..terms {
        if right[row][row] == 0.0 {
            for line in &mut right {
                line[row] = 0.0;
            }
        }
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(f64, f64)]) -> Vec<Row> {
        let row = |(group, (x, value)): (usize, &(f64, f64))| Row {
            terms: [1.0, *x, x * x, 0.0],
            value: *value,
            weight: 1.0,
            group,
        };
        values.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_line_is_that_of_the_textbook() {
        // Anscombe's first quartet: intercept 3.0001, slope 0.5001 (Anscombe 1973).
        let quartet = [
            (10.0, 8.04),
            (8.0, 6.95),
            (13.0, 7.58),
            (9.0, 8.81),
            (11.0, 8.33),
            (14.0, 9.96),
            (6.0, 7.24),
            (4.0, 4.26),
            (12.0, 10.84),
            (7.0, 4.82),
            (5.0, 5.68),
        ];
        let fit = Fit::new(&rows(&quartet), 11, 2);
        assert!((fit.coefficients[0] - 3.000_09).abs() < 1e-5);
        assert!((fit.coefficients[1] - 0.500_09).abs() < 1e-5);
        assert_eq!(fit.coefficients[2..], [0.0, 0.0]);
        // The published standard errors are 1.125 and 0.118, for errors of one size.
        assert!((fit.covariance[1][1].sqrt() - 0.118).abs() < 0.04);
    }

    #[test]
    fn dependent_terms_are_left_out() {
        let two = rows(&[(1.0, 3.0), (1.0, 5.0), (2.0, 6.0), (2.0, 8.0)]);
        let fit = Fit::new(&two, 4, 3);
        assert!((fit.at(&two[0].terms) - 4.0).abs() < 1e-9);
        assert!((fit.at(&two[2].terms) - 7.0).abs() < 1e-9);
        let one = rows(&[(1.5, 2.0), (1.5, 4.0)]);
        assert!((Fit::new(&one, 2, 3).at(&one[0].terms) - 3.0).abs() < 1e-9);
        assert_eq!(Fit::new(&[], 0, 3).coefficients, Vector::default());
    }

    #[test]
    fn rows_of_a_group_are_not_counted_as_independent() {
        // Each value four times: the mean is known as well as by the distinct values alone.
        let values = [1.0, 4.0, 2.0, 6.0, 3.0];
        let row = |i: usize| Row {
            terms: [1.0, 0.0, 0.0, 0.0],
            value: values[i % 5],
            weight: 1.0,
            group: i % 5,
        };
        let many: Vec<Row> = (0..20).map(row).collect();
        let fit = Fit::new(&many, 5, 1);
        assert!((fit.coefficients[0] - 3.2).abs() < 1e-12);
        // Variance of the mean of five values: sum of squares 14.8 / (5 * 4).
        assert!((fit.covariance[0][0] - 0.74).abs() < 1e-9);
    }
}
