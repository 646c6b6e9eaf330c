// The signature step by step. Each part names where it comes from; pointing at a part, or moving the focus to it, lights
// up its source and whatever else is made of it.

import { h, icon } from "./dom.js";
import { bytes, line } from "./format.js";
import { split } from "./list.js";

/**
 * The keys that tie a part to its source.
 * @param {import("./types.js").Part} part
 * @param {import("./types.js").Signing} signing
 */
function keysOf(part, signing) {
  switch (part.part) {
    case "header":
      return `header:${part.text.split(":", 1)[0]}`;
    case "signed_headers":
      return `names ${signing.signed_headers.map((name) => `header:${name}`).join(" ")}`;
    case "payload_hash":
      return "body";
    case "date":
      return "header:x-amz-date";
    case "scope":
      return "scope";
    case "hash":
      return "canonical";
    default:
      return part.part;
  }
}

/** What stands beside a part that the API says nothing of. */
const SOURCES = {
  method: "the method",
  path: "the path, each segment encoded once more",
  query: "the query, sorted by name",
  header: "a header, trimmed",
  blank: "ends the headers",
  signed_headers: "the names above",
  payload_hash: "SHA-256 of the body",
  algorithm: "always this",
  date: "x-amz-date",
  scope: "the credential scope, step 3",
  hash: "SHA-256 of step 1",
};

/**
 * @param {string} keys
 * @param {any} content
 * @param {string} [name]
 */
const part = (keys, content, name) => h("button", { type: "button", class: "part", "data-link": keys, "aria-label": name }, content);

/**
 * @param {import("./types.js").Detail} detail
 * @returns {HTMLElement}
 */
export function signingView(detail) {
  const { sent } = detail;
  if (!sent?.signing) {
    return h("div", { class: "panel-body" }, h("p", { class: "none" }, sent ? "This route is not signed, so there is nothing to show here." : "Nothing went out, so nothing was signed."));
  }
  const view = h("div", { class: "panel-body signing" }, sources(sent, sent.signing), steps(sent.signing, detail));
  for (const event of ["pointerover", "focusin"]) view.addEventListener(event, (/** @type {Event} */ e) => light(view, e.target));
  for (const event of ["pointerleave", "focusout"]) view.addEventListener(event, () => light(view, null));
  view.addEventListener("click", (/** @type {Event} */ event) => {
    const clicked = /** @type {HTMLElement} */ (event.target).closest("ol .part");
    if (clicked) view.querySelector(".sources .lit")?.scrollIntoView({ block: "nearest" });
  });
  return view;
}

/**
 * @param {HTMLElement} view
 * @param {EventTarget|null} target
 */
function light(view, target) {
  const at = target instanceof Element ? target.closest("[data-link]") : null;
  const keys = new Set(/** @type {HTMLElement|null} */ (at)?.dataset.link?.split(" "));
  for (const element of view.querySelectorAll("[data-link]")) {
    const own = /** @type {HTMLElement} */ (element).dataset.link?.split(" ") ?? [];
    element.classList.toggle("lit", own.some((key) => keys.has(key)));
  }
}

/**
 * The request as it is sent, in the pieces that the signature is made of.
 * @param {import("./types.js").Sent} sent
 * @param {import("./types.js").Signing} signing
 */
function sources(sent, signing) {
  const url = /^[a-z]+:\/\/[^/?#]*(.*)$/i.exec(sent.url);
  const [path, query] = split(url ? url[1] : sent.url);
  const signed = new Set(signing.signed_headers);
  return h(
    "div",
    { class: "sources" },
    h("h3", {}, "The request that was sent"),
    sent.headers.every((header) => signed.has(header.name.toLowerCase())) ? null : h("p", { class: "from" }, "Paler headers are not signed."),
    h("p", { class: "request-line" }, h("span", { "data-link": "method", class: "source" }, line(sent.method)), " ",
      h("span", { "data-link": "path", class: "source" }, line(path || "/")),
      h("span", { "data-link": "query", class: "source query" }, line(query) || h("span", { class: "quiet-text" }, " no query"))),
    h("ul", { class: "source-headers" }, sent.headers.map((header) => {
      const name = header.name.toLowerCase();
      const isSigned = signed.has(name);
      return h("li", { class: isSigned ? "source" : "source unsigned", "data-link": isSigned ? `header:${name}` : null, title: isSigned ? null : "Not part of the signature" },
        h("span", { class: "name" }, line(name)), h("span", { class: header.hidden ? "value masked" : "value" }, header.hidden ? icon("lock") : null, line(header.value)));
    })),
    h("p", { class: "source", "data-link": "body" }, h("span", { class: "name" }, "body"), " ", sent.body.length ? bytes(sent.body.length) : "empty"),
  );
}

/**
 * @param {import("./types.js").Signing} signing
 * @param {import("./types.js").Detail} detail
 */
function steps(signing, detail) {
  const lines = (/** @type {import("./types.js").Part[]} */ parts) =>
    h("div", { class: "parts" }, parts.map((one) => {
      const from = one.from ?? SOURCES[/** @type {keyof typeof SOURCES} */ (one.part)] ?? "";
      return h("div", { class: "part-row" }, part(keysOf(one, signing), one.text ? line(one.text) : h("span", { class: "quiet-text" }, "(empty line)"), `${line(one.text) || "an empty line"}, from ${from}`), h("span", { class: "from" }, from));
    }));
  const { scope } = signing;
  const scopes = /** @type {const} */ ([["date", "day of x-amz-date"], ["region", "of the stage"], ["service", "of the stage"], ["terminator", "always this"]]);
  return h(
    "ol",
    { class: "steps" },
    step("Canonical request", "The request written so that both sides write it alike.", lines(signing.canonical_request),
      result("SHA-256", part("canonical", line(signing.canonical_request_hash)))),
    step("String to sign", "What the signature is made of.", lines(signing.string_to_sign)),
    step("Credential scope", "What the key is good for: one day, one region, one service.",
      h("div", { class: "scope" }, scopes.map(([name, from], at) => [at ? h("span", { class: "slash", "aria-hidden": "true" }, "/") : null,
        h("div", {}, part(`scope scope:${name}`, line(scope[name])), h("span", { class: "from" }, `${name}, ${from}`))]))),
    step("Signing key", "The secret key never signs itself: a key is derived from it, for this scope alone.",
      h("div", { class: "parts derivation" }, signing.derivation.slice(0, -1).map((one, at) => h("div", { class: "part-row" },
        part(`scope:${scopes[at]?.[0] ?? ""}`, [h("b", {}, line(one.step)), ` = ${line(one.of)}`]))))),
    step("Signature", "Sent in the authorization header, with the names of what is signed.",
      h("div", { class: "parts" }, h("div", { class: "part-row" }, h("code", { class: "formula" }, `HMAC-SHA256(${line(signing.derivation.at(-2)?.step) || "kSigning"}, string to sign) = `, h("b", {}, line(signing.signature))))),
      h("p", { class: "result" }, h("span", {}, "Access key"), h("code", {}, line(signing.access_key_id)), detail.credentials ? h("span", {}, `from ${line(detail.credentials.source)}`) : null)),
  );
}

/**
 * @param {string} title
 * @param {string} why
 * @param {...any} content
 */
const step = (title, why, ...content) => h("li", {}, h("h3", {}, title), h("p", { class: "quiet-text" }, why), content);
const result = (/** @type {string} */ name, /** @type {any} */ value) => h("p", { class: "result" }, h("span", {}, name), value);
