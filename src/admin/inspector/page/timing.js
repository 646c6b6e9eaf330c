// Where the time went: one bar, a segment a phase, and the phases in words.

import { h } from "./dom.js";
import { duration, line } from "./format.js";

/** Colours by turns for phases; see panels.css. */
const HUES = 8;

/**
 * @param {import("./types.js").Detail} detail
 * @returns {HTMLElement|null}
 */
export function timingView(detail) {
  const phases = detail.phases.filter((phase) => phase.name !== "total" && phase.micros > 0);
  const sum = phases.reduce((all, phase) => all + phase.micros, 0);
  const total = Math.max(detail.summary.micros ?? 0, sum);
  if (!total || !phases.length) return null;
  const other = total - sum;
  const all = other > total / 200 ? [...phases, { name: "other", micros: other }] : phases;
  const words = (/** @type {string} */ name) => line(name.replaceAll("_", " "));
  const spoken = all.map((phase) => `${words(phase.name)} ${duration(phase.micros)}`).join(", ");
  const bar = h("div", { class: "bar", role: "img", "aria-label": `Timing: ${spoken}` });
  const legend = h("ul", { class: "phases" });
  all.forEach((phase, at) => {
    const hue = phase.name === "other" ? "hue-none" : `hue-${at % HUES}`;
    const segment = h("span", { class: hue, title: `${words(phase.name)} ${duration(phase.micros)}` });
    segment.style.setProperty("flex-grow", String(phase.micros));
    bar.append(segment);
    legend.append(h("li", {}, h("span", { class: `swatch ${hue}`, "aria-hidden": "true" }), words(phase.name), " ", h("b", {}, duration(phase.micros))));
  });
  return h("div", { class: "timing" }, bar, legend);
}
