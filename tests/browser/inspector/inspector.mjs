// What the inspector's scenarios share: the page opened by its link, requests through the proxy, and what the browser
// complained of, which has to be nothing.
//
// given.link opens the page, given.proxy is the proxy's base.
import assert from "node:assert/strict";
import http from "node:http";
import { given, run, tell } from "../browser.mjs";

export { assert, given, tell };

/** Opens the page, runs the scenario, and tells what was checked. */
export function inspect(scenario, options = {}) {
  return run(async (context) => {
    step("browser");
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const page = await watched(context, options);
    step("tab");
    await page.goto(given.link);
    await page.locator("#live[data-state=live]").waitFor();
    step("page");
    assert.equal(new URL(page.url()).search, "", "the token does not stay in the address bar");
    await scenario(page, context);
    assert.deepEqual(await complaints(page), []);
    step("done");
  });
}

let steps = 0;

/** Tells that the scenario has come this far: the test waits for each step by itself. */
export function step(name) {
  tell({ name: `step ${steps}`, saw: name });
  steps += 1;
}

/** A page that keeps what the browser complains of. */
export async function watched(context, { size = { width: 1440, height: 900 }, theme = "light" } = {}) {
  const page = await context.newPage();
  // Sooner than the test gives up, so that it hears why.
  page.setDefaultTimeout(50_000);
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: theme });
  page.complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.complaints.push(`thrown: ${error.message}`));
  page.on("dialog", (dialog) => {
    page.complaints.push(`a dialog of the browser: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const own = new URL(given.link).origin;
    if (!request.url().startsWith(`${own}/`) && !request.url().startsWith("data:")) page.complaints.push(`asked elsewhere: ${request.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  return page;
}

/** What the browser complained of: policy violations, errors, dialogs, requests to others. */
export async function complaints(page) {
  return [...page.complaints, ...(await page.evaluate(() => window.violations))];
}

/** One request through the proxy, as a tool sends it; its status. */
export function send(target, { method = "GET", headers = {}, body } = {}) {
  const { hostname, port } = new URL(given.proxy);
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, method, path: target, headers, agent: false, insecureHTTPParser: true }, (answer) => {
      answer.resume();
      answer.on("error", reject);
      answer.on("end", () => resolve(answer.statusCode));
    });
    request.on("error", reject);
    request.end(body);
  });
}

export const rows = (page) => page.locator("#list .row[data-sequence]");
export const row = (page, text) => rows(page).filter({ hasText: text }).first();

/** Opens the newest request with this text, and waits until it is shown. */
export async function open(page, text) {
  await row(page, text).click();
  await page.locator(".pane-title h2", { hasText: text }).waitFor();
}

/** Waits until so many rows are shown; their paths, newest first. */
export async function paths(page, count) {
  await page.waitForFunction((count) => document.querySelectorAll("#list .row[data-sequence]").length === count, count);
  const all = await rows(page).evaluateAll((found) =>
    found.map((one) => [Number(one.getAttribute("aria-rowindex")), one.querySelector(".path").textContent]),
  );
  return all.sort(([one], [other]) => one - other).map(([, path]) => path);
}
