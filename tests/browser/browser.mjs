// What the scenarios share: the browser, its pages, and one JSON line for each thing that a page tried.
import { createRequire } from "node:module";
import { join } from "node:path";

// An event that is waited for comes long before, also on a busy machine.
const PATIENCE = 60_000;

// The test says where things are: the browser, the packages of tests/setup, and what the scenario needs.
export const given = JSON.parse(process.argv[2]);

/** One line for the test. */
export function tell(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Runs a scenario in a browser of its own, with an empty profile, and ends it whatever happens. */
export async function run(scenario) {
  const { chromium } = createRequire(join(given.packages, "package.json"))("playwright-core");
  const browser = await chromium.launch({
    executablePath: given.browser,
    timeout: PATIENCE,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // Recent versions ask the user before a page of the network may call this machine. Others do not, and it is the
      // proxy that is under test.
      "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
      // Names of the tests lead to this machine, and any other name leads nowhere.
      "--host-resolver-rules=MAP *.test 127.0.0.1, MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
  });
  try {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    context.setDefaultTimeout(PATIENCE);
    context.setDefaultNavigationTimeout(PATIENCE);
    await scenario(context);
  } finally {
    await browser.close();
  }
}

/** Opens an address as the address bar does; what came, or why nothing came. */
export async function open(page, url) {
  const answer = await page.goto(url);
  return { status: answer.status(), text: await answer.text() };
}

/** Calls from within a page; all that the page can tell of the answer. */
export function call(page, url, init = {}) {
  return page.evaluate(
    async ([url, init]) => {
      try {
        const answer = await fetch(url, init);
        const headers = Object.fromEntries(answer.headers);
        return { type: answer.type, status: answer.status, headers, text: await answer.text() };
      } catch {
        return { type: "failed" };
      }
    },
    [url, init],
  );
}
