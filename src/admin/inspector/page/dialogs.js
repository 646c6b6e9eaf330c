// Questions and texts above the page, in the browser's own <dialog>.

import { button, h, icon } from "./dom.js";

/**
 * Opens a dialog that goes when it is closed.
 * @param {string} title
 * @param {any} content
 * @param {any[]} [buttons]
 * @param {string} [kind]
 * @returns {HTMLDialogElement}
 */
export function show(title, content, buttons = [], kind = "") {
  const id = `dialog-${document.querySelectorAll("dialog").length}`;
  const dialog = h("dialog", { class: `dialog ${kind}`, "aria-labelledby": id });
  dialog.append(
    h("header", {}, h("h2", { id }, title), h("button", { type: "button", class: "quiet only-icon", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"))),
    h("div", { class: "dialog-body" }, content),
  );
  if (buttons.length) dialog.append(h("footer", {}, buttons));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (/** @type {Event} */ event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks; the promise gives whether the answer was yes.
 * @param {string} title
 * @param {any} content
 * @param {string} yes
 * @returns {Promise<boolean>}
 */
export function ask(title, content, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const dialog = show(title, content, [
      button("Cancel", () => dialog.close(), { class: "cancel" }),
      button(yes, () => {
        answer = true;
        dialog.close();
      }, { class: "primary" }),
    ]);
    dialog.addEventListener("close", () => resolve(answer));
    /** @type {HTMLElement|null} */ (dialog.querySelector(".cancel"))?.focus();
  });
}

const KEYS = [
  ["j  ↓", "the next request"],
  ["k  ↑", "the one before"],
  ["g  G", "the newest, the oldest"],
  ["Enter", "open the selected request"],
  ["Esc", "back to the list"],
  ["1 2 3", "request, signature, response"],
  ["/", "filter"],
  ["r", "replay"],
  ["e", "edit and send"],
  ["c", "copy as curl"],
  ["p", "pause"],
  ["s", "stages and credentials"],
  ["t", "theme"],
  ["?", "this help"],
];

/** The keyboard's keys. */
export function help() {
  show("Keyboard", h("dl", { class: "keys" }, KEYS.map(([keys, what]) =>
    h("div", {}, h("dt", {}, keys.split(/\s+/).map((key) => h("kbd", {}, key))), h("dd", {}, what)))));
}
