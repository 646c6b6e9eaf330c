// Without the link there is nothing to be seen, and a link of another run opens nothing. When countersign goes, the page
// says so.
//
// given.admin is the admin address' base.
import { assert, complaints, given, step, watched } from "./inspector.mjs";
import { run } from "../browser.mjs";

await run(async (context) => {
  step("browser");
  const page = await watched(context);
  for (const path of ["/", "/?token=", "/?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]) {
    const answer = await page.goto(`${given.admin}${path}`);
    assert.equal(answer.status(), 401, path);
    await page.getByRole("heading", { name: "The inspector is locked" }).waitFor();
    assert.deepEqual(await context.cookies(), [], path);
  }
  const tried = await page.evaluate(async () => {
    const calls = [["exchanges"], ["state"], ["har"], ["events"], ["exchanges", "DELETE"], ["send", "POST"], ["login", "POST"]];
    const seen = [];
    for (const [path, method] of calls) {
      const answer = await fetch(`/api/${path}`, { method: method ?? "GET", headers: { "x-countersign-inspector": "1" } });
      seen.push(`${answer.status} ${(await answer.json()).error}`);
    }
    return [...new Set(seen)];
  });
  assert.deepEqual(tried, ["401 inspector-token"]);
  // The browser writes each answer of 401 to its console; there is nothing else.
  assert.deepEqual((await complaints(page)).filter((one) => !one.includes("401")), []);

  const opened = await watched(context);
  await opened.goto(given.link);
  await opened.locator("#live[data-state=live]").waitFor();
  const [cookie] = await context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
  assert.equal(await opened.evaluate(() => document.cookie), "");
  step("open");
  await opened.locator("#live[data-state=cut]").waitFor();
  await opened.getByRole("alert").getByRole("button", { name: "Try now" }).waitFor();
  step("done");
});
