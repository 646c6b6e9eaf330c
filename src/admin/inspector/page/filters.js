// The bar above the list. Text is looked for here in what the list knows, and by the API in headers and captured bodies.

import { list } from "./api.js";
import { byId, h } from "./dom.js";

const STATUSES = [
  ["2xx", "2xx"],
  ["3xx", "3xx"],
  ["4xx", "4xx"],
  ["5xx", "5xx"],
  ["refused", "refused"],
];
/** As many as the API is asked for at once. */
const PAGE = 1000;
/** How long typing, or arriving, may pause before the API is asked. */
const REST = 150;

export class Filters {
  /**
   * @param {import("./store.js").Store} store
   * @param {() => void} changed the filter is another one
   * @param {() => void} found more was found
   */
  constructor(store, changed, found) {
    this.store = store;
    this.changed = changed;
    this.told = found;
    this.asked = 0;
    /** @type {number|undefined} */
    this.timer = undefined;
    this.abort = new AbortController();
    this.text = /** @type {HTMLInputElement} */ (byId("text"));
    this.method = /** @type {HTMLSelectElement} */ (byId("method"));
    this.stage = /** @type {HTMLSelectElement} */ (byId("stage"));
    byId("statuses").append(...STATUSES.map(([value, label]) => this.chip(value, label)));
    byId("filters").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
    this.text.addEventListener("input", () => this.typed());
    for (const [select, field] of /** @type {const} */ ([[this.method, "method"], [this.stage, "stage"]])) {
      select.addEventListener("change", () => {
        store.narrow({ [field]: select.value });
        changed();
      });
    }
    this.options();
  }

  /**
   * @param {string} value
   * @param {string} label
   */
  chip(value, label) {
    const chip = h("button", { type: "button", class: "chip", "aria-pressed": "false", "data-outcome": value }, label);
    chip.addEventListener("click", () => {
      const statuses = new Set(this.store.filter.statuses);
      if (!statuses.delete(value)) statuses.add(value);
      chip.setAttribute("aria-pressed", String(statuses.has(value)));
      this.store.narrow({ statuses });
      this.changed();
    });
    return chip;
  }

  /** Offers the methods and stages that there are. */
  options() {
    for (const [select, field, every] of /** @type {const} */ ([[this.method, "method", "All methods"], [this.stage, "stage", "All stages"]])) {
      const values = this.store.values(field);
      const chosen = this.store.filter[field];
      if (chosen && !values.includes(chosen)) values.push(chosen);
      const wanted = ["", ...values];
      if (select.options.length && wanted.join("\n") === [...select.options].map((option) => option.value).join("\n")) continue;
      select.replaceChildren(...wanted.map((value) => h("option", { value }, value || every)));
      select.value = chosen;
    }
  }

  typed() {
    const text = this.text.value.trim();
    this.abort.abort();
    this.asked = 0;
    this.store.found = text ? new Set() : null;
    this.store.narrow({ text });
    this.changed();
    if (text) this.arrived();
  }

  /** More has arrived: when it rests, the API is asked for it. */
  arrived() {
    if (!this.store.filter.text) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), REST);
  }

  async ask() {
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    const { text } = this.store.filter;
    const newest = this.store.all.at(-1)?.sequence ?? 0;
    try {
      for (let after = this.asked; ; ) {
        const page = await list({ after, limit: PAGE, text }, signal);
        for (const summary of page.exchanges) this.store.found?.add(summary.sequence);
        if (page.exchanges.length) {
          this.store.again();
          this.told();
        }
        if (!page.more) break;
        after = page.last;
      }
      this.asked = newest;
    } catch {
      // Another text was typed, or the stream's banner says that countersign is gone.
    }
  }

  /** Lets everything through again. */
  reset() {
    this.text.value = "";
    this.abort.abort();
    this.store.found = null;
    this.store.narrow({ text: "", statuses: new Set(), method: "", stage: "" });
    this.method.value = "";
    this.stage.value = "";
    for (const chip of byId("statuses").children) chip.setAttribute("aria-pressed", "false");
    this.changed();
  }
}
