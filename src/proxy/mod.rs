//! The life of a request, top to bottom: [`chain`] lists the steps in order, one a line, each in a file of its name.
//!
//! `probe > record > cors > refuse > guard > route > lend > sanitize > turn > body > admit > api_key > respond > attempt( identity > sign > forward )`
//!
//! Each step takes the type that the step before it made and makes its own, so a chain in another order does not
//! compile: nothing can be signed before the API key is in, or forwarded before the guard has seen it.
//!
//! | step | in | back |
//! |---|---|---|
//! | `probe` | answers load balancers, where `health_path` is set | |
//! | `record` | starts the clock, names the request | one line of log |
//! | `cors` | whether a page of an allowed origin asks | what lets that page read the answer |
//! | `refuse` | | a refusal of any step becomes the proxy's JSON answer |
//! | `guard` | may this caller borrow the credentials? | |
//! | `route` | the mount picks the stage, the first matching rule what is required | |
//! | `lend` | is this method and path lent out at all? | |
//! | `sanitize` | what a hop must not pass on, and what the proxy owns, goes | |
//! | `turn` | waits for the stage's rate | |
//! | `body` | read whole, hashed as it arrives, inside one budget | |
//! | `admit` | waits for a place among the requests under way | |
//! | `api_key` | `x-api-key` goes in, before signing | |
//! | `respond` | | echoed secrets are masked, `Location` and cookies point back here, the body streams |
//! | `attempt` | decides to send, and to send again | |
//!
//! This module knows no command line and no admin listener; it emits records, and others listen.

mod admit;
mod api_key;
mod attempt;
mod body;
mod cookie;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod decisions;
mod forward;
mod guard;
mod heal;
mod hop_by_hop;
mod identity;
mod inside;
mod lend;
mod live;
mod mend;
mod pattern;
mod peek;
mod peer;
mod places;
mod prepare;
mod probe;
mod quiet;
mod rate;
mod readings;
mod record;
mod refusal;
mod refuse;
mod respond;
mod route;
mod rules;
mod sanitize;
mod sign;
mod spare;
mod stage;
mod step;
mod target;
mod token;
mod turn;
mod unpack;
mod wire_target;

use std::{convert::Infallible, rc::Rc};

use http::Response;
use tower::{Service, ServiceBuilder, layer::layer_fn, service_fn, util::option_layer};

pub use inside::{Closed, Entry, Inside, Signed, Slot};
pub use live::Live;
pub use prepare::{Came, Prepared, Refused, prepare, send};
pub use probe::{Readiness, is_probe};
pub use record::{AnswerOut, Caller, Incoming};
pub use refusal::{Code, Fault, Refusal, reference};
pub use rules::{NotLent, auth_of, is_lent, route_of};
pub use sanitize::OWN_COOKIE;
pub use stage::{Budget, Shared, SharedError};
pub use token::CallerToken;

use step::StepLayer;

/// The chain for one connection that outlives reloads.
pub fn latest(
    live: &Rc<Live>,
) -> impl Service<Incoming, Response = Response<AnswerOut>, Error = Infallible> + use<> {
    live::Latest::new(live, chain)
}

/// The whole chain for one connection; a clone costs a few reference counts.
pub fn chain(
    shared: &Rc<Shared>,
) -> impl Service<Incoming, Response = Response<AnswerOut>, Error = Infallible> + Clone + use<> {
    let (first, door, last) = (Rc::clone(shared), Rc::clone(shared), Rc::clone(shared));
    let tells_id = shared.config().request_id;
    let quiet = Rc::clone(&shared.quiet);
    ServiceBuilder::new()
        // Outside of everything, as a probe is no request. Not there without a path for it.
        .layer(option_layer(probe::layer(shared)))
        // Outside of all that can refuse, so that refusals are recorded too.
        .layer(layer_fn(move |next| record::Record::new(next, &quiet)))
        // Outside of refusals too, since a page that may call is to read them. Not there without allowed origins.
        .layer(option_layer(guard::cors::layer(shared)))
        // Directly inside them: whatever refuses further in is answered here, in one form.
        .layer(layer_fn(move |next| refuse::Refuse::new(next, tells_id)))
        // First of the deciding steps: nothing is looked at, let alone spent, for a caller who may not ask.
        .layer(layer_fn(move |next| guard::Guard::new(next, &first)))
        // Before anything depends on a stage's settings.
        .layer(StepLayer(route::Route::new(shared)))
        // On the path as route found it, and before anything is done for a request that is not lent out.
        .layer(StepLayer(lend::Lend))
        // Before anything of ours goes in, so that what the client names cannot strip it.
        .layer(StepLayer(sanitize::Sanitize::new(shared)))
        // After all that refuses at once, so that only good requests use up a turn; before anything is read for them.
        .layer(layer_fn(turn::Turn::new))
        // Reading is the slow part: only for requests that passed all that can be checked without the body.
        .layer(layer_fn(move |next| body::ReadBody::new(next, &last)))
        // After reading, so that who sends slowly holds no place.
        .layer(layer_fn(move |next| admit::Admit::new(next, &door)))
        // Before signing, so that the key is among the signed headers.
        .layer(StepLayer(api_key::PutApiKey))
        // Next to the sending, so that every answer of the stage passes here and no answer of ours does.
        .layer(layer_fn(respond::Respond::new))
        // Boxed, the only box among the futures: it is the large one, and every layer moves what is inside it.
        .service(service_fn(|request| Box::pin(attempt::attempt(request))))
}
