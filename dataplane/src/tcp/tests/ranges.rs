//! Ranges against a plain set of positions.

use crate::tcp::ranges::Ranges;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn ranges_are_a_set(steps in prop::collection::vec((0..60i64, 0..12i64, any::<bool>()), 1..40)) {
        let mut ranges = Ranges::<4>::new();
        let mut model = BTreeSet::new();
        for (start, len, trim) in steps {
            if trim {
                ranges.trim_below(start);
                model.retain(|pos| *pos >= start);
            } else if ranges.insert(start, start + len) {
                model.extend(start..start + len);
            } else {
                prop_assert_eq!(ranges.as_slice().len(), 4);
                prop_assert!((start - 1..=start + len).all(|pos| !model.contains(&pos)));
            }
            let all: Vec<i64> = ranges.as_slice().iter().flat_map(|(start, end)| *start..*end).collect();
            prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
            prop_assert!(ranges.as_slice().windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert_eq!(ranges.total(), model.len() as i64);
            prop_assert_eq!(ranges.below(start), model.range(..start).count() as i64);
            prop_assert_eq!(ranges.end_of(start).is_some(), model.contains(&start));
            prop_assert_eq!(ranges.is_empty(), model.is_empty());
        }
    }
}
