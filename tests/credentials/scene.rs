//! A process, a home directory and a log for each test, and a loopback endpoint that answers with files.

use std::{
    env, fs,
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

/// Part of every secret in this file.
pub const SECRET: &str = "hunter2";

/// What a test has in its own process.
pub struct Scene {
    pub home: PathBuf,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Scene {
    pub fn write(&self, path: &str, text: &str) {
        write(&self.home.join(path), text);
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.home.join(path)).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// Lines of ours that say `text`.
    pub fn said(&self, text: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains("countersign::credentials") && line.contains(text))
            .count()
    }
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // By renaming, as tools that mean it do, so that nobody reads half of it.
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

/// Runs `body` in a process of its own, as the test `name` of this binary, that has only the variables that `prepare` gives, `HOME` and `PATH`.
pub fn scene<F: Future<Output = ()>>(
    name: &str,
    prepare: impl FnOnce(&Path) -> Vec<(&'static str, String)>,
    body: impl FnOnce(Arc<Scene>) -> F,
) {
    const MARK: &str = "COUNTERSIGN_TEST_SCENE";
    if env::var(MARK).is_ok_and(|marked| marked == name) {
        let log = Arc::new(Mutex::new(Vec::new()));
        let scene = Arc::new(Scene { home: env::var("HOME").unwrap().into(), log: Arc::clone(&log) });
        let writer = Arc::clone(&log);
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || Log(Arc::clone(&writer)))
            .init();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(body(Arc::clone(&scene)));
        assert!(!scene.log().contains(SECRET), "a secret was logged:\n{}", scene.log());
        println!("scene played");
        return;
    }
    let home =
        env::temp_dir().join(format!("countersign-{}-{}", name.replace("::", "-"), std::process::id()));
    fs::create_dir_all(&home).unwrap();
    let variables = prepare(&home);
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", &home)
        .env(MARK, name)
        .envs(variables)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && shown.contains("scene played"), "{shown}");
    fs::remove_dir_all(home).unwrap();
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An endpoint on loopback that answers with files: for `PUT /a/b` with `answers/PUT_a_b`, else with `answers/any`.
/// A file's first line is the status; `answers/date` is the `Date` of all, if it is there. Requests are appended to `requests`. It lives as long as the test process.
pub fn endpoint(home: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let home = home.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that goes away is no matter of the test's.
            let _gone = stream.and_then(|stream| answer(stream, &home));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, home: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = head.split(' ');
    let name = format!("{}{}", words.next().unwrap_or(""), words.next().unwrap_or("").replace('/', "_"));
    let mut requests = fs::OpenOptions::new().create(true).append(true).open(home.join("requests"))?;
    writeln!(requests, "{head}{}", String::from_utf8_lossy(&body))?;
    let answers = home.join("answers");
    let text = fs::read_to_string(answers.join(name)).or_else(|_| fs::read_to_string(answers.join("any")));
    let text = text.unwrap_or_else(|_| "404 Not Found\n".to_owned());
    let (status, body) = text.split_once('\n').unwrap_or((&text, ""));
    let date = fs::read_to_string(answers.join("date")).map(|date| format!("date: {date}\r\n"));
    let date = date.unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{date}content-length: {}\r\nconnection: close\r\nx-aws-ec2-metadata-token-ttl-seconds: \
         21600\r\n\r\n{body}",
        body.len()
    )
}
