// JSON laid out and coloured from its own text: numbers, names that stand twice and order stay as they were sent, which
// `JSON.parse` would not keep.

import { h } from "./dom.js";
import { lines } from "./format.js";

const TOKEN = /\s+|"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/gy;
/** Beyond this many tokens text stays uncoloured: a page has to stay quick. */
const MOST = 20000;

/**
 * The tokens of a JSON text; `null` when it is none.
 * @param {string} text
 * @returns {string[]|null}
 */
function tokens(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  return (text.match(TOKEN) ?? []).filter((token) => token.trim());
}

/**
 * The text laid out as a fragment; `null` when it is no JSON.
 * @param {string} text
 * @returns {DocumentFragment|null}
 */
export function pretty(text) {
  const all = tokens(text);
  if (!all || all.length > MOST) return null;
  const made = document.createDocumentFragment();
  let plain = "";
  let depth = 0;
  const flush = () => {
    if (plain) made.append(plain);
    plain = "";
  };
  const coloured = (/** @type {string} */ kind, /** @type {string} */ token) => {
    flush();
    made.append(h("span", { class: kind }, lines(token)));
  };
  const fresh = () => {
    plain += `\n${"  ".repeat(depth)}`;
  };
  all.forEach((token, at) => {
    const next = all[at + 1];
    if (token === "{" || token === "[") {
      plain += token;
      depth += 1;
      if (next !== "}" && next !== "]") fresh();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (all[at - 1] !== "{" && all[at - 1] !== "[") fresh();
      plain += token;
    } else if (token === ",") {
      plain += token;
      fresh();
    } else if (token === ":") {
      plain += ": ";
    } else if (token.startsWith('"')) {
      coloured(next === ":" ? "json-name" : "json-text", token);
    } else {
      coloured(/[tfn]/.test(token[0]) ? "json-word" : "json-number", token);
    }
  });
  flush();
  return made;
}
