// Dark, light, or as the system has it; the choice is kept by the browser.

import { byId } from "./dom.js";

const KEY = "countersign-theme";
const ORDER = ["auto", "light", "dark"];
const NAMES = { auto: "as the system", light: "light", dark: "dark" };

function kept() {
  try {
    const theme = localStorage.getItem(KEY) ?? "auto";
    return ORDER.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

/** @param {string} theme */
function apply(theme) {
  document.documentElement.dataset.theme = theme;
  const text = `Theme: ${NAMES[/** @type {keyof typeof NAMES} */ (theme)]} (t)`;
  byId("theme").title = text;
  byId("theme-text").textContent = text;
}

/** Goes to the next one. */
export function turn() {
  const theme = ORDER[(ORDER.indexOf(kept()) + 1) % ORDER.length];
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // A browser that keeps nothing for this page shows it until it is closed.
  }
  apply(theme);
}

apply(kept());
