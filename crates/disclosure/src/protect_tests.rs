use super::*;
use crate::gather::{Amount, Column};
use proptest::prelude::*;

/// Pairs of unit, subject and value.
fn data(units: usize, pairs: &[(u32, u32, i64)]) -> Contributions {
    let amount = |v: i64| Amount { count: 1, sum: i128::from(v), absolute: i128::from(v).abs() };
    Contributions {
        units,
        unit_of: pairs.iter().map(|p| p.0).collect(),
        subject_of: pairs.iter().map(|p| p.1).collect(),
        rows: vec![1; pairs.len()],
        columns: vec![Column::Whole(pairs.iter().map(|p| amount(p.2)).collect())],
    }
}

fn rule(floor: u64, dominance: Option<u32>) -> Rule {
    Rule { floor, dominance, columns: vec![0], subjects: false }
}

fn each(units: usize) -> Vec<Option<u32>> {
    (0..units as u32).map(Some).collect()
}

/// `counts[u]` subjects of value 1 in unit u, all different.
fn crowd(counts: &[u32]) -> Contributions {
    let mut pairs = Vec::new();
    let mut subject = 0;
    for (unit, count) in counts.iter().enumerate() {
        for _ in 0..*count {
            pairs.push((unit as u32, subject, 1));
            subject += 1;
        }
    }
    data(counts.len(), &pairs)
}

use Fate::{Complement, Dominated, Few, Overlap, Released};

#[test]
fn a_group_needs_its_floor_and_no_giant() {
    let fates = protect(&crowd(&[3, 2, 5]), &[], &[each(3)], &rule(3, None)).unwrap();
    assert_eq!(fates, [[Released, Few, Released]]);
    // 100 beside 8, 2 and 2: the second knows the first to within 4 %.
    let giant = data(1, &[(0, 0, 100), (0, 1, 8), (0, 2, 2), (0, 3, -2)]);
    for (percent, fate) in [(3, Released), (4, Released), (5, Dominated)] {
        assert_eq!(protect(&giant, &[], &[each(1)], &rule(3, Some(percent))).unwrap(), [[fate]], "{percent}");
    }
    // One subject in two units of a group is one subject.
    let twice = data(2, &[(0, 0, 1), (1, 0, 1), (0, 1, 1)]);
    assert_eq!(protect(&twice, &[], &[vec![Some(0), Some(0)]], &rule(3, None)).unwrap(), [[Few]]);
}

#[test]
fn a_total_takes_a_second_group_with_it() {
    let all = vec![Some(0), Some(0), Some(0)];
    // Group 1 has too few; the total less the others would be it. The smaller of the two goes.
    let fates = protect(&crowd(&[6, 2, 5]), &[], &[each(3), all.clone()], &rule(3, None)).unwrap();
    assert_eq!(fates, [vec![Released, Few, Complement], vec![Released]]);
    // Two groups that are too small together have enough: nothing else is needed.
    let fates = protect(&crowd(&[6, 2, 2]), &[], &[each(3), all.clone()], &rule(3, None)).unwrap();
    assert_eq!(fates, [vec![Released, Few, Few], vec![Released]]);
    // Without another group, the total is the only one.
    let fates = protect(&crowd(&[6, 2]), &[], &[each(2), vec![Some(0), Some(0)]], &rule(3, None)).unwrap();
    assert_eq!(fates, [vec![Complement, Few], vec![Released]]);
}

#[test]
fn totals_of_totals() {
    // Units 0, 1 in one part, 2, 3 in the other.
    let parts = vec![Some(0), Some(0), Some(1), Some(1)];
    let all = vec![Some(0); 4];
    let fates = protect(&crowd(&[6, 2, 5, 4]), &[], &[each(4), parts, all], &rule(3, None)).unwrap();
    // Unit 0 melts with unit 1 under the part's total; nothing is missing above.
    assert_eq!(fates, [vec![Complement, Few, Released, Released], vec![Released, Released], vec![Released]]);
}

