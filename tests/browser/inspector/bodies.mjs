// What is not shown of an answer is told with the reason: compressed, broken off, not captured.
//
// given.differs: bodies are captured.
import { assert, given, inspect, open, send } from "./inspector.mjs";

await inspect(async (page) => {
  await send("/zipped");
  await assert.rejects(send("/cut"));
  const body = page.locator(".panel-body .body").first();
  const broken = page.getByText("The answer broke off before its end.");
  await open(page, "/zipped");
  await page.getByRole("tab", { name: "Response" }).click();
  await body.getByText("Nothing of it is shown: it is compressed, so that secrets in it could not be covered.").waitFor();
  assert.equal(await broken.count(), 0);
  await open(page, "/cut");
  await broken.waitFor();
  if (given.differs) assert.equal(await body.locator("pre").textContent(), "no");
  else await body.getByText("Bodies are not captured. Start countersign with --inspector-bodies to see them.").waitFor();
});
