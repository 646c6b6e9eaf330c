// Replay, which asks where it may change something, and edit and send.
import { assert, inspect, open, paths, row, send } from "./inspector.mjs";

await inspect(async (page) => {
  await send("/first?a=1", { headers: { "x-own": "kept" } });
  await open(page, "/first");
  await page.keyboard.press("r");
  await page.locator(".tag", { hasText: "replay" }).waitFor();
  assert.equal((await paths(page, 2))[0], "/first?a=1");

  await send("/acts", { method: "POST", headers: { "content-type": "text/plain", cookie: "session=theirs" }, body: "once" });
  await open(page, "/acts");
  const question = page.getByRole("dialog", { name: "Send it again?" });
  await page.locator("#act-replay").click();
  await question.getByRole("button", { name: "Cancel" }).click();
  await question.waitFor({ state: "detached" });
  await paths(page, 3);
  await page.locator("#act-replay").click();
  await question.getByRole("button", { name: "Send again" }).click();
  await paths(page, 4);

  await page.keyboard.press("e");
  const form = page.getByRole("dialog", { name: "Edit and send" });
  await form.getByText("POST may change something at the stage.").waitFor();
  assert.match(await form.getByLabel("Headers, one a line").inputValue(), /^cookie: •/m);
  await form.getByLabel("Method").selectOption("PUT");
  await form.getByLabel("Path and query").fill("/edited?b=2");
  const headers = await form.getByLabel("Headers, one a line").inputValue();
  await form.getByLabel("Headers, one a line").fill(`${headers}\nno colon`);
  await form.getByLabel("Body", { exact: true }).fill("twice");
  await form.getByRole("button", { name: "Send" }).click();
  await form.getByText(/line \d+: write it as/).waitFor();
  await form.getByLabel("Headers, one a line").fill(`${headers}\nx-new: one`);
  await form.getByRole("button", { name: "Send" }).click();
  await form.waitFor({ state: "detached" });
  // What was sent is opened when it arrives.
  await page.locator(".pane-title h2", { hasText: "/edited?b=2" }).waitFor();
  assert.equal(await row(page, "/edited").locator(".tag").textContent(), "replay");
  assert.equal((await paths(page, 5))[0], "/edited?b=2");

  // Into a file and back.
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export" }).click()]);
  assert.equal(file.suggestedFilename(), "countersign.har");
  const choosing = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Import" }).click();
  await (await choosing).setFiles({ name: "a.har", mimeType: "application/json", buffer: await contents(file) });
  await paths(page, 10);
  const imported = row(page, "imported");
  await imported.click();
  await page.locator("#act-edit").waitFor();
  // What comes from a file is not sent as if it had been here.
  await page.locator("#act-replay").waitFor({ state: "detached" });
});

async function contents(file) {
  const chunks = [];
  for await (const chunk of await file.createReadStream()) chunks.push(chunk);
  return Buffer.concat(chunks);
}
