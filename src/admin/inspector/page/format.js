// How numbers, times and captured text are written.

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** Control characters, and those that turn the direction of what follows: shown, so that nothing looks like what it is not. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const UNSEEN_IN_LINES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** @param {string} character */
function named(character) {
  const code = character.charCodeAt(0);
  return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
}

/**
 * Text of one line, with what cannot be seen made visible.
 * @param {string|null|undefined} text
 */
export const line = (text) => (text ?? "").replace(UNSEEN, named);

/**
 * Text of several lines, likewise.
 * @param {string} text
 */
export const lines = (text) => text.replace(/\r\n/g, "\n").replace(UNSEEN_IN_LINES, named);

/**
 * @param {number|null|undefined} micros
 */
export function duration(micros) {
  if (micros === null || micros === undefined) return "–";
  if (micros < 1000) return `${micros} µs`;
  const millis = micros / 1000;
  if (millis < 10) return `${millis.toFixed(1)} ms`;
  if (millis < 1000) return `${Math.round(millis)} ms`;
  const seconds = millis / 1000;
  return seconds < 10 ? `${seconds.toFixed(2)} s` : `${seconds.toFixed(1)} s`;
}

/**
 * @param {number|null|undefined} count
 */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  if (count < 1024) return `${count} B`;
  const kib = count / 1024;
  if (kib < 1024) return `${kib < 10 ? kib.toFixed(1) : Math.round(kib)} KiB`;
  return `${(kib / 1024).toFixed(1)} MiB`;
}

/**
 * The time of day.
 * @param {string} iso
 */
export function clock(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "–" : TIME.format(date);
}

/**
 * Day and time.
 * @param {string} iso
 */
export function when(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? line(iso) : WHEN.format(date);
}

/**
 * What is left of a time, in the two largest units.
 * @param {number} seconds
 */
export function left(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/**
 * A request's class, for its colour and the filter.
 * @param {import("./types.js").Summary} summary
 * @returns {"2xx"|"3xx"|"4xx"|"5xx"|"refused"|"none"}
 */
export function outcome(summary) {
  if (summary.refusal) return "refused";
  const status = summary.status ?? 0;
  if (status >= 500) return "5xx";
  if (status >= 400) return "4xx";
  if (status >= 300) return "3xx";
  return status >= 100 ? "2xx" : "none";
}

/**
 * Methods that may change something at the stage.
 * @param {string} method
 */
export const canAct = (method) => !["GET", "HEAD", "OPTIONS"].includes(method.toUpperCase());
