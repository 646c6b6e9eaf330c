// What came in and what went out, side by side: a header stands opposite itself, and what countersign added, removed or
// replaced is marked.

import { bodyView } from "./body.js";
import { h, icon } from "./dom.js";
import { line } from "./format.js";
import { split } from "./list.js";

/**
 * @typedef {import("./types.js").Header} Header
 * @typedef {"same"|"added"|"removed"|"replaced"} Change
 * @typedef {{left: Header|null, right: Header|null, change: Change}} Pair
 */

/** What stands before a changed one, and what it is called. */
const MARKS = { same: ["", ""], added: ["+", "added"], removed: ["−", "removed"], replaced: ["~", "replaced"] };

/**
 * Headers opposite each other: those that came in their order, then those that were added.
 * @param {Header[]} came
 * @param {Header[]} went
 * @returns {Pair[]}
 */
export function pairs(came, went) {
  /** @type {Map<string, Header[]>} */
  const rest = new Map();
  for (const header of went) {
    const name = header.name.toLowerCase();
    rest.set(name, [...(rest.get(name) ?? []), header]);
  }
  /** @type {Pair[]} */
  const made = came.map((left) => {
    const right = left.change === "removed" ? null : (rest.get(left.name.toLowerCase())?.shift() ?? null);
    if (!right) return { left, right, change: "removed" };
    const changed = left.change === "replaced" || right.change || left.value !== right.value;
    return { left, right, change: changed ? "replaced" : "same" };
  });
  const taken = new Set(made.map((pair) => pair.right));
  for (const right of went) if (!taken.has(right)) made.push({ left: null, right, change: "added" });
  return made;
}

/**
 * @param {import("./types.js").Detail} detail
 * @param {boolean} captured whether bodies are captured
 * @returns {HTMLElement}
 */
export function compareView(detail, captured) {
  const { received, sent } = detail;
  const type = received.headers.find((header) => header.name.toLowerCase() === "content-type")?.value;
  if (!sent) {
    return h(
      "div",
      { class: "panel-body" },
      h("p", { class: "none" }, "Nothing went out to the stage."),
      h("table", { class: "compare alone" }, caption("The request as it came in"), headRow("Came in", null), h("tbody", {},
        startRow(received, null), received.headers.map((left) => pairRow({ left, right: null, change: "same" }, false)))),
      bodyView(received.body, { title: "Request body", captured, type }),
    );
  }
  const all = pairs(received.headers, sent.headers);
  const counts = (/** @type {Change} */ change) => all.filter((pair) => pair.change === change).length;
  const table = h("table", { class: "compare" }, caption("What came in and what went out"), headRow("Came in", "Went out"),
    h("tbody", {}, startRow(received, sent), all.map((pair) => pairRow(pair, true))));
  const only = h("label", { class: "only" }, h("input", { type: "checkbox", on: { change: (/** @type {Event} */ event) => {
    table.classList.toggle("changes-only", /** @type {HTMLInputElement} */ (event.target).checked);
  } } }), "Only changes");
  const legend = h("p", { class: "legend" },
    /** @type {Change[]} */ (["added", "removed", "replaced"]).map((change) =>
      h("span", { class: `mark-text ${change}` }, `${MARKS[change][0]} ${counts(change)} ${MARKS[change][1]}`)), only);
  const same = received.body.length === sent.body.length && received.body.text === sent.body.text && received.body.base64 === sent.body.base64;
  const bodies = same
    ? bodyView(received.body, { title: received.body.length ? "Request body, unchanged" : "Request body", captured, type })
    : h("div", { class: "two" }, bodyView(received.body, { title: "Body, came in", captured, type }), bodyView(sent.body, { title: "Body, went out", captured, type }));
  return h("div", { class: "panel-body" }, legend, table, bodies);
}

const caption = (/** @type {string} */ text) => h("caption", { class: "unseen" }, text);

/**
 * @param {string} left
 * @param {string|null} right
 */
function headRow(left, right) {
  const to = (/** @type {string} */ name, /** @type {string} */ way) => h("th", { scope: "col" }, name, h("span", { class: "way" }, way));
  return h("thead", {}, h("tr", {}, to(left, "client → countersign"), right ? to(right, "countersign → stage") : null));
}

/**
 * The request's first line.
 * @param {import("./types.js").Received} received
 * @param {import("./types.js").Sent|null} sent
 */
function startRow(received, sent) {
  const [path, query] = split(received.target);
  const left = h("td", {}, h("b", {}, line(received.method)), " ", line(path), h("span", { class: "query" }, line(query)), " ", h("span", { class: "quiet-text" }, line(received.version)));
  if (!sent) return h("tr", { class: "start" }, left);
  const url = /^([a-z]+:\/\/[^/?#]*)(.*)$/i.exec(sent.url);
  const [outPath, outQuery] = split(url ? url[2] : sent.url);
  const right = h("td", {}, h("b", {}, line(sent.method)), " ", h("span", { class: "host" }, line(url ? url[1] : "")), line(outPath), h("span", { class: "query" }, line(outQuery)));
  return h("tr", { class: "start" }, left, right);
}

/**
 * @param {Pair} pair
 * @param {boolean} both
 */
function pairRow(pair, both) {
  const [sign, word] = MARKS[pair.change];
  const cell = (/** @type {Header|null} */ header, /** @type {boolean} */ marked) =>
    header
      ? h("td", { class: marked ? "field changed" : "field" },
          h("span", { class: "mark", title: word || null }, marked ? sign : "", marked ? h("span", { class: "unseen" }, ` ${word} `) : null),
          h("span", { class: "name" }, line(header.name), ": "),
          h("span", { class: header.hidden ? "value masked" : "value" }, header.hidden ? icon("lock") : null, line(header.value)))
      : h("td", { class: "gap" });
  return h("tr", { class: pair.change }, cell(pair.left, pair.change === "removed"), both ? cell(pair.right, pair.change === "added" || pair.change === "replaced") : null);
}

/**
 * A plain list of headers.
 * @param {Header[]} headers
 */
export function headerTable(headers) {
  return h("table", { class: "compare alone" }, caption("Headers"), h("tbody", {}, headers.map((left) => pairRow({ left, right: null, change: "same" }, false))));
}
