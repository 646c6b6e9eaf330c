// The list: what was there before the page, what arrives, filters, pause, clear, keyboard, theme.
import { assert, inspect, open, paths, row, send, step } from "./inspector.mjs";

await send("/before");
await inspect(async (page, context) => {
  assert.deepEqual(await paths(page, 1), ["/before"], "what came before the page was opened is there");
  await send("/live?x=1");
  await row(page, "/live").waitFor();
  await send("/orders", { method: "POST", headers: { "content-type": "text/plain" }, body: "a needle in the body" });
  await send("/missing");
  await send("/%2e%2e/refused");
  await send("/two/other");
  assert.deepEqual(await paths(page, 6), ["/two/other", "/%2e%2e/refused", "/missing", "/orders", "/live?x=1", "/before"]);
  assert.equal(await row(page, "/missing").getAttribute("data-outcome"), "4xx");
  assert.equal(await row(page, "/refused").getAttribute("data-outcome"), "refused");

  // Filters, alone and together.
  const chip = (name) => page.getByRole("button", { name, exact: true });
  await chip("4xx").click();
  assert.deepEqual(await paths(page, 1), ["/missing"]);
  await chip("refused").click();
  assert.deepEqual(await paths(page, 2), ["/%2e%2e/refused", "/missing"]);
  assert.equal(await page.locator("#count").textContent(), "2 of 6");
  await chip("4xx").click();
  await chip("refused").click();
  await page.locator("#method").selectOption("POST");
  assert.deepEqual(await paths(page, 1), ["/orders"]);
  await page.locator("#method").selectOption("");
  await page.locator("#stage").selectOption("two");
  assert.deepEqual(await paths(page, 1), ["/two/other"]);
  await page.locator("#stage").selectOption("");
  await page.keyboard.press("/");
  await page.keyboard.type("LIVE");
  assert.deepEqual(await paths(page, 1), ["/live?x=1"]);
  // Only the body of it holds this, which the API looks through; also when it comes while the filter is set.
  await page.locator("#text").fill("a needle");
  assert.deepEqual(await paths(page, 1), ["/orders"]);
  await send("/late", { method: "PUT", body: "another needle: a needle" });
  assert.deepEqual(await paths(page, 2), ["/late", "/orders"]);
  await page.locator("#text").fill("nothing has this");
  await page.getByRole("heading", { name: "No request matches" }).waitFor();
  await page.getByRole("button", { name: "Show all" }).click();
  await paths(page, 7);

  step("filtered");

  // Held back while paused.
  await page.locator("#list").focus();
  await page.keyboard.press("p");
  await send("/held");
  await page.getByRole("button", { name: "Resume (1)" }).waitFor();
  assert.equal(await row(page, "/held").count(), 0);
  await page.keyboard.press("p");
  assert.equal((await paths(page, 8))[0], "/held");

  // The keyboard.
  const selected = () => page.locator("#list [aria-selected=true] .path").textContent();
  await page.keyboard.press("j");
  assert.equal(await selected(), "/held");
  await page.locator(".pane-title h2", { hasText: "/held" }).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("j");
  assert.equal(await selected(), "/two/other");
  await page.keyboard.press("k");
  assert.equal(await selected(), "/late");
  await page.keyboard.press("G");
  assert.equal(await selected(), "/before");
  const active = await page.locator("#list").getAttribute("aria-activedescendant");
  assert.equal(await page.locator(`#${active} .path`).textContent(), "/before");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.id === "detail");
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.activeElement?.id === "list");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.getByRole("heading", { name: "Stages and credentials" }).waitFor();

  step("keyboard");

  // Dark and light, remembered.
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.keyboard.press("t");
  assert.equal(await ground(), light);
  await page.reload();
  await paths(page, 8);
  assert.equal(await ground(), light);

  // Cleared here and in countersign, for every page that is open.
  const other = await context.newPage();
  await other.goto(page.url());
  await open(other, "/late");
  await page.getByRole("button", { name: "Clear" }).click();
  for (const one of [page, other]) {
    await one.getByRole("heading", { name: "Waiting for the first request" }).waitFor();
    assert.deepEqual(await paths(one, 0), []);
  }
  const command = await page.locator(".sample code").textContent();
  assert.match(command, /^curl -i http:\/\/127\.0\.0\.1:\d+\/$/);
});
