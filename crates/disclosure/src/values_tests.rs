use super::*;
use crate::gather::{Gathering, Key, Kind, NOBODY, Values};
use crate::noise::tests::Seeded;
use proptest::prelude::*;

const SUM: Statistic = Statistic::Sum(0);

fn asked(statistic: Statistic) -> Asked {
    Asked { statistic, rounding: None, noise: None }
}

/// Rows of cell, subject and value.
fn gathered(rows: &[(u32, Option<u32>, Option<i64>)]) -> (Vec<Vec<Key>>, Contributions) {
    let mut gathering = Gathering::new(1, &[Kind::Whole, Kind::Real]);
    for part in rows.chunks(3) {
        let mut other = Gathering::new(1, &[Kind::Whole, Kind::Real]);
        let names = other.dimension(0).unwrap();
        let cells: Vec<u32> = part.iter().map(|r| names.number(Key::Integer(i64::from(r.0)))).collect();
        let subjects = other.subjects();
        let subjects: Vec<u32> =
            part.iter().map(|r| r.1.map_or(NOBODY, |s| subjects.number(Key::Text(s.to_string().into())))).collect();
        let whole: Vec<i64> = part.iter().map(|r| r.2.unwrap_or(0)).collect();
        let real: Vec<f64> = whole.iter().map(|v| *v as f64).collect();
        let valid: Vec<bool> = part.iter().map(|r| r.2.is_some()).collect();
        let columns = [Values::whole(&whole, Some(&valid)), Values::real(&real, Some(&valid))];
        other.take(&[cells], &subjects, &columns).unwrap();
        gathering.absorb(other).unwrap();
    }
    gathering.finish()
}

fn cells(units: &[Vec<Key>]) -> Vec<Option<u32>> {
    (0..units.len() as u32).map(Some).collect()
}

fn all(data: &Contributions, asked: &Asked, seed: u64) -> Vec<Option<Number>> {
    let cells: Vec<Option<u32>> = (0..data.units as u32).map(Some).collect();
    let fates = vec![Fate::Released; data.units];
    values(data, &cells, &fates, &vec![0; data.units], asked, &mut Seeded(seed)).unwrap()
}

proptest! {
    /// What is gathered, in parts, is what a plain loop finds.
    #[test]
    fn sums_means_and_subjects_are_those_of_a_plain_loop(
        rows in proptest::collection::vec((0u32..4, proptest::option::of(0u32..5), proptest::option::of(-50i64..50)), 1..40)
    ) {
        let (units, data) = gathered(&rows);
        let (sum, real) = (all(&data, &asked(SUM), 0), all(&data, &asked(Statistic::Sum(1)), 0));
        let (mean, subjects) = (all(&data, &asked(Statistic::Mean(0)), 0), all(&data, &asked(Statistic::Subjects), 0));
        for cell in 0..4u32 {
            let key = Key::Integer(i64::from(cell));
            let inside: Vec<_> = rows.iter().filter(|r| r.0 == cell && r.1.is_some()).collect();
            let Some(at) = units.iter().position(|u| u[0] == key) else { continue };
            let numbers: Vec<i64> = inside.iter().filter_map(|r| r.2).collect();
            let total: i64 = numbers.iter().sum();
            let found = (!numbers.is_empty()).then_some(());
            prop_assert_eq!(sum[at], found.map(|()| Number::Whole(total)));
            prop_assert_eq!(real[at], found.map(|()| Number::Real(total as f64)));
            prop_assert_eq!(mean[at], found.map(|()| Number::Real(total as f64 / numbers.len() as f64)));
            let people: BTreeSet<_> = inside.iter().map(|r| r.1).collect();
            prop_assert_eq!(subjects[at], Some(Number::Whole(people.len() as i64)));
        }
    }

    #[test]
    fn rounding_is_to_the_nearest(value in -10_000i64..10_000, base in 1u64..300) {
        let near = nearest(i128::from(value), base) as i64;
        prop_assert_eq!(near % base as i64, 0);
        prop_assert!((near - value).unsigned_abs() * 2 <= base);
    }

    /// Whatever one subject brings, the steps that the noise is drawn for move by no more than the
    /// bound: taking it out of the data changes all sums of a period together by at most that.
    #[test]
    fn nobody_moves_a_period_by_more_than_the_bound(
        rows in proptest::collection::vec((0u32..4, 0u32..4, -500i64..500), 1..40),
        bound in 1u64..600,
        base in 1u64..20,
    ) {
        prop_assume!(bound >= base);
        let sums = |without: Option<u32>| {
            let rows: Vec<_> = rows.iter().filter(|r| Some(r.1) != without).collect();
            let mut gathering = Gathering::new(1, &[Kind::Whole]);
            (0..4).for_each(|c| { gathering.dimension(0).unwrap().number(Key::Integer(c)); });
            let cells: Vec<u32> = rows.iter().map(|r| r.0).collect();
            let names = gathering.subjects();
            let subjects: Vec<u32> = rows.iter().map(|r| names.number(Key::Integer(i64::from(r.1)))).collect();
            let numbers: Vec<i64> = rows.iter().map(|r| r.2).collect();
            gathering.take(&[cells], &subjects, &[Values::whole(&numbers, None)]).unwrap();
            let (units, data) = gathering.finish();
            let cells: Vec<Option<u32>> = units.iter().map(|u| match u[0] { Key::Integer(c) => Some(c as u32), _ => None }).collect();
            let period = vec![0; units.len()];
            let sums = clipped_sums(&data, &data.columns[0], &cells, 4, &period, bound, base).unwrap();
            let counts = clipped_subjects(&data, &cells, 4, &period);
            let plain = |v: Vec<Option<Number>>| v.into_iter().map(|n| match n { Some(Number::Whole(n)) => n, _ => 0 }).collect::<Vec<i64>>();
            (plain(sums), plain(counts))
        };
        let (all, counted) = sums(None);
        for subject in 0..4 {
            let (without, fewer) = sums(Some(subject));
            let moved: u64 = all.iter().zip(&without).map(|(a, b)| a.abs_diff(*b)).sum();
            prop_assert!(moved <= bound / base);
            let moved: u64 = counted.iter().zip(&fewer).map(|(a, b)| a.abs_diff(*b)).sum();
            prop_assert!(moved <= 1);
        }
    }
}

