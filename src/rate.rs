//! How fast one client may send messages (`MAX_MESSAGES_PER_SECOND`). Pure; the clock comes in as milliseconds.

/// One client's allowance, as the generic cell rate algorithm keeps it: the time at which it would be whole again.
/// A second's worth may be used at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowance {
    whole_at_us: u64,
}

impl Allowance {
    /// Takes one message off. `Err` holds the whole seconds after which there is room again.
    ///
    /// # Errors
    /// When the client has sent more than `per_second` messages in a second. `per_second` = 0 allows any rate.
    pub fn take(&mut self, per_second: u32, now_us: u64) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let one_us = 1_000_000 / u64::from(per_second).min(1_000_000);
        let whole_at_us = self.whole_at_us.max(now_us) + one_us;
        match (whole_at_us - now_us).checked_sub(1_000_000) {
            Some(over_us @ 1..) => Err(over_us.div_ceil(1_000_000)),
            _ => {
                self.whole_at_us = whole_at_us;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_at_once_then_the_rate() {
        let mut allowance = Allowance::default();
        let now_us = 5_000_000;
        for _ in 0..10 {
            assert_eq!(allowance.take(10, now_us), Ok(()));
        }
        assert_eq!(allowance.take(10, now_us), Err(1));
        assert_eq!(allowance.take(10, now_us + 100_000), Ok(()));
        assert_eq!(allowance.take(10, now_us + 100_000), Err(1));
        assert_eq!(allowance.take(10, now_us + 10_000_000), Ok(()));
        assert_eq!(Allowance::default().take(0, 0), Ok(()));
    }
}
