// Pages try to read, or to cause, anything at the admin address.
//
// given.pages are the pages by name, given.admin the admin address' base.
import { call, given, open, run, tell } from "./browser.mjs";

await run(async (context) => {
  for (const [from, url] of Object.entries(given.pages)) {
    for (const path of ["readyz", "healthz", "metrics"]) {
      const page = await context.newPage();
      await page.goto(url);
      const target = `${given.admin}/${path}`;
      tell({ from, path, name: "fetch", saw: (await call(page, target)).type });
      const post = { method: "POST", mode: "no-cors", body: "x" };
      for (const [name, init] of [["no-cors", { mode: "no-cors" }], ["post", post]]) {
        const came = page.waitForResponse(target);
        const saw = await call(page, target, init);
        tell({ from, path, name, saw: `${saw.type} ${(await came).status()}` });
      }
      const came = page.waitForResponse(target);
      await page.evaluate((url) => location.assign(url), target);
      tell({ from, path, name: "location", saw: String((await came).status()) });
      // A page that is closed while it goes elsewhere may never be closed.
      await page.waitForURL(target);
      await page.close();
    }
  }
  const page = await context.newPage();
  tell({ from: "the address bar", path: "healthz", name: "open", saw: String((await open(page, `${given.admin}/healthz`)).status) });
});
