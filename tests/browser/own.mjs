// The user types the proxy's address; what comes from the stage is a page, which calls the stage again.
//
// given.proxy is the proxy's base.
import { call, given, open, run, tell } from "./browser.mjs";

await run(async (context) => {
  const page = await context.newPage();
  const { status, text } = await open(page, `${given.proxy}/own/page`);
  tell({ name: "page", saw: { status, text } });
  tell({ name: "get", saw: await call(page, "/own/get") });
  const headers = { "content-type": "application/json", "x-tenant": "a" };
  tell({ name: "post", saw: await call(page, "/own/post", { method: "POST", headers, body: "{}" }) });
  for (const name of ["form", "link"]) {
    const came = page.waitForResponse((answer) => answer.url().endsWith(`/own/${name}`));
    await page.click(`#${name}`);
    tell({ name, saw: { status: (await came).status() } });
    await page.goto(`${given.proxy}/own/page`);
  }
  await page.reload();
  tell({ name: "reload", saw: { status: 200, title: await page.title() } });
});
