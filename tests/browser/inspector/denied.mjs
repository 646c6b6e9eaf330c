// A denial, opened: who was denied, and the policy that would allow it with the account that the gateway masks.
import { assert, inspect, open, row, send, step } from "./inspector.mjs";

await inspect(async (page) => {
  assert.equal(await send("/orders/42"), 403);
  await open(page, "/orders/42");
  const card = page.getByRole("region", { name: "Diagnosis" });
  await card.waitFor();
  assert.equal(await card.locator("h3").textContent(), "A policy of the caller denies this to user/ann");
  assert.ok((await row(page, "/orders/42").textContent()).includes("A policy of the caller denies this"), "the list says so too");
  const allowed = {
    Version: "2012-10-17",
    Statement: [{ Action: "execute-api:Invoke", Effect: "Allow", Resource: "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/GET/orders/42" }],
  };
  assert.deepEqual(JSON.parse(await card.locator(".policy pre").textContent()), allowed);
  await card.getByRole("button", { name: "Copy policy" }).click();
  await page.locator(".toast", { hasText: "Policy copied" }).waitFor();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), allowed);
  assert.ok((await card.locator(".excluded li").count()) > 0, "it says what is ruled out");

  // The key is there now: what is known of a stage changes, and does not take the place of what is open.
  assert.equal(await page.locator("#time-left").textContent(), "problem");
  step("opened");
  await page.waitForFunction(() => document.getElementById("time-left").textContent === "");
  assert.equal(await card.isVisible(), true);
  await page.keyboard.press("s");
  await page.getByText("present from file").waitFor();
  await page.getByText("arn:aws:iam::111122223333:user/ann").waitFor();
});
