//! The layers become one [`Config`], or the list of every mistake.
//!
//! Precedence: flag, variable, file, default. Each setting is by itself already right here (see `values.rs`); what is
//! checked now is whether it is safe and whether settings go together. A setting that was found wrong before counts as
//! set: what only follows from an earlier mistake is not reported.

use std::{collections::BTreeSet, net::IpAddr};

use confique::{Config as _, Layer as _};

use super::{
    Config, Error, Given, Guard, Inspector, Limits, Listen, Log,
    error::{Kind, Mistake, Place, Problem, nearest},
    file::{self, File, Map},
    given::{API_KEY_VARIABLE, TOKEN_VARIABLE, all_args, flag_of, variable_of},
    permissions,
    settings::{Settings, SettingsLayer},
};

/// Reads the file, if there is one, and puts everything together.
///
/// # Errors
/// Everything that is wrong with flags, variables and file, in one list.
pub fn load(given: &Given) -> Result<Config, Error> {
    let named = given.flags.config.as_ref().or(given.variables.config.as_ref());
    let path = named.or_else(|| given.default_files.iter().find(|path| path.exists()));
    let file = match path.map(|path| file::read(path)).transpose() {
        Ok(file) => file,
        Err(problems) => return Err(Error::new(given.problems.iter().cloned().chain(problems).collect())),
    };
    let has_secret = file.as_ref().is_some_and(File::has_secret);
    let mut config = resolve(given, file)?;
    config.file = path.cloned();
    config.exposed = permissions::exposed(&config, has_secret);
    if config.strict && !config.exposed.is_empty() {
        return Err(Error::new(config.exposed.into_iter().map(Problem::from).collect()));
    }
    Ok(config)
}

/// As [`load`] when the file at `path` holds `text`; nothing is read.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn load_text(given: &Given, path: &std::path::Path, text: &str) -> Result<Config, Error> {
    resolve(given, Some(file::parse(path, text).map_err(Error::new)?))
}

pub(super) fn resolve(given: &Given, file: Option<File>) -> Result<Config, Error> {
    let mut problems = given.problems.clone();
    let (file_layer, map) = match file {
        Some(file) => {
            problems.extend(file.problems);
            (file.layer, Some(file.map))
        }
        None => (SettingsLayer::empty(), None),
    };
    let mut resolver = Resolver { given, map, broken: broken(&problems), problems };
    let layers = [given.flags.settings.clone(), given.variables.settings.clone(), file_layer];
    let [flags, variables, file_layer] = resolver.one_source_of_token(layers);
    let layer = flags.with_fallback(variables).with_fallback(file_layer);
    let settings = Settings::from_layer(layer.with_fallback(SettingsLayer::default_values()))
        .expect("every setting has a default or is optional");

    let token = resolver.guard(&settings);
    resolver.listeners(&settings, token.is_some());
    resolver.limits(&settings);
    resolver.log(&settings);
    resolver.inspector(&settings);
    let stages = resolver.stages(&settings.stage);
    if !resolver.problems.is_empty() {
        return Err(Error::new(resolver.problems));
    }
    let limits = &settings.limits;
    Ok(Config {
        listen: settings.listen,
        admin: settings.admin.0,
        metrics: settings.metrics && settings.admin.0.is_some(),
        admin_quit: settings.admin_quit,
        health_path: settings.health_path.map(|path| path.0),
        request_id: settings.request_id,
        unix_mode: settings.unix_mode.0,
        strict: settings.strict,
        exposed: Vec::new(),
        tls: settings.tls,
        workers: settings.workers.0,
        guard: Guard {
            allowed_hosts: settings.guard.allowed_hosts.into_iter().map(|host| host.0).collect(),
            allowed_origins: settings.guard.allowed_origins.into_iter().map(|origin| origin.0).collect(),
            token,
            allowed_uids: settings.guard.allowed_uids.into_iter().map(|uid| uid.0).collect(),
        },
        limits: Limits {
            max_body: limits.max_body.0,
            max_buffered: limits.max_buffered.0,
            buffer_wait: limits.buffer_wait.0,
            max_connections: limits.max_connections.0.get(),
            max_in_flight: limits.max_in_flight.0.get(),
            in_flight_wait: limits.in_flight_wait.0,
            header_timeout: limits.header_timeout.0,
            body_timeout: limits.body_timeout.0,
            min_body_rate: limits.min_body_rate.0,
            idle_timeout: limits.idle_timeout.0,
            write_timeout: limits.write_timeout.0,
            drain_delay: limits.drain_delay.0,
            drain_timeout: limits.drain_timeout.0,
        },
        inspector: Inspector {
            enabled: settings.inspector.enabled && settings.admin.0.is_some(),
            from_start: settings.inspector.from_start,
            bodies: settings.inspector.bodies,
            max_body: settings.inspector.max_body.0,
            buffer: settings.inspector.buffer.0,
        },
        log: Log {
            format: settings.log.format,
            filter: settings.log.filter,
            access: settings.log.access,
            failed: settings.log.failed,
            show: settings.log.show,
            quiet: settings.log.quiet,
            sample: settings.log.sample.0,
        },
        otlp: settings.otlp.endpoint,
        stages,
        file: None,
    })
}

