// Makes elements. Everything captured goes through here as a text node or an attribute that cannot run anything: there is
// no `innerHTML` in this page.

/** Attributes that `h` sets; others, `on…` and `style` among them, are mistakes. */
const ATTRIBUTE =
  /^(id|class|role|title|type|name|value|for|tabindex|hidden|disabled|checked|selected|readonly|open|rows|colspan|download|placeholder|spellcheck|autocomplete|list|method|scope|aria-[a-z]+|data-[a-z]+)$/;

/**
 * An element with attributes, listeners (`on: {click}`) and children; strings become text.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...any} children nothing comes of `null`, `undefined` and `false`; lists are flattened
 * @returns {any} the element
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (!ATTRIBUTE.test(name)) {
      throw new Error(`h does not set ${name}`);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * One of the symbols of index.html.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button.
 * @param {string} text
 * @param {(event: Event) => void} click
 * @param {{icon?: string, class?: string, title?: string, id?: string}} [more]
 */
export function button(text, click, more = {}) {
  return h(
    "button",
    { type: "button", class: more.class, title: more.title, id: more.id, on: { click } },
    more.icon ? icon(more.icon) : null,
    h("span", { class: "label" }, text),
  );
}

/**
 * The element with this id, which index.html has.
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * Says something for a moment.
 * @param {string} text
 * @param {"done"|"note"|"failed"} [kind]
 */
export function toast(text, kind = "done") {
  const made = h("p", { class: `toast ${kind}` }, text);
  byId("toasts").append(made);
  setTimeout(() => made.remove(), kind === "done" ? 3500 : 9000);
}

/**
 * Puts text into the clipboard; where the browser has none for this page, shows it to be copied by hand.
 * @param {string} text
 * @param {string} what
 */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    const { show } = await import("./dialogs.js");
    show(`Copy: ${what}`, h("textarea", { readonly: true, rows: 8, class: "code", "aria-label": what }, text));
  }
}
