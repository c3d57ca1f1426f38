//! Noise that is drawn exactly: the discrete Laplace distribution.
//!
//! Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020,
//! arXiv:2004.00010), algorithms 1 (Bernoulli of `exp(-γ)`) and 2 (discrete Laplace). Whole numbers
//! alone: floating-point samplers leak through the gaps of their values (Mironov, CCS 2012).

use perron_model::{Error, ErrorCode, Result};

/// Where random bytes come from: a generator fit for cryptography.
pub trait Random {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// Where the system gives none.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()>;
}

/// A number `z` with probability proportional to `exp(-|z|·numerator/denominator)`: with a
/// sensitivity of Δ units and ε = e/1,000,000, `numerator` is e and `denominator` Δ·1,000,000.
///
/// # Errors
/// `internal` where either is zero or the system gives no random bytes.
pub fn discrete_laplace(random: &mut dyn Random, numerator: u64, denominator: u64) -> Result<i128> {
    if numerator == 0 || denominator == 0 {
        return Err(Error::new(ErrorCode::Internal, "noise of no scale"));
    }
    let (s, t) = (u128::from(numerator), u128::from(denominator));
    loop {
        // u uniform in 0..t, kept with probability exp(-u/t); v geometric with exp(-1).
        let u = below(random, t)?;
        if !bernoulli_exp(random, u, t)? {
            continue;
        }
        let mut v: u128 = 0;
        while bernoulli_exp(random, 1, 1)? {
            v = v.saturating_add(1);
        }
        let size = u.saturating_add(t.saturating_mul(v)) / s;
        let negative = below(random, 2)? == 1;
        // Zero has one sign, or it would come twice as often.
        if negative && size == 0 {
            continue;
        }
        let size = i128::try_from(size).unwrap_or(i128::MAX);
        return Ok(if negative { -size } else { size });
    }
}

/// True with probability `exp(-numerator/denominator)`, for a fraction in 0..=1.
fn bernoulli_exp(random: &mut dyn Random, numerator: u128, denominator: u128) -> Result<bool> {
    let mut k: u128 = 1;
    loop {
        // A with probability γ/k: uniform below denominator·k is below the numerator.
        let drawn = below(random, denominator.saturating_mul(k))?;
        if drawn >= numerator {
            return Ok(k % 2 == 1);
        }
        k = k.saturating_add(1);
    }
}

/// Uniform in `0..bound`, by rejection.
fn below(random: &mut dyn Random, bound: u128) -> Result<u128> {
    let bits = u128::BITS - bound.saturating_sub(1).leading_zeros();
    let bytes = usize::try_from(bits.div_ceil(8)).unwrap_or(16);
    let mask = if bits >= u128::BITS { u128::MAX } else { (1u128 << bits) - 1 };
    loop {
        let mut drawn = [0u8; 16];
        let (place, _) = drawn.split_at_mut_checked(bytes).ok_or_else(super::gather::broken)?;
        random.fill(place)?;
        let value = u128::from_le_bytes(drawn) & mask;
        if value < bound {
            return Ok(value);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// SplitMix64: for tests alone.
    pub(crate) struct Seeded(pub u64);

    impl Seeded {
        pub(crate) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    impl Random for Seeded {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
            for byte in bytes {
                *byte = self.next() as u8;
            }
            Ok(())
        }
    }

    struct None;
    impl Random for None {
        fn fill(&mut self, _: &mut [u8]) -> Result<()> {
            Err(Error::new(ErrorCode::Internal, "none"))
        }
    }

    /// Chi-squared over the values around zero against the exact probabilities.
    #[test]
    fn the_noise_has_its_distribution() {
        for (seed, numerator, denominator) in [(1, 1u64, 1u64), (2, 1, 3), (3, 2, 5), (4, 300_000, 1_000_000)] {
            let mut random = Seeded(seed);
            let (draws, ratio) = (40_000, (-(numerator as f64) / denominator as f64).exp());
            let probability = |z: i64| (1.0 - ratio) / (1.0 + ratio) * ratio.powi(z.unsigned_abs() as i32);
            let mut seen = std::collections::BTreeMap::<i64, u32>::new();
            for _ in 0..draws {
                let z = i64::try_from(discrete_laplace(&mut random, numerator, denominator).unwrap()).unwrap();
                *seen.entry(z).or_default() += 1;
            }
            let (mut statistic, mut cells) = (0.0, 0);
            for z in -60i64..=60 {
                let expected = probability(z) * f64::from(draws);
                if expected >= 20.0 {
                    let found = f64::from(seen.get(&z).copied().unwrap_or(0));
                    statistic += (found - expected).powi(2) / expected;
                    cells += 1;
                }
            }
            // Mean of chi-squared: its degrees of freedom; standard deviation √(2·degrees).
            let degrees = f64::from(cells);
            assert!(cells > 5 && statistic < degrees + 5.0 * (2.0 * degrees).sqrt(), "{statistic} over {cells}");
        }
    }

    #[test]
    fn no_bytes_no_noise() {
        assert!(discrete_laplace(&mut None, 1, 1).is_err());
        assert!(discrete_laplace(&mut Seeded(1), 0, 1).is_err());
        assert!(discrete_laplace(&mut Seeded(1), 1, 0).is_err());
    }

    #[test]
    fn uniform_below_a_bound() {
        let mut random = Seeded(9);
        for bound in [1u128, 2, 3, 255, 256, 257, 1 << 70] {
            for _ in 0..200 {
                assert!(below(&mut random, bound).unwrap() < bound);
            }
        }
        let mut counts = [0u32; 3];
        (0..30_000).for_each(|_| counts[below(&mut random, 3).unwrap() as usize] += 1);
        assert!(counts.iter().all(|c| (9_600..10_400).contains(c)), "{counts:?}");
    }
}
