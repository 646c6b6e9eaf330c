// What the page says of refusals: a signature that the gateway does not accept, line by line, and the proxy's own.
//
// given.differs: something on the way has changed a header that was signed; else the secret is a wrong one.
import { assert, given, inspect, open, row, send } from "./inspector.mjs";

await inspect(async (page) => {
  assert.equal(await send("/invoices", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }), 403);
  await open(page, "/invoices");
  const card = page.getByRole("region", { name: "Diagnosis" });
  await card.waitFor();
  assert.ok((await card.locator(".what-to-do li").count()) > 0, "it says what to do");
  const title = await card.locator("h3").textContent();
  assert.ok((await row(page, "/invoices").textContent()).includes(title), "the list says so too");
  const lines = (kind) => card.locator(`.diff-${kind} td:last-child`).allTextContents();
  if (given.differs) {
    assert.deepEqual(await lines("ours"), ["content-type:application/json"]);
    assert.deepEqual(await lines("theirs"), ["content-type:application/json; charset=utf-8"]);
    assert.deepEqual(await card.locator(".diff mark").allTextContents(), ["; charset=utf-8"]);
  } else {
    assert.deepEqual([await lines("ours"), await lines("theirs")], [[], []], "the requests are the same: the secret is not");
  }
  assert.ok((await lines("same")).includes("POST") && (await lines("same")).includes("/prod/invoices"));

  await send("/a/../b");
  await open(page, "/a/../b");
  const own = page.getByRole("region", { name: "Refusal" });
  await own.waitFor();
  assert.match(await own.textContent(), /dot-segment/);
  await page.getByText("Nothing went out to the stage.").waitFor();
});
