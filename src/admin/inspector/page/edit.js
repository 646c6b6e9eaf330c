// Edit and send: a captured request as a form. What countersign adds by itself (credentials, key, date) is not in it.

import { send } from "./api.js";
import { show } from "./dialogs.js";
import { h } from "./dom.js";
import { bytes, canAct } from "./format.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/** Written anew for each request. */
const OWN = new Set(["host", "content-length", "connection", "transfer-encoding", "keep-alive", "te", "upgrade"]);

/**
 * Opens the form.
 * @param {import("./types.js").Detail} detail
 * @param {(id: string) => void} sent
 */
export function edit(detail, sent) {
  const { received, summary } = detail;
  const kept = received.headers.filter((header) => !OWN.has(header.name.toLowerCase()));
  const hidden = kept.some((header) => header.hidden);
  const binary = received.body.text === null && received.body.base64 !== null;
  const cut = received.body.kept < received.body.length;
  const methods = METHODS.includes(received.method) ? METHODS : [received.method, ...METHODS];
  const method = h("select", { id: "edit-method", name: "method" }, methods.map((one) => h("option", { value: one, selected: one === received.method }, one)));
  const target = h("input", { id: "edit-target", name: "target", type: "text", class: "code", spellcheck: "false", autocomplete: "off" });
  target.value = received.target;
  const headers = h("textarea", { id: "edit-headers", name: "headers", class: "code", rows: 6, spellcheck: "false", "aria-describedby": "edit-headers-note" });
  headers.value = kept.map((header) => `${header.name}: ${header.value}`).join("\n");
  const body = h("textarea", { id: "edit-body", name: "body", class: "code", rows: 8, spellcheck: "false", disabled: binary, "aria-describedby": "edit-body-note" });
  body.value = received.body.text ?? "";
  const warning = h("p", { class: "warning", id: "edit-warning" });
  const failed = h("p", { class: "failed", role: "alert" });
  const warn = () => {
    warning.textContent = canAct(method.value) ? `${method.value} may change something at the stage.` : "";
  };
  method.addEventListener("change", warn);
  warn();
  const submit = h("button", { type: "submit", class: "primary", "aria-describedby": "edit-warning" }, "Send");
  const form = h(
    "form",
    { class: "edit" },
    h("div", { class: "edit-line" }, h("label", { for: "edit-method" }, "Method", method), h("label", { for: "edit-target", class: "grow" }, "Path and query", target)),
    h("label", { for: "edit-headers" }, "Headers, one a line", headers),
    h("p", { class: "quiet-text", id: "edit-headers-note" }, "countersign adds host, key, date and signature itself.", hidden ? " A value with •••• is sent as it was, if you leave it so." : ""),
    h("label", { for: "edit-body" }, "Body", body),
    h("p", { class: "quiet-text", id: "edit-body-note" }, bodyNote(received.body, binary, cut)),
    failed,
    h("footer", {}, warning, h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"), submit),
  );
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    failed.textContent = "";
    submit.disabled = true;
    try {
      const answer = await send({
        method: method.value,
        target: target.value.trim(),
        headers: parse(headers.value),
        body: binary ? null : body.value || null,
        body_base64: binary ? received.body.base64 : null,
        replay_of: summary.id,
        confirmed: canAct(method.value),
      });
      dialog.close();
      sent(answer.id);
    } catch (error) {
      failed.textContent = error instanceof Error ? error.message : String(error);
    } finally {
      submit.disabled = false;
    }
  });
  const dialog = show("Edit and send", form, [], "wide");
  target.focus();
}

/**
 * @param {import("./types.js").Body} body
 * @param {boolean} binary
 * @param {boolean} cut
 */
function bodyNote(body, binary, cut) {
  if (binary) return `The body is ${bytes(body.length)} of no text; it is sent as it was captured${cut ? ", which is only its beginning" : ""}.`;
  if (body.length && !body.kept) return `The body of ${bytes(body.length)} was not captured.`;
  return cut ? `Only the first ${bytes(body.kept)} of ${bytes(body.length)} were captured.` : "";
}

/**
 * `name: value` lines; a mistake names its line.
 * @param {string} text
 * @returns {[string, string][]}
 */
export function parse(text) {
  /** @type {[string, string][]} */
  const headers = [];
  text.split("\n").forEach((row, at) => {
    if (!row.trim()) return;
    const colon = row.indexOf(":");
    if (colon < 1) throw new Error(`Headers, line ${at + 1}: write it as "name: value".`);
    headers.push([row.slice(0, colon).trim(), row.slice(colon + 1).trim()]);
  });
  return headers;
}
