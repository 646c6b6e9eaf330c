// Ten thousand requests: only those in sight are in the document, and everything works as with ten.
import { assert, inspect, row, rows, send, step } from "./inspector.mjs";

const COUNT = 10_000;
const methods = ["GET", "POST", "PUT"];
const statuses = [200, 304, 404, 500];
const entries = Array.from({ length: COUNT }, (_, at) => ({
  startedDateTime: new Date(Date.UTC(2026, 0, 1) + at * 1000).toISOString(),
  time: at % 900,
  request: { method: methods[at % 3], url: `https://api.example/items/${at}?page=${at % 7}`, headers: [] },
  response: { status: statuses[at % 4], headers: [] },
}));

await inspect(async (page) => {
  const choosing = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Import" }).click();
  const file = { name: "many.har", mimeType: "application/json", buffer: Buffer.from(JSON.stringify({ log: { entries } })) };
  await (await choosing).setFiles(file);
  const list = page.locator("#list");
  const has = (count) => page.waitForFunction((count) => document.getElementById("list").getAttribute("aria-rowcount") === String(count + 1), count);
  await has(COUNT);
  const fewRows = async () => {
    const count = await rows(page).count();
    assert.ok(count > 10 && count < 80, `${count} rows are in the document`);
  };
  await fewRows();
  await row(page, `/items/${COUNT - 1}`).waitFor();

  step("imported");

  // To the other end, by scrolling and by keyboard, one opened there.
  await list.evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await row(page, "/items/0?").waitFor();
  await fewRows();
  assert.equal(await row(page, "/items/0?").getAttribute("aria-rowindex"), String(COUNT + 1));
  await list.focus();
  await page.keyboard.press("g");
  await row(page, `/items/${COUNT - 1}`).waitFor();
  await page.keyboard.press("G");
  await page.locator(".pane-title h2", { hasText: "/items/0?" }).waitFor();
  for (let at = 0; at < 50; at += 1) await page.keyboard.press("k");
  await page.locator(".pane-title h2", { hasText: "/items/50?" }).waitFor();
  await fewRows();

  step("moved");

  // What arrives does not move what is looked at.
  const sight = () => list.evaluate((element) => {
    const box = element.getBoundingClientRect();
    const seen = [...element.querySelectorAll(".row[data-sequence]")].find((one) => one.getBoundingClientRect().top >= box.top + 40);
    return `${seen.dataset.sequence} at ${Math.round(seen.getBoundingClientRect().top)}`;
  });
  const before = await sight();
  await send("/new");
  await has(COUNT + 1);
  assert.equal(await sight(), before);

  step("arrived");

  // Filters go through all of them.
  await page.getByRole("button", { name: "5xx", exact: true }).click();
  await has(COUNT / 4);
  await page.locator("#text").fill("page=3");
  const matching = entries.filter((entry) => entry.response.status === 500 && entry.request.url.includes("page=3")).length;
  await has(matching);
  await fewRows();
  await page.locator("#text").fill("/items/9999?");
  await has(1);
  await page.locator("#text").fill("");
  await page.getByRole("button", { name: "5xx", exact: true }).click();
  await has(COUNT + 1);
  await page.getByRole("button", { name: "Clear" }).click();
  await has(0);
});
