// Everything captured is hostile: markup in methods, paths, queries, headers and bodies, of the client and of the stage,
// is text; nothing of it runs, loads or becomes an element.
import { assert, inspect, open, row, send, step } from "./inspector.mjs";

const MARKUP = `"'><img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>`;

await inspect(async (page) => {
  const headers = { "x-markup": MARKUP, "content-type": `text/html;${MARKUP}`, "x-request-id": `<img/src/onerror=alert(4)>` };
  await send(`/markup/"%3Cimg%20src=x%20onerror=alert(5)%3E{}?q=%3Cscript%3Ealert(6)%3C/script%3E&r=${encodeURIComponent("\u202egnp.exe")}`, { method: "POST", headers, body: `<h1>body</h1>${MARKUP}` });
  await send("/markup-json", { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ [MARKUP]: MARKUP, turned: "\u202egnp.exe" }) });
  for (const target of ["/markup/", "/markup-json"]) {
    await open(page, target);
    for (const view of ["Request", "Signature", "Response"]) {
      await page.getByRole("tab", { name: view }).click();
      const found = await page.evaluate(() => {
        const known = new Set([...document.querySelectorAll("body *")].map((one) => one.localName));
        const handlers = [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes].filter(({ name }) => /^on|^style$|^srcdoc$/.test(name) && !(name === "style" && one.matches(".space, .row, .bar span"))).map(({ name }) => name));
        return { known: [...known], handlers, images: document.images.length, scripts: document.scripts.length, text: document.body.innerText };
      });
      assert.deepEqual([found.handlers, found.images, found.scripts], [[], 0, 1], `${target} ${view}`);
      for (const name of ["img", "script", "iframe", "object", "embed", "base", "form-action"]) assert.ok(!found.known.includes(name), `${name} in ${target} ${view}`);
      assert.equal(found.text.includes("\u202e"), false, "what turns the direction of text is shown by its number");
      if (view !== "Signature") assert.ok(found.text.includes("onerror=alert(1)"), `${view} shows it as text`);
      step(`${target} ${view}`);
    }
  }
  // What the form of "edit and send" starts with, and what asks before it is sent again.
  await page.keyboard.press("e");
  const form = page.getByRole("dialog", { name: "Edit and send" });
  assert.match(await form.getByLabel("Body", { exact: true }).inputValue(), /<img src=x/);
  await page.keyboard.press("Escape");
  await row(page, "/markup/").click();
  await page.locator("#act-replay").click();
  await page.getByRole("dialog", { name: "Send it again?" }).getByRole("button", { name: "Cancel" }).click();
  await page.locator("#text").fill(MARKUP);
  await row(page, "/markup-json").waitFor();
});
