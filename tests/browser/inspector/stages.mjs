// The panel of stages: what is wrong and what to do, whose the credentials are, the gateway's clock, and the login.
import { assert, inspect, open, send, step } from "./inspector.mjs";

await inspect(async (page) => {
  const orders = page.getByRole("region", { name: "Stage orders" });
  const second = page.getByRole("region", { name: "Stage second" });
  await orders.getByText("agrees with this machine's").waitFor();
  await orders.locator(".history b", { hasText: "fetched" }).waitFor();

  // What is missing is told with what to do, at the stage and in the bar on top.
  const troubles = second.getByRole("note");
  await page.waitForFunction(() => document.querySelectorAll("[aria-label='Stage second'] .trouble").length === 2);
  for (const trouble of await troubles.all()) {
    const [what, hint, ...more] = await trouble.locator("p").allTextContents();
    assert.ok(what.length > 10 && hint.length > 10 && !more.length, `${what}: ${hint}`);
    assert.equal(/object|undefined|null/.test(what + hint), false, what);
  }
  assert.match(await second.textContent(), /read only.*missing from variable NOT_SET/s);
  assert.equal(await page.locator("#time-left").textContent(), "problem");
  assert.equal(await second.getByRole("button", { name: "Log in" }).count(), 0, "it has no login_command");
  assert.equal(await second.getByRole("button", { name: "Ask STS" }).count(), 0, "there is nobody to ask about");

  step("told");

  await orders.getByRole("button", { name: "Ask STS" }).click();
  await orders.getByText("arn:aws:iam::111122223333:user/ann").waitFor();
  await page.reload();
  await orders.getByText("arn:aws:iam::111122223333:user/ann").waitFor();

  // Learned from a refusal, signed by, and told.
  assert.equal(await send("/a"), 200);
  await orders.getByText(/^\+(10 min|9 min \d+ s).*signed accordingly$/).waitFor();
  await open(page, "/a");
  await page.getByText("attempts 2").waitFor();
  await page.keyboard.press("s");

  step("asked");

  await orders.getByRole("button", { name: "Log in" }).click();
  await page.locator(".toast", { hasText: "The login command was started" }).waitFor();
  step("logged in");
});
