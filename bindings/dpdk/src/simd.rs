//! The same code for wider registers: a loop over a burst's arrays, compiled once for the processors that DPDK needs and
//! again for those with AVX2 and AVX-512, chosen at run time. No intrinsics: the compiler vectorises plain loops.

/// A piece of work whose [`Work::run`] is marked `#[inline(always)]`, as is everything in it that is to be vectorised:
/// then it is compiled anew for each kind of processor.
pub trait Work {
    /// What it answers.
    type Output;

    /// Does it.
    fn run(self) -> Self::Output;
}

/// Does the work with the widest registers that this processor has.
#[inline]
pub fn widest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected;
        // The answers are cached by the standard library: each is a load and a test.
        if is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the processor and the system have these extensions (and with them AVX-512F and AVX2).
            return unsafe { with_avx512(work) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
            // SAFETY: as above.
            return unsafe { with_avx2(work) };
        }
    }
    work.run()
}

/// # Safety
/// The processor has these extensions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
unsafe fn with_avx2<W: Work>(work: W) -> W::Output {
    work.run()
}

/// # Safety
/// The processor has these extensions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,avx512f,avx512dq,avx512bw,avx512vl")]
unsafe fn with_avx512<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [u32; 64]);

    impl Work for Sum<'_> {
        type Output = u32;

        #[inline(always)]
        fn run(self) -> u32 {
            self.0.iter().fold(0, |sum, n| sum.wrapping_mul(3).wrapping_add(*n))
        }
    }

    #[test]
    fn the_answer_is_the_same_whatever_the_registers() {
        let numbers = std::array::from_fn(|n| n as u32 * 77);
        assert_eq!(widest(Sum(&numbers)), Sum(&numbers).run());
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
            // SAFETY: just asked.
            assert_eq!(unsafe { with_avx2(Sum(&numbers)) }, Sum(&numbers).run());
        }
    }
}