#[test]
fn what_another_table_gave_is_counted_in() {
    // Another table gave the total of units 0 to 2; this one asks for each.
    let total = Family { cells: vec![Some(0), Some(0), Some(0)], columns: vec![0], subjects: false };
    let known = std::slice::from_ref(&total);
    let fates = protect(&crowd(&[6, 2, 5]), known, &[each(3)], &rule(3, None)).unwrap();
    assert_eq!(fates, [[Released, Few, Overlap]]);
    // It gave another measure: no difference can be taken.
    let other = Family { columns: vec![1], ..total.clone() };
    let fates = protect(&crowd(&[6, 2, 5]), &[other], &[each(3)], &rule(3, None)).unwrap();
    assert_eq!(fates, [[Released, Few, Released]]);
    // A crossing table: 0 and 1 in one cell, 1 and 2 in the other.
    let left = Family { cells: vec![Some(0), Some(0), None], columns: vec![0], subjects: false };
    let asked = vec![None, Some(0), Some(0)];
    let fates =
        protect(&crowd(&[6, 2, 5]), std::slice::from_ref(&left), std::slice::from_ref(&asked), &rule(3, None)).unwrap();
    assert_eq!(fates, [[Overlap]]);
    assert_eq!(protect(&crowd(&[6, 3, 5]), &[left], &[asked], &rule(3, None)).unwrap(), [[Released]]);
    // The same cells again give nothing new, also where the floor is higher now.
    let same = Family { cells: each(2), columns: vec![0], subjects: false };
    assert_eq!(
        protect(&crowd(&[6, 5]), std::slice::from_ref(&same), &[each(2)], &rule(5, None)).unwrap(),
        [[Released; 2]]
    );
    assert_eq!(protect(&crowd(&[6, 5]), &[same], &[each(2)], &rule(6, None)).unwrap(), [[Released, Few]]);
}

#[test]
fn numbers_of_subjects_differ_by_none_or_by_enough() {
    // A year of three months; one household moved in after the first.
    let mut pairs = Vec::new();
    for month in 0..3u32 {
        pairs.extend((0..10u32).map(|s| (month, s, 1)));
    }
    pairs.extend([(1, 10, 1), (2, 10, 1)]);
    let data = data(3, &pairs);
    let months = Family { cells: vec![Some(0), Some(1), Some(2)], columns: vec![], subjects: true };
    let counted = Rule { floor: 3, dominance: None, columns: vec![], subjects: true };
    let year = vec![Some(0); 3];
    assert_eq!(
        protect(&data, std::slice::from_ref(&months), std::slice::from_ref(&year), &counted).unwrap(),
        [[Overlap]]
    );
    let same = Family { cells: vec![None, Some(1), Some(2)], ..months };
    assert_eq!(protect(&data, &[same], std::slice::from_ref(&year), &counted).unwrap(), [[Released]]);
    // Within one table, the part goes.
    let fates = protect(&data, &[], &[each(3), year], &counted).unwrap();
    assert_eq!(fates, [vec![Complement, Released, Released], vec![Released]]);
}

#[test]
fn parts_that_do_not_fit_are_an_error() {
    let mut data = crowd(&[2]);
    assert!(protect(&data, &[], &[each(1)], &Rule { columns: vec![7], ..rule(2, None) }).is_err());
    data.unit_of = vec![5, 5];
    assert!(protect(&data, &[], &[each(1)], &rule(2, None)).is_err());
}

/// Rank of a matrix modulo a prime.
fn rank(mut rows: Vec<Vec<i64>>) -> usize {
    const P: i64 = 1_000_003;
    let power = |mut base: i64, mut exponent: i64| {
        let mut result = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result * base % P;
            }
            base = base * base % P;
            exponent >>= 1;
        }
        result
    };
    let columns = rows.first().map_or(0, Vec::len);
    let mut rank = 0;
    for column in 0..columns {
        let Some(pivot) = (rank..rows.len()).find(|r| rows[*r][column] % P != 0) else { continue };
        rows.swap(rank, pivot);
        let inverse = power(rows[rank][column].rem_euclid(P), P - 2);
        for row in rank + 1..rows.len() {
            let factor = rows[row][column].rem_euclid(P) * inverse % P;
            if factor != 0 {
                let above = rows[rank].clone();
                for (value, above) in rows[row].iter_mut().zip(above).skip(column) {
                    *value = (*value - factor * above).rem_euclid(P);
                }
            }
        }
        rank += 1;
    }
    rank
}

/// Can somebody who knows the sums of `cells`, and nothing else, work out a sum of values of
/// fewer than `floor` subjects? They can if the cells' span holds a vector that vanishes outside
/// of so few subjects.
fn singled_out(data: &Contributions, cells: &[Vec<bool>], floor: u64) -> bool {
    let row = |cell: &Vec<bool>, keep: &dyn Fn(u32) -> bool| -> Vec<i64> {
        let of = data.unit_of.iter().zip(&data.subject_of);
        of.filter(|(_, s)| keep(**s)).map(|(u, _)| i64::from(cell[*u as usize])).collect()
    };
    let full = rank(cells.iter().map(|c| row(c, &|_| true)).collect());
    let subjects: BTreeSet<u32> = data.subject_of.iter().copied().collect();
    let subjects: Vec<u32> = subjects.into_iter().collect();
    (1u32..1 << subjects.len()).filter(|set| u64::from(set.count_ones()) < floor).any(|set| {
        let outside = |s: u32| {
            let at = subjects.iter().position(|o| *o == s).unwrap();
            set & (1 << at) == 0
        };
        rank(cells.iter().map(|c| row(c, &outside)).collect()) < full
    })
}

