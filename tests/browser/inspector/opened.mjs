// One request opened: both sides, the signature step by step, the response, timing, the stages; and all that the page
// shows and was told, for the test to look for secrets.
import { assert, inspect, open, send, step, tell } from "./inspector.mjs";

await inspect(async (page) => {
  const told = [];
  page.on("response", async (answer) => {
    if (answer.url().includes("/api/exchanges") || answer.url().endsWith("/api/state")) told.push(await answer.text().catch(() => ""));
  });
  const shown = [];
  const keep = async () => shown.push(await page.content());
  const headers = { "content-type": "application/json", "x-own": "kept", "x-api-key": "of the client's own", connection: "close", cookie: "session=of the client" };
  await send("/json?b=2&a=1", { method: "POST", headers, body: '{"big":12345678901234567890,"list":[1,{"a":null}]}' });
  await open(page, "/json");

  // What came in and what went out.
  const line = (name, change) => page.locator(`.compare tr.${change}`, { hasText: `${name}: ` });
  for (const name of ["authorization", "x-amz-date", "x-amz-security-token"]) await line(name, "added").waitFor();
  for (const name of ["host", "x-api-key"]) await line(name, "replaced").waitFor();
  await line("connection", "removed").waitFor();
  for (const name of ["x-own", "content-type"]) await line(name, "same").waitFor();
  assert.match(await line("x-api-key", "replaced").textContent(), /•.*characters.*•.*characters/s);
  const [left, right] = await page.locator(".compare tr.start td").allTextContents();
  assert.match(left, /^POST \/json\?b=2&a=1 HTTP\/1\.1/);
  assert.match(right, /^POST https:\/\/.*\/prod\/json\?b=2&a=1$/);
  await page.getByLabel("Only changes").check();
  assert.equal(await line("x-own", "same").isVisible(), false);
  // A number that no double holds is shown as it was sent.
  assert.match(await page.locator(".body pre").textContent(), /"big": 12345678901234567890,\n {2}"list": \[\n {4}1,/);
  await page.getByRole("button", { name: "Raw" }).click();
  assert.match(await page.locator(".body pre").textContent(), /^\{"big":1/);
  await page.locator(".timing .bar span").first().waitFor();
  await keep();

  step("request");

  // The signature: a part that is pointed at, or has the focus, lights up where it comes from.
  await page.getByRole("tab", { name: "Signature" }).click();
  const lit = () => page.locator(".sources .lit").allTextContents();
  const part = (text) => page.locator(".steps .part", { hasText: text }).first();
  for (const [text, source] of [
    [/^POST$/, /^POST$/],
    [/^\/prod\/json$/, /^\/prod\/json$/],
    [/^a=1&b=2$/, /^\?b=2&a=1$/],
    [/^content-type:application\/json$/, /^content-typeapplication\/json$/],
    [/^x-amz-date:/, /^x-amz-date\d{8}T/],
    [/^[0-9a-f]{64}$/, /^body /],
  ]) {
    await part(text).focus();
    const found = await lit();
    assert.equal(found.length, 1, `${text} has one source, not ${found}`);
    assert.match(found[0], source);
  }
  await part(/^x-amz-date:/).hover();
  assert.match((await lit())[0], /^x-amz-date/);
  const hash = await page.locator(".steps .result [data-link=canonical]").textContent();
  assert.ok((await page.locator(".steps > li").nth(1).textContent()).includes(hash), "the string to sign ends with the canonical request's hash");
  assert.deepEqual(await page.locator(".steps > li h3").allTextContents(), ["Canonical request", "String to sign", "Credential scope", "Signing key", "Signature"]);
  assert.match(await page.locator(".scope").textContent(), /us-west-2.*execute-api.*aws4_request/s);
  assert.equal(await page.locator(".derivation .part-row").count(), 4, "the key, step by step");
  await keep();

  step("signature");

  // The response, by keyboard.
  await page.locator("#list").focus();
  await page.keyboard.press("3");
  await page.locator(".status-line", { hasText: "from the stage" }).waitFor();
  assert.match(await page.locator(".body pre").textContent(), /\{\n {2}"message": "success"\n\}/);
  await keep();

  // Commands.
  await page.keyboard.press("c");
  await page.locator(".toast", { hasText: "curl command copied" }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(command, /^curl /);
  assert.ok(command.includes("/json?b=2&a=1"));
  await page.locator("#act-signed-curl").click();
  await page.getByRole("dialog", { name: "Copy a signed command?" }).getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command, "nothing was signed without a yes");

  step("response");

  // The stages.
  await page.keyboard.press("s");
  const panel = page.locator(".stage-card").first();
  await panel.waitFor();
  const text = await panel.textContent();
  for (const word of ["us-west-2", "execute-api", "…MPLE", "/open", "none", "iam+api-key", "fetched"]) assert.ok(text.includes(word), `${word} in ${text}`);
  await keep();
  tell({ name: "shown", saw: shown });
  assert.ok(told.length > 1);
  tell({ name: "told", saw: told });
});
