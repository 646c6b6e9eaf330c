// The live stream: server-sent events, which the browser resumes by the last one's id. When it is cut for good, asks why,
// and tries again with growing pauses.

import { ApiError, state } from "./api.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

/**
 * @typedef {object} Told
 * @property {(summary: import("./types.js").Summary) => void} exchange
 * @property {(state: import("./types.js").State) => void} state
 * @property {(count: number) => void} dropped so many had to make room before they came
 * @property {() => void} cleared
 * @property {(status: "live"|"cut"|"locked", message: string) => void} status
 */

/**
 * Listens from now on.
 * @param {Told} told
 * @returns {{retry: () => void}} tries again at once
 */
export function listen(told) {
  let pause = FIRST_PAUSE;
  /** @type {EventSource|null} */
  let source = null;
  /** @type {number|undefined} */
  let timer;

  function open() {
    clearTimeout(timer);
    source?.close();
    const opened = new EventSource("/api/events");
    source = opened;
    opened.addEventListener("open", () => {
      pause = FIRST_PAUSE;
      told.status("live", "Live");
    });
    opened.addEventListener("exchange", (event) => told.exchange(JSON.parse(event.data)));
    opened.addEventListener("state", (event) => told.state(JSON.parse(event.data)));
    opened.addEventListener("dropped", (event) => told.dropped(JSON.parse(event.data).dropped));
    opened.addEventListener("cleared", () => told.cleared());
    opened.addEventListener("error", () => {
      told.status("cut", "The live stream was cut. Trying again…");
      // CONNECTING: the browser tries again by itself.
      if (opened.readyState === EventSource.CLOSED) again();
    });
  }

  async function again() {
    clearTimeout(timer);
    try {
      await state();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        told.status("locked", "This page's link is no longer valid: countersign was started anew. `countersign inspect --open` opens the new one.");
        return;
      }
    }
    timer = setTimeout(open, pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }

  open();
  return {
    retry: () => {
      pause = FIRST_PAUSE;
      open();
    },
  };
}
