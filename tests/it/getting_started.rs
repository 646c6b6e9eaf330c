//! docs/getting-started.md is true: its commands are run as they stand there, one after the other, and print what the page
//! shows. CloudFormation and API Gateway are ministack's; a TLS front lends it the stage's own name, so that the URL that
//! the stack gives out is called as it is.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, process::Command};

use crate::support::{
    TempDir,
    client::{Ask, Client},
    front::Front,
    ministack::Ministack,
    process::{Address, Ended, Running, listening},
    root,
};

const REGION: &str = "us-west-2";

/// A block of the page: what stands behind its fence, and its text.
#[derive(Debug)]
struct Block {
    kind: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(root().join("docs/getting-started.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            writeln!(text, "{line}").unwrap();
        }
        blocks.push(Block { kind: kind.to_owned(), text });
    }
    blocks
}

/// A person's shell, in a directory of its own.
struct Shell {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Shell {
    fn command(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).env_clear().current_dir(self.home.path());
        command.env("PATH", path).env("HOME", self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, script: &str) -> Ended {
        let ended = Running::spawn(&mut self.command(script)).end();
        assert_eq!(ended.code, Some(0), "{script}\n{ended:?}");
        ended
    }
}

/// Each of the three routes was asked, with what it wants and with less.
fn checked(printed: &str) {
    for (path, with) in [
        ("/auth/api-key", "the API key"),
        ("/auth/iam-sigv4", "the signature"),
        ("/auth/iam-sigv4-and-api-key", "signature and API key"),
    ] {
        let said = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = format!("ok GET {path} 200 with {with}, refused with less");
        assert!(printed.lines().any(|line| said(line) == expected), "{expected}\n{printed}");
    }
    assert!(!printed.contains("fail "), "{printed}");
}

#[test]
fn every_command_of_the_page_does_what_the_page_says() {
    let ministack = Ministack::start_as(&format!("{REGION}.amazonaws.com"));
    let front = Front::start(&[&format!("*.execute-api.{REGION}.amazonaws.com")], ministack.address());
    // The proxy's own ports may be taken here; the page's are read as these.
    let admin = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://{}", ministack.address())),
        ("COUNTERSIGN_CONNECT_TO", front.address().to_string()),
        ("COUNTERSIGN_CA_BUNDLE", front.authority()),
        ("COUNTERSIGN_LISTEN", "127.0.0.1:0".to_owned()),
        ("COUNTERSIGN_ADMIN", admin.to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let shell = Shell { home: TempDir::new(), variables };

    let mut proxy: Option<(Running, String)> = None;
    let (mut answers, mut commands) = (0, 0);
    let (mut checks, mut refused) = (0, 0);
    let mut printed = String::new();
    let (mut stage, mut known) = (String::new(), Vec::<(String, &str)>::new());
    for block in blocks() {
        match block.kind.as_str() {
            "sh" => {
                commands += 1;
                if block.text == "countersign\n" {
                    let running = Running::spawn(&mut shell.command("exec countersign"));
                    let listens = running.find(listening);
                    let listens = listens.unwrap_or_else(|| panic!("the proxy ends: {}", running.output()));
                    let Address::Tcp(address) = listens else { panic!("it listens on a socket file") };
                    proxy = Some((running, address.to_string()));
                    continue;
                }
                let mut script = block.text.replace("localhost:8081", &admin.to_string());
                if let Some((_, address)) = &proxy {
                    script = script.replace("localhost:8080", address);
                }
                printed = shell.run(&script).out;
                match block.text.trim_end() {
                    "countersign check" => {
                        checked(&printed);
                        checks += 1;
                    }
                    calls if calls.starts_with("curl") => calls.lines().for_each(|call| {
                        // Without the proxy it answers 403.
                        let path = call.split_once("localhost:8080").unwrap().1;
                        let asked = format!(
                            "curl -so /dev/null -w '%{{http_code}}' --cacert '{}' --connect-to '::{}' '{stage}{path}'",
                            front.authority(),
                            front.address()
                        );
                        assert_eq!(shell.run(&asked).out.trim_end(), "403", "{path}");
                        refused += 1;
                    }),
                    _ => {}
                }
                answers += printed.matches(r#"{"message": "success"}"#).count();
                if known.is_empty() && printed.contains("ApiGatewayUrl") {
                    let word = |key: &str| {
                        let after = printed.split(key).nth(1).unwrap();
                        after.split_whitespace().next().unwrap().to_owned()
                    };
                    let url = word("ApiGatewayUrl");
                    stage.clone_from(&url);
                    let id = url.trim_start_matches("https://").split('.').next().unwrap().to_owned();
                    let mut capital = id.clone();
                    capital[..1].make_ascii_uppercase();
                    // First, as an id that begins with a digit is its own capital.
                    known = vec![
                        (format!("Invoke{capital}"), "InvokeA1b2c3d4e5"),
                        (id, "a1b2c3d4e5"),
                        (word("ApiKeyId"), "k9l8m7n6o5"),
                        ("000000000000".to_owned(), "111122223333"),
                    ];
                }
            }
            "text" | "json" => {
                for (value, shown) in &known {
                    printed = printed.replace(value, shown);
                }
                assert_eq!(block.text, printed, "what the page shows, and what is printed");
            }
            other => panic!("the page has a block of {other:?}, which nothing here holds true"),
        }
    }
    assert!(commands >= 9, "{commands}: the page's blocks are others now");
    assert_eq!((checks, refused), (1, 3), "it is checked once, and three routes refuse who signs nothing");
    assert_eq!(answers, 4, "three routes, three verified answers, and one without a proxy that runs");
    let (running, _) = proxy.expect("the page starts the proxy");
    running.signal("TERM");

    // As before the first command: no stack.
    let mut client = Client::connect(ministack.address()).unwrap();
    assert_eq!(client.exchange(&Ask::new("GET", "/_ministack/health")).unwrap().status, 200);
    let left = shell.command("countersign stack outputs").output().unwrap();
    assert!(String::from_utf8_lossy(&left.stderr).contains("there is no stack AuthAPIStack"), "{left:?}");
}
