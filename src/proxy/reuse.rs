//! Boxes for the one large future of a request, used again for the next: an allocation of that size costs more than all
//! small ones together, as the allocator keeps no list of such.

use std::{
    any::Any,
    cell::{OnceCell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// How many boxes are kept while no request needs them.
const KEPT: usize = 64;

type Boxed<F> = Pin<Box<Option<F>>>;

/// Empty boxes of one thread.
pub(super) struct Boxes<F>(RefCell<Vec<Boxed<F>>>);

/// Where the boxes of a future are kept that has no name.
#[derive(Default)]
pub(super) struct Shelf(OnceCell<Rc<dyn Any>>);

impl Shelf {
    /// The boxes for what `make` makes; it is the same function each time.
    pub(super) fn boxes<R, F: 'static>(&self, _make: fn(R) -> F) -> Rc<Boxes<F>> {
        let shelf = self.0.get_or_init(|| Rc::new(Boxes::<F>(RefCell::default())));
        Rc::clone(shelf).downcast().unwrap_or_else(|_| Rc::new(Boxes(RefCell::default())))
    }
}

impl<F> Boxes<F> {
    /// Puts `future` into a box.
    pub(super) fn hold(self: &Rc<Self>, future: F) -> Held<F> {
        let kept = self.0.borrow_mut().pop();
        let boxed = match kept {
            Some(mut boxed) => {
                boxed.set(Some(future));
                boxed
            }
            None => Box::pin(Some(future)),
        };
        Held { boxed: Some(boxed), boxes: Rc::clone(self) }
    }
}

/// A future in such a box.
pub struct Held<F> {
    boxed: Option<Boxed<F>>,
    boxes: Rc<Boxes<F>>,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.boxed.as_mut().and_then(|boxed| boxed.as_mut().as_pin_mut());
        future.expect("it is in its box until it is dropped").poll(cx)
    }
}

impl<F> Drop for Held<F> {
    fn drop(&mut self) {
        let Some(mut boxed) = self.boxed.take() else { return };
        boxed.set(None);
        let mut kept = self.boxes.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(boxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Shelf};
    use std::{cell::Cell, rc::Rc};

    async fn count(dropped: Rc<Cell<usize>>) -> usize {
        struct Dropped(Rc<Cell<usize>>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Dropped(dropped);
        tokio::task::yield_now().await;
        dropped.0.get()
    }

    #[tokio::test]
    async fn what_was_in_a_box_is_gone_before_the_next_comes() {
        let (shelf, dropped) = (Shelf::default(), Rc::new(Cell::new(0)));
        let boxes = shelf.boxes(count);
        for before in 0..3 {
            let held = boxes.hold(count(Rc::clone(&dropped)));
            assert_eq!(boxes.0.borrow().len(), 0, "the one box is in use");
            assert_eq!(held.await, before);
            assert_eq!((dropped.get(), boxes.0.borrow().len()), (before + 1, 1));
        }
        drop(boxes.hold(count(Rc::clone(&dropped))));
        assert_eq!(Rc::strong_count(&dropped), 1, "one that was never polled is dropped too");
        let again = shelf.boxes(count);
        assert!(Rc::ptr_eq(&boxes, &again));
        drop((0..2 * KEPT).map(|_| boxes.hold(count(Rc::clone(&dropped)))).collect::<Vec<_>>());
        assert_eq!(boxes.0.borrow().len(), KEPT);
    }
}