#[test]
fn a_rounded_sum_is_not_given_away_by_its_mean() {
    let (_, data) = gathered(&[(0, Some(1), Some(44)), (0, Some(2), Some(3))]);
    let blurred = |statistic| Asked { rounding: Some(10), ..asked(statistic) };
    assert_eq!(all(&data, &blurred(SUM), 0), [Some(Number::Whole(50))]);
    assert_eq!(all(&data, &blurred(Statistic::Mean(0)), 0), [Some(Number::Real(25.0))]);
    assert_eq!(all(&data, &blurred(Statistic::Mean(1)), 0), [Some(Number::Real(25.0))]);
    assert_eq!(all(&data, &blurred(Statistic::Subjects), 0), [Some(Number::Whole(0))]);
}

#[test]
fn noise_is_drawn_for_what_is_given_alone() {
    let (units, data) = gathered(&[(0, Some(1), Some(40)), (0, Some(2), Some(30)), (1, Some(3), Some(5))]);
    let noise = Asked { statistic: SUM, rounding: Some(5), noise: Some((500_000, 20)) };
    let mut random = Seeded(4);
    let fates = [Fate::Released, Fate::Few];
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let given = values(&data, &cells(&units), &fates, &[0, 0], &noise, &mut random).unwrap();
        let [Some(Number::Whole(value)), None] = given[..] else { panic!("{given:?}") };
        assert_eq!(value % 5, 0);
        seen.insert(value);
    }
    // 20 from each of the two, and what is drawn around it.
    let mean = seen.iter().sum::<i64>() / seen.len() as i64;
    assert!(seen.len() > 10 && (-60..140).contains(&mean), "{seen:?}");
    let count = Asked { statistic: Statistic::Subjects, rounding: None, noise: Some((500_000, 1)) };
    assert!(all(&data, &count, 7) != all(&data, &count, 8) || all(&data, &count, 7) != all(&data, &count, 9));
    assert!(
        values(&data, &cells(&units), &fates, &[0, 0], &Asked { statistic: Statistic::Mean(0), ..noise }, &mut random)
            .is_err()
    );
}

#[test]
fn a_sum_that_does_not_fit_is_an_error() {
    let (units, data) = gathered(&[(0, Some(1), Some(i64::MAX)), (0, Some(2), Some(i64::MAX))]);
    let refused = values(&data, &cells(&units), &[Fate::Released], &[0], &asked(SUM), &mut Seeded(1));
    assert_eq!(refused.unwrap_err().code, ErrorCode::QueryFailed);
}