/// The keys that are found wrong already; a mistyped key counts as the one that was meant.
fn broken(problems: &[Problem]) -> BTreeSet<String> {
    let meant = problems.iter().filter_map(|problem| {
        let name = problem.mistake.nearest.as_ref().filter(|_| problem.kind == Kind::UnknownKey)?;
        let section = problem.key.rfind('.').map_or("", |at| &problem.key[..=at]);
        Some(format!("{section}{name}"))
    });
    problems.iter().map(|problem| problem.key.clone()).chain(meant).collect()
}

/// Collects problems, and knows where each setting was written.
pub(super) struct Resolver<'a> {
    pub(super) given: &'a Given,
    pub(super) map: Option<Map>,
    pub(super) problems: Vec<Problem>,
    broken: BTreeSet<String>,
}

impl Resolver<'_> {
    pub(super) fn report(&mut self, kind: Kind, place: Place, key: &str, mistake: Mistake) {
        self.problems.push(Problem { kind, place, key: key.to_owned(), mistake });
    }

    /// Whether this key, a section around it or something in it was found wrong before.
    pub(super) fn is_broken(&self, key: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.broken.iter().any(|known| within(known, key) || within(key, known))
    }

    /// Where a setting outside the stages comes from.
    pub(super) fn place(&self, key: &str) -> Place {
        self.argument(key).unwrap_or_else(|| match &self.map {
            Some(map) if map.has(key) => map.find(key).unwrap_or(Place::Nowhere),
            _ => Place::Nowhere,
        })
    }

    /// The flag or variable that sets this argument.
    pub(super) fn argument(&self, id: &str) -> Option<Place> {
        let is_flag = self.given.flags.set.contains(id);
        if !is_flag && !self.given.variables.set.contains(id) {
            return None;
        }
        let all = all_args();
        let arg = all.get_arguments().find(|arg| arg.get_id() == id);
        match arg {
            Some(arg) if is_flag => Some(Place::Flag(flag_of(arg))),
            Some(arg) => variable_of(arg).map(Place::Variable),
            None => {
                let variable = if id.starts_with("guard.") { TOKEN_VARIABLE } else { API_KEY_VARIABLE };
                Some(Place::Variable(variable.to_owned()))
            }
        }
    }

    fn listeners(&mut self, settings: &Settings, has_token: bool) {
        if settings.listen.is_empty() && !self.is_broken("listen") {
            let mistake =
                Mistake::new("there is no address to listen on").fix("leave it out for 127.0.0.1:8080");
            self.report(Kind::Missing, self.place("listen"), "listen", mistake);
        }
        let tcp = settings.listen.iter().filter_map(|listen| match listen {
            Listen::Tcp(address) => Some(("listen", *address)),
            Listen::Unix(_) => None,
        });
        let addresses: Vec<_> = tcp.chain(settings.admin.0.map(|address| ("admin", address))).collect();
        for (i, &(key, address)) in addresses.iter().enumerate() {
            let ip = address.ip().to_canonical();
            if !ip.is_loopback() {
                self.remote(settings, key, address, has_token);
            }
            let taken = addresses[..i].iter().find(|(_, other)| {
                let wide = |ip: IpAddr| ip.is_unspecified();
                let other_ip = other.ip().to_canonical();
                address.port() != 0
                    && address.port() == other.port()
                    && (ip == other_ip || wide(address.ip()) || wide(other.ip()))
            });
            if let Some((other_key, other)) = taken {
                let mistake = Mistake::new(format!("{address} and {other} ({other_key}) take the same port"))
                    .fix("give each its own port");
                self.report(Kind::Conflict, self.place(key), key, mistake);
            }
        }
        let sockets: Vec<_> =
            settings.listen.iter().filter(|listen| matches!(listen, Listen::Unix(_))).collect();
        for (i, socket) in sockets.iter().enumerate() {
            if sockets[..i].contains(socket) {
                let mistake = Mistake::new("the same Unix socket is named twice");
                self.report(Kind::Conflict, self.place("listen"), "listen", mistake);
            }
        }
    }

    fn limits(&mut self, settings: &Settings) {
        /// Beyond this a body's length would not fit where it is counted, and no service takes it.
        const LARGEST_BODY: u64 = 4 << 30;
        /// Far more than any machine has use for.
        const MOST_WORKERS: usize = 1024;

        let limits = &settings.limits;
        if limits.max_body.0 >= LARGEST_BODY {
            let mistake = Mistake::new("a body may not be that large").fix("API Gateway takes \"10MiB\"");
            self.report(Kind::Value, self.place("limits.max_body"), "limits.max_body", mistake);
        } else if limits.max_buffered.0 < limits.max_body.0
            && !self.is_broken("limits.max_buffered")
            && !self.is_broken("limits.max_body")
        {
            let mistake = Mistake::new("one body of max_body does not fit into max_buffered")
                .fix("make max_buffered at least as large as max_body");
            let key = match self.place("limits.max_buffered") {
                Place::Nowhere => "limits.max_body",
                _ => "limits.max_buffered",
            };
            self.report(Kind::Conflict, self.place(key), key, mistake);
        }
        if settings.workers.0.get() > MOST_WORKERS {
            let mistake = Mistake::new(format!("{} workers are too many", settings.workers.0))
                .fix("one serves thousands of requests a second; more than the machine's cores help nobody");
            self.report(Kind::Value, self.place("workers"), "workers", mistake);
        }
    }

    fn inspector(&mut self, settings: &Settings) {
        let inspector = &settings.inspector;
        let known = self.is_broken("inspector.max_body") || self.is_broken("inspector.buffer");
        if inspector.buffer.0 < inspector.max_body.0 && !known {
            let mistake = Mistake::new("one body of inspector.max_body does not fit into inspector.buffer")
                .fix("make buffer larger than max_body");
            let key = match self.place("inspector.buffer") {
                Place::Nowhere => "inspector.max_body",
                _ => "inspector.buffer",
            };
            self.report(Kind::Conflict, self.place(key), key, mistake);
        }
    }

    fn log(&mut self, settings: &Settings) {
        let filter = &settings.log.filter;
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        // A word that is no level would be taken as a module's name, and the log would fall silent.
        let mistyped = filter.split(',').map(str::trim).find_map(|part| {
            let bare =
                !part.contains(['=', '[', ':']) && !levels.contains(&part.to_ascii_lowercase().as_str());
            bare.then(|| nearest(part, levels.into_iter())).flatten().map(|level| (part.to_owned(), level))
        });
        let mistake = match mistyped {
            Some((part, level)) => Mistake::new(format!("{part:?} is not a level of logging")).nearest(level),
            None => match filter.parse::<tracing_subscriber::filter::Targets>() {
                Ok(_) => return,
                Err(error) => Mistake::new(format!("{filter:?} is not a filter: {error}"))
                    .fix("write a level, or targets with levels: \"info\", \"warn,countersign=debug\""),
            },
        };
        self.report(Kind::Value, self.place("log.filter"), "log.filter", mistake);
    }
}
