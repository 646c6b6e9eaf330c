// One request, opened: its head with what can be done, the diagnosis, timing, and three views of it.

import * as api from "./api.js";
import { bodyView } from "./body.js";
import { compareView, headerTable } from "./compare.js";
import { diagnosisView } from "./diagnosis.js";
import { button, h, icon } from "./dom.js";
import { bytes, duration, line, outcome, when } from "./format.js";
import { split } from "./list.js";
import { signingView } from "./signing.js";
import { timingView } from "./timing.js";

/** How long the selection rests before it is fetched: whoever runs through the list waits for nothing. */
const REST = 40;

const VIEWS = /** @type {const} */ ([
  ["request", "Request"],
  ["signature", "Signature"],
  ["response", "Response"],
]);

/**
 * @typedef {import("./types.js").Detail} Detail
 * @typedef {object} Acts
 * @property {(summary: import("./types.js").Summary) => void} replay
 * @property {(id: string, known: Detail|null) => void} edit
 * @property {(id: string) => void} curl
 * @property {(id: string) => void} signedCurl
 * @property {() => void} close
 * @property {() => boolean} captured whether bodies are captured
 */

export class DetailPane {
  /**
   * @param {HTMLElement} element
   * @param {Acts} acts
   */
  constructor(element, acts) {
    this.element = element;
    this.acts = acts;
    /** @type {string|null} */
    this.id = null;
    /** @type {Detail|null} */
    this.detail = null;
    this.view = "request";
    this.abort = new AbortController();
    /** @type {number|undefined} */
    this.timer = undefined;
  }

  /** Shows none. */
  leave() {
    this.abort.abort();
    clearTimeout(this.timer);
    this.id = null;
    this.detail = null;
  }

  /**
   * Fetches and shows one.
   * @param {string} id
   */
  open(id) {
    if (id === this.id) return;
    this.leave();
    this.id = id;
    this.abort = new AbortController();
    this.timer = setTimeout(() => this.fetch(id, this.abort.signal), REST);
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async fetch(id, signal) {
    try {
      this.detail = await api.detail(id, signal);
      if (signal.aborted) return;
      this.fill(this.detail);
    } catch (error) {
      if (signal.aborted) return;
      const gone = error instanceof api.ApiError && error.status === 404;
      this.element.replaceChildren(h("div", { class: "pane-note" }, h("p", {}, gone ? "This request is no longer kept: newer ones took its place." : String(error instanceof Error ? error.message : error))));
    }
  }

  /** @param {Detail} detail */
  fill(detail) {
    const { summary } = detail;
    const [path, query] = split(summary.target);
    const focused = this.element.contains(document.activeElement) && document.activeElement?.getAttribute("role") === "tab";
    this.element.replaceChildren(
      h("header", { class: "pane-head", "data-outcome": outcome(summary) },
        h("div", { class: "pane-title" },
          h("button", { type: "button", class: "quiet only-icon back", "aria-label": "Back to the list", on: { click: this.acts.close } }, icon("back")),
          h("span", { class: "status code" }, summary.status ? String(summary.status) : "no answer"),
          h("h2", { tabindex: -1 }, h("span", { class: "method" }, line(summary.method)), " ", line(path), h("span", { class: "query" }, line(query)))),
        facts(detail),
        h("div", { class: "acts", role: "toolbar", "aria-label": "Request" },
          summary.imported ? null : button("Replay", () => this.acts.replay(summary), { icon: "replay", id: "act-replay", title: "Send it once more (r)" }),
          button("Edit and send", () => this.acts.edit(summary.id, this.detail), { icon: "edit", id: "act-edit", title: "Change it and send it (e)" }),
          button("Copy curl", () => this.acts.curl(summary.id), { icon: "copy", id: "act-curl", title: "A curl command through countersign (c)" }),
          summary.imported ? null : button("Copy signed curl", () => this.acts.signedCurl(summary.id), { icon: "sign", id: "act-signed-curl", title: "A curl command straight to the stage, signed for one use" }))),
      h("div", { class: "pane-body" }, diagnosisView(detail), timingView(detail), this.tabs(detail)),
    );
    this.element.scrollTop = 0;
    if (focused) /** @type {HTMLElement|null} */ (this.element.querySelector("[role=tab][aria-selected=true]"))?.focus();
  }

  /** @param {Detail} detail */
  tabs(detail) {
    const panel = h("div", { role: "tabpanel", id: "view-panel", class: "tab-panel", tabindex: 0 });
    const tabs = VIEWS.map(([name, label], at) =>
      h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "view-panel", title: `${label} (${at + 1})`, on: { click: () => choose(name) } }, label));
    const choose = (/** @type {string} */ name) => {
      this.view = name;
      tabs.forEach((tab, at) => {
        const chosen = VIEWS[at][0] === name;
        tab.setAttribute("aria-selected", String(chosen));
        tab.setAttribute("tabindex", chosen ? "0" : "-1");
      });
      panel.setAttribute("aria-labelledby", `tab-${name}`);
      panel.replaceChildren(this.draw(name, detail));
    };
    const list = h("div", { role: "tablist", class: "tabs", "aria-label": "Views" }, tabs);
    list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      const at = (tabs.indexOf(/** @type {any} */ (document.activeElement)) + by + tabs.length) % tabs.length;
      choose(VIEWS[at][0]);
      tabs[at].focus();
    });
    this.choose = choose;
    choose(this.view);
    return h("div", { class: "views" }, list, panel);
  }

  /** @param {string} name @param {Detail} detail */
  draw(name, detail) {
    const captured = this.acts.captured();
    if (name === "request") return compareView(detail, captured);
    if (name === "signature") return signingView(detail);
    return responseView(detail, captured);
  }

  /** @param {number} at counted from 1 */
  show(at) {
    if (this.detail) this.choose?.(VIEWS[at - 1][0]);
  }
}

