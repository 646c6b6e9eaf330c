// What can be done with a request, and with all of them: replay, edit and send, copy as curl, HAR, clear.

import * as api from "./api.js";
import { ask } from "./dialogs.js";
import { byId, copy, h, toast } from "./dom.js";
import { edit } from "./edit.js";
import { canAct, line } from "./format.js";

/**
 * Runs, and says what went wrong.
 * @param {() => Promise<void>} act
 */
async function trying(act) {
  try {
    await act();
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error), "failed");
  }
}

/**
 * Sends it once more, after a question when that may change something.
 * @param {import("./types.js").Summary} summary
 * @param {(id: string) => void} sent
 */
export const replay = (summary, sent) =>
  trying(async () => {
    const acts = canAct(summary.method);
    if (acts && !(await ask("Send it again?", [
      h("p", {}, h("code", { class: "block" }, `${line(summary.method)} ${line(summary.target)}`)),
      h("p", {}, `${line(summary.method)} may change something at the stage${summary.stage ? ` ${line(summary.stage)}` : ""} once more.`),
    ], "Send again"))) return;
    const answer = await api.replay(summary.id, acts);
    toast("Sent again");
    sent(answer.id);
  });

/**
 * @param {string} id
 * @param {import("./types.js").Detail|null} known
 * @param {(id: string) => void} sent
 */
export const editAndSend = (id, known, sent) =>
  trying(async () => {
    edit(known ?? (await api.detail(id)), (made) => {
      toast("Sent");
      sent(made);
    });
  });

/** @param {string} id */
export const copyCurl = (id) =>
  trying(async () => {
    const { command, notes } = await api.curl(id);
    await copy(command, "curl command");
    for (const note of notes ?? []) toast(note, "note");
  });

/** @param {string} id */
export const copySignedCurl = (id) =>
  trying(async () => {
    if (!(await ask("Copy a signed command?", [
      h("p", {}, "The command goes straight to the stage, signed now. It holds the signature, and with it the API key and the session token where the route needs them."),
      h("p", {}, "Whoever has it can send this one request for about five minutes, and has the key and the token for longer. Do not paste it into a chat or a ticket."),
    ], "Copy signed curl"))) return;
    const { command, notes } = await api.signedCurl(id);
    await copy(command, "Signed curl command");
    for (const note of notes ?? []) toast(note, "note");
  });

/** @param {() => void} cleared */
export const clear = (cleared) =>
  trying(async () => {
    await api.clear();
    cleared();
  });

/** Takes up a file that the user picks. */
export function importHar() {
  const input = /** @type {HTMLInputElement} */ (byId("import-file"));
  input.onchange = () =>
    trying(async () => {
      const [file] = input.files ?? [];
      input.value = "";
      if (!file) return;
      const answer = await api.importHar(await file.text());
      const count = answer?.imported;
      toast(typeof count === "number" ? `${count} requests imported` : "Imported");
    });
  input.click();
}
