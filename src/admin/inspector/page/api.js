// The calls of the JSON API. Each gives what the API answers, or throws an `ApiError` that says what to do.

/** An answer that is no success. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 when nothing answered
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 */
async function call(path, init = {}) {
  const changes = init.method && init.method !== "GET";
  /** @type {Record<string, string>} */
  const headers = changes ? { "x-countersign-inspector": "1" } : {};
  if (typeof init.body === "string") headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { ...init, headers, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "countersign does not answer. Is it still running?");
  }
  const text = await answer.text();
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch {
    // An answer that is no JSON has its status to tell.
  }
  if (answer.ok) return json;
  const hint = [json?.message, json?.hint].filter(Boolean).join(" ");
  throw new ApiError(answer.status, json?.error ?? json?.code ?? String(answer.status), hint || `countersign answered ${answer.status}.`);
}

/** @param {string} path @param {unknown} body */
const post = (path, body) => call(path, { method: "POST", body: JSON.stringify(body) });
const at = (/** @type {string} */ id) => `exchanges/${encodeURIComponent(id)}`;

/**
 * A page of summaries, oldest first.
 * @param {{after?: number, limit?: number, text?: string}} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{exchanges: import("./types.js").Summary[], last: number, dropped: number, more: boolean}>}
 */
export function list(query, signal) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) parameters.set(name, String(value));
  return call(`exchanges?${parameters}`, { signal });
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./types.js").Detail>}
 */
export const detail = (id, signal) => call(at(id), { signal });
/** @returns {Promise<import("./types.js").State>} */
export const state = () => call("state");
export const clear = () => call("exchanges", { method: "DELETE" });
/** @param {string} id @param {boolean} confirmed @returns {Promise<{id: string}>} */
export const replay = (id, confirmed) => post(`${at(id)}/replay`, confirmed ? { confirmed } : {});
/** @param {object} request @returns {Promise<{id: string}>} */
export const send = (request) => post("send", request);
/** @param {string} id @returns {Promise<{command: string, notes?: string[]}>} */
export const curl = (id) => call(`${at(id)}/curl`);
/** @param {string} id @returns {Promise<{command: string, notes?: string[]}>} */
export const signedCurl = (id) => post(`${at(id)}/signed-curl`, { confirmed: true });
/** @param {string} stage */
export const login = (stage) => post("login", { stage });
/** @param {string} stage @returns {Promise<{arn: string}>} */
export const identify = (stage) => post("identity", { stage });
/** @param {string} har the file's text */
export const importHar = (har) => call("har", { method: "POST", body: har });
