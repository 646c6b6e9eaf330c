// Why it was refused and what to do: the diagnosis of a gateway's refusal, or the proxy's own refusal.

import { copy, h, icon } from "./dom.js";
import { line } from "./format.js";

/**
 * @param {import("./types.js").Detail} detail
 * @returns {HTMLElement|null}
 */
export function diagnosisView(detail) {
  if (detail.diagnosis) return card(detail.diagnosis);
  if (!detail.refusal) return null;
  const { code, message, hint, fault } = detail.refusal;
  return h(
    "section",
    { class: "card refused", "aria-label": "Refusal" },
    h("h3", {}, icon("alert"), "countersign refused this request"),
    h("p", {}, line(message)),
    hint ? h("p", { class: "what-to-do" }, line(hint)) : null,
    h("p", { class: "quiet-text" }, h("code", {}, line(code)), fault ? ` · at fault: ${line(fault)}` : null),
  );
}

/** @param {import("./types.js").Diagnosis} diagnosis */
function card(diagnosis) {
  const { title, why, steps, policy, diff, excluded } = diagnosis;
  return h(
    "section",
    { class: "card", "aria-label": "Diagnosis" },
    h("h3", {}, icon("alert"), line(title)),
    h("p", { class: "reason" }, words(why)),
    steps?.length ? [h("h4", {}, "What to do"), h("ol", { class: "what-to-do" }, steps.map((step) => h("li", {}, words(step))))] : null,
    excluded?.length ? [h("h4", {}, "Ruled out"), h("ul", { class: "excluded" }, excluded.map((one) => h("li", {}, words(one))))] : null,
    policy ? policyView(policy) : null,
    diff?.length ? diffView(diff) : null,
  );
}

/**
 * A sentence, in which backticks set off what is literal.
 * @param {string} text
 */
const words = (text) => line(text).split("`").map((piece, at, all) => (at % 2 && at < all.length - 1 ? h("code", {}, piece) : piece));

/** @param {object} policy */
function policyView(policy) {
  const text = JSON.stringify(policy, null, 2);
  return h(
    "div",
    { class: "policy" },
    h("div", { class: "card-head" }, h("h4", {}, "A policy that allows it"), h("button", { type: "button", class: "quiet small", on: { click: () => copy(text, "Policy") } }, icon("copy"), "Copy policy")),
    h("pre", { class: "code", tabindex: 0, role: "region", "aria-label": "Policy" }, text),
  );
}

/** @param {import("./types.js").DiffLine[]} diff */
function diffView(diff) {
  const signs = { same: " ", ours: "−", theirs: "+" };
  const words = { same: "", ours: "we signed: ", theirs: "the gateway expected: " };
  const rows = diff.map((one, at) => {
    const other = partner(diff, at);
    return h("tr", { class: `diff-${one.kind}` },
      h("td", { class: "sign" }, h("span", { "aria-hidden": "true" }, signs[one.kind]), h("span", { class: "unseen" }, words[one.kind])),
      h("td", {}, other === null ? line(one.line) || " " : marked(line(one.line), line(other))));
  });
  const changed = diff.some((one) => one.kind !== "same");
  return h(
    "div",
    { class: "diff" },
    h("div", { class: "card-head" }, h("h4", {}, "The canonical request, ours and the gateway's"),
      h("p", { class: "legend" }, h("span", { class: "mark-text removed" }, "− we signed"), h("span", { class: "mark-text added" }, "+ the gateway expected"))),
    changed ? null : h("p", { class: "quiet-text" }, "Both are the same, line by line: the difference is in the key, not in the request."),
    h("div", { class: "diff-box", tabindex: 0, role: "region", "aria-label": "Line by line" }, h("table", {}, h("caption", { class: "unseen" }, "Line by line"), h("tbody", {}, rows))),
  );
}

/**
 * The line that stands for this one on the other side: in a run of ours followed by a run of theirs, the one in the same
 * place.
 * @param {import("./types.js").DiffLine[]} diff
 * @param {number} at
 * @returns {string|null}
 */
function partner(diff, at) {
  const { kind } = diff[at];
  if (kind === "same") return null;
  let start = at;
  while (start > 0 && diff[start - 1].kind !== "same") start -= 1;
  let end = at;
  while (end + 1 < diff.length && diff[end + 1].kind !== "same") end += 1;
  const run = diff.slice(start, end + 1);
  const own = run.filter((one) => one.kind === kind);
  const others = run.filter((one) => one.kind !== kind);
  return others[own.indexOf(diff[at])]?.line ?? null;
}

/**
 * The text with what differs from the other marked: all between the common beginning and the common end.
 * @param {string} text
 * @param {string} other
 */
function marked(text, other) {
  const most = Math.min(text.length, other.length);
  let start = 0;
  while (start < most && text[start] === other[start]) start += 1;
  let end = 0;
  while (end < most - start && text[text.length - 1 - end] === other[other.length - 1 - end]) end += 1;
  const middle = text.slice(start, text.length - end);
  return [text.slice(0, start), middle ? h("mark", {}, middle) : null, text.slice(text.length - end)];
}
