// The keyboard. Single letters work only where nothing is typed and no dialog is open.

/**
 * @typedef {object} Keys
 * @property {(by: number) => void} move
 * @property {(end: "newest"|"oldest") => void} jump
 * @property {() => number} page
 * @property {() => void} open
 * @property {() => void} back
 * @property {() => void} filter
 * @property {(at: number) => void} view
 * @property {Record<string, () => void>} letters
 */

/** @param {Keys} keys */
export function listenToKeys(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.matches("input, textarea, select")) {
      if (event.key === "Escape") target.blur();
      // From the filter straight into what it found.
      if (target.id === "text" && (event.key === "Enter" || event.key === "ArrowDown")) {
        target.blur();
        keys.move(1);
        event.preventDefault();
      }
      return;
    }
    const act = find(event, target, keys);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement} target
 * @param {Keys} keys
 * @returns {(() => void)|undefined}
 */
function find(event, target, keys) {
  const pressable = target.closest("button, a, [role=tab], summary");
  // Where something scrolls, the arrows scroll it.
  const scrolls = target.closest(".detail");
  switch (event.key) {
    case "j":
      return () => keys.move(1);
    case "k":
      return () => keys.move(-1);
    case "ArrowDown":
      return scrolls ? undefined : () => keys.move(1);
    case "ArrowUp":
      return scrolls ? undefined : () => keys.move(-1);
    case "PageDown":
      return scrolls ? undefined : () => keys.move(keys.page());
    case "PageUp":
      return scrolls ? undefined : () => keys.move(-keys.page());
    case "g":
      return () => keys.jump("newest");
    case "G":
      return () => keys.jump("oldest");
    case "Home":
      return scrolls ? undefined : () => keys.jump("newest");
    case "End":
      return scrolls ? undefined : () => keys.jump("oldest");
    case "Enter":
      return pressable || scrolls ? undefined : keys.open;
    case "Escape":
      return keys.back;
    case "/":
      return keys.filter;
    case "1":
    case "2":
    case "3":
      return () => keys.view(Number(event.key));
    default:
      return keys.letters[event.key];
  }
}
