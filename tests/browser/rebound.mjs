// A name that led to an attacker's server leads to this machine now.
//
// given.page is a page of that name at another port, given.rebound the proxy's port under that name.
import { call, given, open, run, tell } from "./browser.mjs";

await run(async (context) => {
  const page = await context.newPage();
  await page.goto(given.page);
  tell({ name: "another-port", saw: await call(page, `${given.rebound}/rebound/another-port`) });
  tell({ name: "no-cors", saw: await call(page, `${given.rebound}/rebound/no-cors`, { mode: "no-cors" }) });

  // The page came from the attacker's server at the very port, before the name moved: so the browser believes that it
  // and the proxy are one origin. The network is left out for that one answer alone.
  await page.route(`${given.rebound}/`, (route) =>
    route.fulfill({ contentType: "text/html", body: "<title>evil</title><link rel=icon href='data:,'>" }),
  );
  await page.goto(`${given.rebound}/`);
  await page.unrouteAll();
  tell({ name: "same-origin", saw: await call(page, "/rebound/same-origin") });
  tell({
    name: "same-origin-post",
    saw: await call(page, "/rebound/same-origin-post", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    }),
  });

  tell({ name: "address-bar", saw: await open(page, `${given.rebound}/rebound/address-bar`) });
});
