//! Which requests that went well are written down.

use std::cell::Cell;

/// Whether a request is written down when all goes well. One that fails always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lines {
    /// Each.
    #[default]
    All,
    /// So many of 2^32, evenly spread over the requests of a thread.
    Share(u32),
    /// None.
    None,
}

thread_local! {
    /// How far the thread is on the way from one line to the next.
    static AT: Cell<u32> = const { Cell::new(0) };
}

impl Lines {
    /// A share of 0 to 1.
    #[must_use]
    pub fn of(share: f64) -> Self {
        if share >= 1.0 {
            return Self::All;
        }
        // Rounded up, so that a tenth is one of ten and not one of eleven; a conversion keeps within bounds by itself.
        #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
        match (share * 4_294_967_296.0).ceil() as u32 {
            0 => Self::None,
            share => Self::Share(share),
        }
    }

    /// Whether this request is one of them; each that asks counts.
    pub(super) fn has_this_one(self) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Share(share) => {
                let at = AT.get();
                AT.set(at.wrapping_add(share));
                at < share
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AT, Lines};

    #[test]
    fn a_share_is_spread_evenly() {
        for (share, every) in [(0.1, 10), (0.25, 4), (0.5, 2), (1.0 / 3.0, 3)] {
            AT.set(0);
            let lines = Lines::of(share);
            let written: Vec<_> = (0..1000).filter(|_| lines.has_this_one()).collect();
            let expected: Vec<_> = (0..1000).step_by(every).collect();
            assert_eq!(written, expected, "{share}");
        }
        AT.set(0);
        let lines = Lines::of(0.3);
        assert_eq!((0..1000).filter(|_| lines.has_this_one()).count(), 300);
        assert_eq!((Lines::of(1.0), Lines::of(0.0)), (Lines::All, Lines::None));
        assert!((0..100).all(|_| Lines::All.has_this_one() && !Lines::None.has_this_one()));
    }
}
