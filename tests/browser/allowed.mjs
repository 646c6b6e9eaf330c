// A page that is in guard.allowed_origins calls the stage, and a page that is not tries to.
//
// given.app is a page of the allowed origin, given.other one of another, given.proxy the proxy's base.
import { call, given, run, tell } from "./browser.mjs";

await run(async (context) => {
  const page = await context.newPage();
  await page.goto(given.app);
  const at = (path) => `${given.proxy}/app/${path}`;
  tell({ name: "get", saw: await call(page, at("get")) });
  const headers = { "content-type": "application/json", "x-tenant": "a" };
  tell({ name: "post", saw: await call(page, at("post"), { method: "POST", headers, body: '{"a":1}' }) });
  tell({ name: "delete", saw: await call(page, at("delete"), { method: "DELETE" }) });
  tell({ name: "login", saw: await call(page, at("login"), { method: "POST", credentials: "include" }) });
  tell({ name: "with-cookie", saw: await call(page, at("with-cookie"), { credentials: "include" }) });
  tell({ name: "without-cookie", saw: await call(page, at("without-cookie"), { credentials: "omit" }) });
  tell({ name: "refused", saw: await call(page, at("..;a/refused")) });

  await page.goto(given.other);
  tell({ name: "other", saw: await call(page, at("other"), { credentials: "include" }) });
  tell({ name: "other-json", saw: await call(page, at("other-json"), { method: "POST", headers, body: "{}" }) });
});
