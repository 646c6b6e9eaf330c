// What the page knows of the requests, and which of them the filter lets through. No DOM here.

import { outcome } from "./format.js";

/** The page forgets the oldest beyond this many; countersign itself keeps as many as fit into its buffer. */
const MOST = 20000;

/**
 * @typedef {import("./types.js").Summary} Summary
 * @typedef {{text: string, statuses: Set<string>, method: string, stage: string}} Filter
 */

export class Store {
  constructor() {
    /** @type {Summary[]} oldest first */
    this.all = [];
    /** @type {Summary[]} what the filter lets through, oldest first */
    this.shown = [];
    /** @type {Summary[]} held back while paused */
    this.waiting = [];
    this.paused = false;
    /** @type {Filter} */
    this.filter = { text: "", statuses: new Set(), method: "", stage: "" };
    /** @type {Set<number>|null} sequences that the API found the text in; `null` while it was not asked */
    this.found = null;
    /** @type {Map<number, Summary>} */
    this.known = new Map();
  }

  /**
   * Takes one up.
   * @param {Summary} summary
   * @returns {boolean} whether countersign was started anew, so that all before it is gone
   */
  add(summary) {
    const before = this.known.get(summary.sequence);
    if (before) {
      if (before.id === summary.id) {
        Object.assign(before, summary);
        return false;
      }
      this.clear();
    }
    this.known.set(summary.sequence, summary);
    if (this.paused) {
      this.waiting.push(summary);
    } else {
      this.take(summary);
    }
    return Boolean(before);
  }

  /** @param {Summary} summary */
  take(summary) {
    insert(this.all, summary);
    if (this.passes(summary)) insert(this.shown, summary);
    if (this.all.length > MOST) {
      const gone = this.all.shift();
      if (gone) this.known.delete(gone.sequence);
      if (this.shown[0] === gone) this.shown.shift();
    }
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    if (!paused) {
      for (const summary of this.waiting) this.take(summary);
      this.waiting = [];
    }
  }

  clear() {
    this.all = [];
    this.shown = [];
    this.waiting = [];
    this.known.clear();
    this.found = this.found && new Set();
  }

  /** Whether any filter is set. */
  get filtered() {
    const { text, statuses, method, stage } = this.filter;
    return Boolean(text || statuses.size || method || stage);
  }

  /**
   * Sets the filter.
   * @param {Partial<Filter>} filter
   */
  narrow(filter) {
    Object.assign(this.filter, filter);
    this.again();
  }

  /** Filters all again. */
  again() {
    this.shown = this.all.filter((summary) => this.passes(summary));
  }

  /**
   * @param {Summary} summary
   * @returns {boolean}
   */
  passes(summary) {
    const { text, statuses, method, stage } = this.filter;
    if (statuses.size && !statuses.has(outcome(summary))) return false;
    if (method && summary.method !== method) return false;
    if (stage && summary.stage !== stage) return false;
    if (!text || this.found?.has(summary.sequence)) return true;
    const place = [summary.method, summary.status, summary.target, summary.stage, summary.route, summary.refusal, summary.diagnosis, summary.id]
      .join("\n")
      .toLowerCase();
    return text.toLowerCase().split(/\s+/).every((word) => place.includes(word));
  }

  /**
   * The values of one field, for a filter to pick from.
   * @param {"method"|"stage"} field
   * @returns {string[]}
   */
  values(field) {
    const values = new Set();
    for (const summary of this.all) if (summary[field]) values.add(summary[field]);
    return [...values].sort();
  }
}

/**
 * Puts one where its sequence belongs, which is nearly always the end.
 * @param {Summary[]} list
 * @param {Summary} summary
 */
function insert(list, summary) {
  let at = list.length;
  while (at > 0 && list[at - 1].sequence > summary.sequence) at -= 1;
  list.splice(at, 0, summary);
}
