// axe-core finds nothing serious in any state of the page, in both themes.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, given, inspect, open, paths, send, step } from "./inspector.mjs";

const axe = readFileSync(createRequire(join(given.packages, "package.json")).resolve("axe-core/axe.min.js"), "utf8");

await inspect(async (page) => {
  let states = 0;
  const check = async (state) => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      // By the debugger, which the page's policy does not bind.
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      assert.ok(passes.length > 5, "axe has looked at the page");
      const found = violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("; ")}`);
      assert.deepEqual(found, [], `${state}, ${colorScheme}`);
      states += 1;
      step(`${state}, ${colorScheme}`);
    }
  };
  await page.getByRole("heading", { name: "Waiting for the first request" }).waitFor();
  await check("empty");
  await send("/json?a=1", { method: "POST", headers: { "content-type": "application/json" }, body: '{"a":[1,"b",null]}' });
  await send("/missing");
  await send("/changed", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  await send("/a/../b");
  await paths(page, 4);
  await check("list and stages");
  await page.getByRole("button", { name: "4xx", exact: true }).click();
  await check("filtered");
  await page.getByRole("button", { name: "4xx", exact: true }).click();
  await open(page, "/json");
  await page.getByRole("button", { name: "Raw" }).waitFor();
  await check("request");
  await page.getByRole("tab", { name: "Signature" }).click();
  await page.locator(".steps .part").nth(3).focus();
  await check("signature");
  await page.getByRole("tab", { name: "Response" }).click();
  await check("response");
  await page.getByRole("tab", { name: "Request" }).click();
  await page.keyboard.press("e");
  await check("edit and send");
  await page.keyboard.press("Escape");
  await page.locator("#act-replay").click();
  await check("question");
  await page.keyboard.press("Escape");
  await open(page, "/changed");
  await page.locator(".card").waitFor();
  await check("diagnosis");
  await open(page, "/a/../b");
  await check("refusal");
  await page.locator("#list").focus();
  await page.keyboard.press("?");
  await check("help");
  await page.keyboard.press("Escape");
  await page.setViewportSize({ width: 420, height: 800 });
  await check("narrow");
  assert.equal(states, 24);
});
