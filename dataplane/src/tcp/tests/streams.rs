//! Streams and their pool against a plain queue.

use crate::tcp::{CHUNK_LEN, ChunkPool, Stream};
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Trim(u64),
    Commit(u64),
    Read(u64, usize),
    /// Bytes ahead of a gap, then the gap.
    Ahead(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..9000usize).prop_map(Step::Append),
        (0..9000u64).prop_map(Step::Trim),
        (0..20_000u64).prop_map(Step::Commit),
        (0..20_000u64, 0..9000usize).prop_map(|(at, len)| Step::Read(at, len)),
        (1..6000u64, 1..5000usize).prop_map(|(gap, len)| Step::Ahead(gap, len)),
    ]
}

fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

fn bytes(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte).collect()
}

proptest! {
    #[test]
    fn a_stream_is_a_queue(start in 0..50_000u64, limit in 1..40_000u32, steps in prop::collection::vec(step(), 1..60)) {
        let mut pool = ChunkPool::new(12);
        let mut stream = Stream::new(start, limit);
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut first = start;
        let mut committed = start;
        for step in steps {
            match step {
                Step::Append(len) => {
                    let end = first + model.len() as u64;
                    let taken = stream.append(&mut pool, &bytes(end, len));
                    let room = u64::from(limit) - model.len() as u64;
                    prop_assert!(taken as u64 <= room.min(len as u64));
                    prop_assert!(taken as u64 == room.min(len as u64) || pool.free_chunks() == 0);
                    model.extend(bytes(end, taken));
                }
                Step::Trim(by) => {
                    stream.trim_to(&mut pool, first + by);
                    let by = (by as usize).min(model.len());
                    model.drain(..by);
                    first += by as u64;
                    committed = committed.max(first);
                }
                Step::Commit(by) => {
                    stream.commit_to(start + by);
                    committed = committed.max((start + by).min(first + model.len() as u64));
                }
                Step::Read(at, len) => {
                    let mut buffer = vec![0; len];
                    let n = stream.copy_to(&pool, first + at, &mut buffer);
                    let expected: Vec<u8> = model.iter().skip(at as usize).take(len).copied().collect();
                    prop_assert_eq!(&buffer[..n], &expected[..]);
                }
                Step::Ahead(gap, len) => {
                    let end = first + model.len() as u64;
                    let ahead = stream.place(&mut pool, end + gap, &bytes(end + gap, len));
                    prop_assert_eq!(stream.end(), end);
                    let filled = stream.append(&mut pool, &bytes(end, gap as usize));
                    model.extend(bytes(end, filled));
                    if filled as u64 == gap {
                        stream.advance_to(end + gap + ahead as u64);
                        model.extend(bytes(end + gap, ahead));
                    }
                }
            }
            prop_assert_eq!((stream.start(), stream.len()), (first, model.len() as u64));
            prop_assert_eq!(stream.committed(), committed);
        }
        let mut all = vec![0; model.len()];
        prop_assert_eq!(stream.copy_to(&pool, first, &mut all), all.len());
        prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        stream.free(&mut pool);
        prop_assert_eq!(pool.free_chunks(), pool.capacity());
    }
}

#[test]
fn an_empty_stream_holds_no_chunk() {
    let mut pool = ChunkPool::new(4);
    let mut stream = Stream::new(100, 10_000);
    assert_eq!(stream.append(&mut pool, &[1; 5000]), 5000);
    assert_eq!(pool.free_chunks(), 2);
    stream.trim_to(&mut pool, CHUNK_LEN as u64);
    assert_eq!(pool.free_chunks(), 3);
    stream.trim_to(&mut pool, 5100);
    assert_eq!(pool.free_chunks(), 4);
}

#[test]
fn the_end_is_one_more_offset_to_commit() {
    let mut pool = ChunkPool::new(4);
    let mut stream = Stream::new(7, 100);
    stream.append(&mut pool, b"abc");
    stream.finish();
    assert_eq!((stream.fin(), stream.room(), stream.commit_target()), (Some(10), 0, 11));
    stream.commit_to(10);
    assert!(!stream.is_fin_committed() && stream.committed() == 10);
    stream.commit_to(99);
    assert!(stream.is_fin_committed() && stream.committed() == 10 && !stream.is_finished());
    stream.trim_to(&mut pool, 99);
    assert!(stream.is_finished() && stream.start() == 10);
    assert_eq!(stream.append(&mut pool, b"more"), 0);
}

#[test]
fn an_exhausted_pool_takes_what_fits_and_recovers() {
    let mut pool = ChunkPool::new(2);
    let (mut one, mut two) = (Stream::new(0, 100_000), Stream::new(0, 100_000));
    assert_eq!(one.append(&mut pool, &[1; 5000]), 5000);
    assert_eq!(two.append(&mut pool, &[2; 10]), 0);
    assert!(pool.is_tight());
    one.trim_to(&mut pool, 4096);
    assert_eq!(two.append(&mut pool, &[2; 10]), 10);
}
