//! A panic is a line of log like any other: where it happened and what it says, without the secrets in use.
//!
//! The standard hook would write to standard error past the scrubber, and past the form of the log.

use std::{any::Any, panic};

/// From now on panics are logged. Logging must have begun.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(thread, place, "panic: {}", message(info.payload()));
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "it says nothing",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        panic,
        sync::{Arc, Mutex},
    };

    use super::{log_panics, message};
    use crate::{
        secret::Secret,
        telemetry::{hide, scrub::Scrubbed},
    };

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_a_line_of_log_without_secrets() {
        hide(&Secret::new("canary-in-a-panic"));
        let written = Written::default();
        let lines = written.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || Scrubbed(lines.clone())).finish();
        let before = panic::take_hook();
        log_panics();
        tracing::subscriber::with_default(subscriber, || {
            panic::catch_unwind(|| panic!("it held {}", "canary-in-a-panic")).unwrap_err();
        });
        panic::set_hook(before);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("panic: it held [hidden]") && text.contains("panics.rs:"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn what_a_panic_says() {
        let said = |work: fn()| message(&*panic::catch_unwind(work).unwrap_err()).to_owned();
        assert_eq!(said(|| panic!("plain")), "plain");
        assert_eq!(said(|| panic!("{} and {}", 1, 2)), "1 and 2");
        assert_eq!(said(|| panic::panic_any(3)), "it says nothing");
    }
}