/// A random hierarchy of three levels over units, as cells by unit.
fn levels(units: usize) -> impl Strategy<Value = Vec<Vec<Option<u32>>>> {
    (proptest::collection::vec(0u32..4, units), proptest::collection::vec(0u32..2, 4), 0usize..3, any::<u8>()).prop_map(
        |(fine, coarse, totals, out)| {
            // Some units don't take part: periods released before, say.
            let inside: Vec<bool> = (0..fine.len()).map(|u| u != usize::from(out % 8)).collect();
            let level = |of: &dyn Fn(u32) -> u32| {
                fine.iter().zip(&inside).map(|(cell, inside)| inside.then(|| of(*cell))).collect::<Vec<_>>()
            };
            let all = vec![level(&|c| c), level(&|c| coarse[c as usize]), level(&|_| 0)];
            all.into_iter().take(totals + 1).collect()
        },
    )
}

fn given(levels: &[Vec<Option<u32>>], fates: &[Vec<Fate>]) -> Vec<Family> {
    let family = |(level, fates): (&Vec<Option<u32>>, &Vec<Fate>)| Family {
        cells: level.iter().map(|c| c.filter(|c| fates[*c as usize] == Released)).collect(),
        columns: vec![0],
        subjects: false,
    };
    levels.iter().zip(fates).map(family).collect()
}

fn as_cells(families: &[Family]) -> Vec<Vec<bool>> {
    let mut cells = BTreeSet::new();
    for family in families {
        for cell in family.cells.iter().flatten().copied().collect::<BTreeSet<u32>>() {
            cells.insert(family.cells.iter().map(|c| *c == Some(cell)).collect::<Vec<bool>>());
        }
    }
    cells.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The attacker by linear algebra: several tables, with totals, of several consumers who pool
    /// all that they got. No combination speaks of fewer subjects than the floor, and within each
    /// atom, so within every sum of atoms, no subject dominates.
    #[test]
    fn who_pools_all_tables_singles_nobody_out(
        pairs in proptest::collection::btree_map((0u32..7, 0u32..7), 0i64..100, 4..30),
        tables in proptest::collection::vec(levels(7), 1..4),
        floor in 2u64..4,
        dominance in proptest::option::of(1u32..60),
    ) {
        let pairs: Vec<(u32, u32, i64)> = pairs.into_iter().map(|((u, s), v)| (u, s, v)).collect();
        let data = data(7, &pairs);
        let mut known: Vec<Family> = Vec::new();
        for levels in &tables {
            let fates = protect(&data, &known, levels, &rule(floor, dominance)).unwrap();
            known.extend(given(levels, &fates));
        }
        let cells = as_cells(&known);
        prop_assert!(!singled_out(&data, &cells, floor));
        if let Some(percent) = dominance {
            // Every cell and every difference of two nested cells keeps the p % rule.
            let sums = |cell: &dyn Fn(usize) -> bool| {
                let mut of = BTreeMap::<u32, i64>::new();
                pairs.iter().filter(|p| cell(p.0 as usize)).for_each(|p| *of.entry(p.1).or_default() += p.2);
                let mut of: Vec<i64> = of.into_values().collect();
                of.sort_unstable_by(|a, b| b.cmp(a));
                of
            };
            for a in &cells {
                for b in cells.iter().map(Some).chain([None]) {
                    if b.is_some_and(|b| b == a || b.iter().zip(a).any(|(b, a)| *b && !*a)) {
                        continue;
                    }
                    let left = sums(&|u| a[u] && !b.is_some_and(|b| b[u]));
                    let rest: i64 = left.iter().skip(2).sum();
                    let first = left.first().copied().unwrap_or(0);
                    prop_assert!(rest * 100 >= i64::from(percent) * first, "{left:?}");
                }
            }
        }
    }

    /// The test of the test: without suppression of more than the small cells, a total gives one away.
    #[test]
    fn the_attacker_finds_what_a_total_gives_away(count in 4u32..8) {
        let data = crowd(&[count, 1, count]);
        let cells = vec![vec![true, false, false], vec![false, false, true], vec![true, true, true]];
        prop_assert!(singled_out(&data, &cells, 2));
        prop_assert!(!singled_out(&data, &cells[..2], 2));
    }
}
