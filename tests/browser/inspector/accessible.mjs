// axe-core finds nothing serious in any state of the page, in both themes. On the way it takes the pictures of docs/images.
//
// given.pictures is the folder for pictures, if there are to be any.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, given, inspect, open, paths, row, send, step } from "./inspector.mjs";

const axe = readFileSync(createRequire(join(given.packages, "package.json")).resolve("axe-core/axe.min.js"), "utf8");

await inspect(async (page) => {
  let states = 0;
  const check = async (state, picture, themes = ["light"]) => {
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
      if (given.pictures && picture && themes.includes(colorScheme)) {
        const name = themes.length > 1 ? `${picture}-${colorScheme}` : picture;
        // What was said for a moment is no part of a picture.
        await page.evaluate(() => document.getElementById("toasts").replaceChildren());
        await page.screenshot({ path: join(given.pictures, `inspector-${name}.png`) });
      }
      states += 1;
      step(`${state}, ${colorScheme}`);
    }
  };
  const json = { "content-type": "application/json" };
  await page.getByRole("heading", { name: "Waiting for the first request" }).waitFor();
  await check("empty", "empty");
  await send("/health");
  await send("/orders/1042?expand=items,customer&locale=de-DE", { headers: { accept: "application/json" } });
  await send("/orders/7", { method: "DELETE" });
  await send("/missing");
  await send("/orders", { method: "POST", headers: json, body: '{"customer":"Ada","items":[{"sku":"A-1","count":2}]}' });
  await send("/orders/../admin");
  await send("/invoices", { method: "POST", headers: json, body: '{"order":1042}' });
  const cookies = { accept: "application/json", "x-tenant": "north", "user-agent": "orders-cli/2.1", cookie: "session=0123456789", connection: "close" };
  await send("/orders?limit=20", { headers: cookies });
  await paths(page, 8);
  await page.getByRole("button", { name: "Ask STS" }).click();
  await page.getByText("arn:aws:sts::111122223333:assumed-role/orders-dev/ada").waitFor();
  await check("list and stages", "stages", ["light", "dark"]);
  await page.getByRole("button", { name: "4xx", exact: true }).click();
  await check("filtered");
  await page.getByRole("button", { name: "4xx", exact: true }).click();
  await open(page, "/orders?limit=20");
  await page.locator(".compare").waitFor();
  await check("request", "request", ["light", "dark"]);
  await page.getByRole("tab", { name: "Signature" }).click();
  await page.locator(".steps .part", { hasText: "x-amz-date:" }).focus();
  await check("signature", "signature", ["light", "dark"]);
  await page.getByRole("tab", { name: "Response" }).click();
  await page.getByRole("button", { name: "Raw" }).waitFor();
  await check("response", "response");
  await page.getByRole("tab", { name: "Request" }).click();
  await row(page, "expand=items").click();
  await page.locator("#list [aria-selected=true]", { hasText: "expand=items" }).waitFor();
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await page.locator(".pane-title h2", { hasText: "POST /orders" }).waitFor();
  await page.keyboard.press("e");
  await check("edit and send", "edit");
  await page.keyboard.press("Escape");
  await page.locator("#act-replay").click();
  await check("question");
  await page.keyboard.press("Escape");
  await open(page, "/invoices");
  await page.locator(".card").waitFor();
  await check("diagnosis", "diagnosis", ["light", "dark"]);
  await open(page, "/orders/../admin");
  await check("refusal");
  await page.locator("#list").focus();
  await page.keyboard.press("?");
  await check("help");
  await page.keyboard.press("Escape");
  await page.setViewportSize({ width: 420, height: 800 });
  await check("narrow", "narrow");
  assert.equal(states, 24);
});
