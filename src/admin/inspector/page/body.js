// A captured body: JSON laid out, other text as it is, bytes as a hex dump.

import { button, copy, h } from "./dom.js";
import { bytes, lines } from "./format.js";
import { pretty } from "./json.js";

/** Characters shown at first. */
const FIRST = 100_000;
const DUMPED = 4096;

/**
 * @param {import("./types.js").Body} body
 * @param {{title: string, captured: boolean, type?: string}} about
 * @returns {HTMLElement}
 */
export function bodyView(body, about) {
  const head = h("div", { class: "body-head" }, h("h3", {}, about.title), h("span", { class: "quiet-text" }, note(body, about.type)));
  const view = h("section", { class: "body" }, head);
  if (body.length === 0) return view;
  if (body.text === null && body.base64 === null) {
    const otherwise = about.captured ? "Nothing of it was kept." : "Bodies are not captured. Start countersign with --inspector-bodies to see them.";
    view.append(h("p", { class: "none" }, body.why_not ? `Nothing of it is shown: ${lines(body.why_not)}.` : otherwise));
    return view;
  }
  const text = body.text ?? dump(body.base64 ?? "");
  const json = body.text === null ? null : pretty(body.text);
  const box = h("pre", { class: "code", tabindex: 0, role: "region", "aria-label": about.title });
  let laidOut = json !== null;
  let most = FIRST;
  const more = button("Show all", () => {
    most = Infinity;
    fill();
  });
  const fill = () => {
    const fragment = laidOut && body.text !== null ? pretty(body.text) : null;
    const cut = !fragment && text.length > most;
    box.replaceChildren(fragment ?? lines(cut ? text.slice(0, most) : text));
    more.hidden = !cut;
  };
  fill();
  const tools = h("span", { class: "body-tools" });
  if (json !== null) {
    const raw = h("button", { type: "button", class: "quiet small", "aria-pressed": "false" }, "Raw");
    raw.addEventListener("click", () => {
      laidOut = !laidOut;
      raw.setAttribute("aria-pressed", String(!laidOut));
      fill();
    });
    tools.append(raw);
  }
  if (body.text !== null) tools.append(h("button", { type: "button", class: "quiet small", on: { click: () => copy(body.text ?? "", "Body") } }, "Copy"));
  head.append(tools);
  view.append(box, more);
  return view;
}

/**
 * @param {import("./types.js").Body} body
 * @param {string} [type]
 */
function note(body, type) {
  if (body.length === 0) return "empty";
  const size = body.kept < body.length && body.kept > 0 ? `first ${bytes(body.kept)} of ${bytes(body.length)}` : bytes(body.length);
  return type ? `${size} · ${lines(type)}` : size;
}

/**
 * Offset, bytes and letters, sixteen a line.
 * @param {string} base64
 */
function dump(base64) {
  const all = atob(base64);
  const rows = [];
  for (let at = 0; at < Math.min(all.length, DUMPED); at += 16) {
    const part = [...all.slice(at, at + 16)].map((letter) => letter.charCodeAt(0));
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const seen = part.map((byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${seen}`);
  }
  if (all.length > DUMPED) rows.push("…");
  return rows.join("\n");
}
