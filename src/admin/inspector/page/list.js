// The list: rows of one height, of which only those in sight are in the document, so that ten thousand cost as much as
// fifty. Newest first; what is looked at stays where it is while more arrives.

import { h } from "./dom.js";
import { bytes, clock, duration, line, outcome } from "./format.js";

/** As in list.css. */
const ROW = 34;
const HEAD = 30;
/** Rows made beyond the edge of what is in sight. */
const MARGIN = 6;

const COLUMNS = /** @type {const} */ ([
  ["status", "Status"],
  ["method", "Method"],
  ["target", "Path"],
  ["stage", "Stage"],
  ["size", "Size"],
  ["took", "Took"],
  ["began", "Time"],
]);

/**
 * @typedef {import("./types.js").Summary} Summary
 */

export class List {
  /**
   * @param {HTMLElement} element the scrolling grid
   * @param {(summary: Summary, open: boolean) => void} chosen
   */
  constructor(element, chosen) {
    this.element = element;
    this.chosen = chosen;
    /** @type {Summary[]} oldest first */
    this.entries = [];
    /** @type {number|null} sequence of the selected one */
    this.selected = null;
    /** @type {Map<number, HTMLElement>} rows in the document, by sequence */
    this.rows = new Map();
    this.frame = 0;
    const head = h(
      "div",
      { role: "row", class: "row head", "aria-rowindex": 1 },
      COLUMNS.map(([name, label]) => h("span", { role: "columnheader", class: name }, label)),
    );
    this.space = h("div", { role: "rowgroup", class: "space" });
    element.replaceChildren(h("div", { role: "rowgroup", class: "headgroup" }, head), this.space);
    element.addEventListener("scroll", () => this.later(), { passive: true });
    element.addEventListener("click", (event) => this.clicked(event, false));
    element.addEventListener("dblclick", (event) => this.clicked(event, true));
    new ResizeObserver(() => this.later()).observe(element);
  }

  /**
   * Shows these.
   * @param {Summary[]} entries oldest first
   * @param {boolean} [anew] another filter: back to the top
   */
  show(entries, anew = false) {
    const top = this.element.scrollTop;
    const anchor = anew || top < ROW / 2 ? undefined : this.at(Math.floor(top / ROW));
    // A copy: the caller's grows, and what was in sight is found by what was here.
    this.entries = entries.slice();
    this.space.style.setProperty("height", `${entries.length * ROW}px`);
    this.element.setAttribute("aria-rowcount", String(entries.length + 1));
    if (anew) {
      this.element.scrollTop = 0;
    } else if (anchor) {
      const place = this.place(anchor.sequence);
      if (place >= 0) this.element.scrollTop = place * ROW + (top % ROW);
    }
    this.render();
  }

  /**
   * The entry in this row, counted from the top.
   * @param {number} place
   */
  at(place) {
    return this.entries[this.entries.length - 1 - place];
  }

  /**
   * The row of this sequence, counted from the top; -1 when it is not shown.
   * @param {number} sequence
   */
  place(sequence) {
    let low = 0;
    let high = this.entries.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.entries[middle].sequence;
      if (found === sequence) return this.entries.length - 1 - middle;
      if (found < sequence) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  later() {
    this.frame ||= requestAnimationFrame(() => this.render());
  }

  render() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - MARGIN);
    const last = Math.min(this.entries.length, Math.ceil((scrollTop + clientHeight) / ROW) + MARGIN);
    /** @type {Map<number, HTMLElement>} */
    const rows = new Map();
    for (let place = first; place < last; place += 1) {
      const entry = this.at(place);
      let row = this.rows.get(entry.sequence);
      if (!row || row.dataset.id !== entry.id) {
        row?.remove();
        row = makeRow(entry);
        this.space.append(row);
      }
      row.setAttribute("aria-rowindex", String(place + 2));
      row.setAttribute("aria-selected", String(entry.sequence === this.selected));
      row.style.setProperty("transform", `translateY(${place * ROW}px)`);
      rows.set(entry.sequence, row);
    }
    for (const [sequence, row] of this.rows) if (rows.get(sequence) !== row) row.remove();
    this.rows = rows;
    const active = this.selected !== null && rows.get(this.selected);
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /**
   * Selects, and brings it into sight.
   * @param {Summary|null} entry
   */
  select(entry) {
    this.selected = entry?.sequence ?? null;
    const place = entry ? this.place(entry.sequence) : -1;
    if (place >= 0) {
      const { scrollTop, clientHeight } = this.element;
      const top = place * ROW;
      if (top < scrollTop) this.element.scrollTop = top;
      else if (top + ROW + HEAD > scrollTop + clientHeight) this.element.scrollTop = top + ROW + HEAD - clientHeight;
    }
    this.render();
  }

  /**
   * Moves the selection by so many rows.
   * @param {number} by
   */
  move(by) {
    if (!this.entries.length) return;
    const now = this.selected === null ? -1 : this.place(this.selected);
    const last = this.entries.length - 1;
    // With nothing selected, a step comes in from the edge; all the way is all the way.
    const step = now < 0 && Number.isFinite(by);
    const place = step ? (by < 0 ? last : 0) : Math.min(last, Math.max(0, Math.max(0, now) + by));
    this.chosen(this.at(place), false);
  }

  /** How many rows are in sight. */
  get page() {
    return Math.max(1, Math.floor((this.element.clientHeight - HEAD) / ROW) - 1);
  }

  /**
   * @param {MouseEvent} event
   * @param {boolean} open
   */
  clicked(event, open) {
    const row = /** @type {HTMLElement} */ (event.target).closest(".row[data-sequence]");
    const entry = row && this.at(this.place(Number(/** @type {HTMLElement} */ (row).dataset.sequence)));
    if (entry) this.chosen(entry, open || matchMedia("(width < 900px)").matches);
  }
}

/**
 * @param {Summary} entry
 * @returns {HTMLElement}
 */
function makeRow(entry) {
  const [path, query] = split(entry.target);
  const mark = entry.diagnosis ?? entry.refusal;
  const cells = {
    status: h("span", { class: "code" }, entry.status ? String(entry.status) : "···"),
    method: line(entry.method),
    target: [
      entry.replay_of ? h("span", { class: "tag", title: "Sent by this page" }, "replay") : null,
      entry.imported ? h("span", { class: "tag", title: "From a HAR file" }, "imported") : null,
      h("span", { class: "path" }, line(path), query ? h("span", { class: "query" }, line(query)) : null),
      mark ? h("span", { class: "why" }, line(mark)) : null,
    ],
    stage: line(entry.stage ?? ""),
    size: bytes(entry.sent_bytes),
    took: duration(entry.micros),
    began: clock(entry.began),
  };
  return h(
    "div",
    {
      role: "row",
      class: "row",
      id: `row-${entry.sequence}`,
      title: mark ? `${line(entry.target)}\n${line(mark)}` : line(entry.target),
      "data-id": entry.id,
      "data-sequence": entry.sequence,
      "data-outcome": outcome(entry),
    },
    COLUMNS.map(([name]) => h("span", { role: "gridcell", class: name }, cells[name])),
  );
}

/**
 * Path and query, the latter with its question mark.
 * @param {string} target
 * @returns {[string, string]}
 */
export function split(target) {
  const at = target.indexOf("?");
  return at < 0 ? [target, ""] : [target.slice(0, at), target.slice(at)];
}