/**
 * @param {Detail} detail
 * @param {boolean} captured
 */
function responseView(detail, captured) {
  const { answer, summary } = detail;
  if (!answer) return h("div", { class: "panel-body" }, h("p", { class: "none" }, "No answer came."));
  const type = answer.headers.find((header) => header.name.toLowerCase() === "content-type")?.value;
  return h("div", { class: "panel-body" },
    h("p", { class: "status-line", "data-outcome": outcome(summary) }, h("span", { class: "code" }, String(answer.status)), " ", line(answer.reason),
      h("span", { class: "quiet-text" }, summary.origin === "proxy" ? " from countersign itself" : ` from the stage ${line(summary.stage)}`)),
    detail.cut ? h("div", { class: "trouble", role: "note" }, h("p", {}, icon("alert"), h("b", {}, "The answer broke off before its end."))) : null,
    bodyView(answer.body, { title: "Response body", captured, type }),
    h("h3", {}, "Response headers"),
    headerTable(answer.headers));
}

/** @param {Detail} detail */
function facts(detail) {
  const { summary, credentials, gateway_request_id } = detail;
  const all = [
    [when(summary.began), null],
    [duration(summary.micros), "took"],
    [bytes(summary.received_bytes), "request"],
    [bytes(summary.sent_bytes), "answer"],
    [summary.stage && `${line(summary.stage)}${summary.route ? ` ${line(summary.route)}` : ""}`, "stage"],
    [line(summary.auth), "adds"],
    [credentials && `${line(credentials.access_key)}, ${line(credentials.source)}`, "signed by"],
    [summary.attempts > 1 && String(summary.attempts), "attempts"],
    [summary.replay_of && line(summary.replay_of), "replay of"],
    [line(summary.id), "id"],
    [line(gateway_request_id), "gateway's id"],
  ];
  return h("ul", { class: "pane-facts" }, all.filter(([value]) => value).map(([value, name]) =>
    h("li", {}, name ? h("span", {}, `${name} `) : null, h("b", {}, value))));
}
