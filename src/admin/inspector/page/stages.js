// The panel of stages: identity, source and time left with the refresh history, API key, the gateway's clock, routes, and
// the button that logs in.

import { ApiError, identify, login, state as fetchState } from "./api.js";
import { byId, h, icon, toast } from "./dom.js";
import { clock, left, line, when } from "./format.js";

/** Seconds left below which time is short. */
const SHORT = 300;

/**
 * @typedef {import("./types.js").State} State
 * @typedef {import("./types.js").StageState} StageState
 */

export class Stages {
  constructor() {
    /** @type {State|null} */
    this.state = null;
    /** When it came: what is left counts down from then. */
    this.came = 0;
    /** @type {HTMLElement|null} */
    this.shown = null;
    /** What leads back to the list. */
    this.back = () => {};
    setInterval(() => this.tick(), 1000);
  }

  /** @param {State} state */
  take(state) {
    this.state = state;
    this.came = Date.now();
    // A request that was opened took its place meanwhile: it stays.
    const into = this.shown?.isConnected ? this.shown.parentElement : null;
    if (into) this.view(into, this.back);
    this.tick();
  }

  /** @param {number} seconds as the state had it */
  now(seconds) {
    return seconds - (Date.now() - this.came) / 1000;
  }

  /** Counts down: here and in the button of the top bar. */
  tick() {
    const all = (this.state?.stages ?? []).flatMap((stage) => stage.credentials ?? []);
    const dated = all.filter((one) => one.seconds_left !== null && one.seconds_left !== undefined);
    const least = dated.length ? Math.min(...dated.map((one) => this.now(one.seconds_left ?? 0))) : null;
    const problem = all.some((one) => one.problem) || (this.state?.stages ?? []).some((stage) => stage.api_key?.problem);
    const badge = byId("time-left");
    badge.textContent = problem ? "problem" : least === null ? "" : least <= 0 ? "expired" : left(least);
    badge.dataset.level = problem || (least !== null && least <= 0) ? "bad" : least !== null && least < SHORT ? "short" : "";
    for (const element of this.shown?.querySelectorAll("[data-left]") ?? []) {
      const seconds = this.now(Number(/** @type {HTMLElement} */ (element).dataset.left));
      element.textContent = seconds <= 0 ? "expired" : left(seconds);
      /** @type {HTMLElement} */ (element).dataset.level = seconds <= 0 ? "bad" : seconds < SHORT ? "short" : "good";
    }
  }

  /**
   * Fills the panel.
   * @param {HTMLElement} into
   * @param {() => void} back
   */
  view(into, back) {
    this.back = back;
    const { state } = this;
    const stages = state?.stages ?? [];
    const top = into.scrollTop;
    const focused = /** @type {HTMLElement|null} */ (into.contains(document.activeElement) ? document.activeElement : null)?.dataset.stage;
    this.shown = h("div", {},
      h("header", { class: "pane-head" }, h("h2", { tabindex: -1 }, "Stages and credentials"),
        h("p", { class: "quiet-text" }, state
          ? [`countersign ${line(state.version)}`, state.listen?.length ? ` on ${state.listen.map(line).join(", ")}` : "", state.draining ? " · draining" : "",
             state.bodies ? " · bodies are captured" : " · bodies are not captured"]
          : "Waiting for countersign…"),
        h("button", { type: "button", class: "quiet back", on: { click: back } }, "Back to the list")),
      h("div", { class: "pane-body stages" }, stages.map((stage) => this.stage(stage))),
    );
    into.replaceChildren(this.shown);
    into.scrollTop = top;
    if (focused) for (const element of into.querySelectorAll("[data-stage]")) if (/** @type {HTMLElement} */ (element).dataset.stage === focused) /** @type {HTMLElement} */ (element).focus();
    this.tick();
  }

  /** @param {StageState} stage */
  stage(stage) {
    const offset = stage.clock_offset_seconds ?? 0;
    return h(
      "section",
      { class: "stage-card", "aria-label": `Stage ${line(stage.name)}` },
      h("h3", {}, line(stage.name), h("span", { class: "mount" }, line(stage.mount)), stage.read_only ? h("span", { class: "mount" }, "read only") : null),
      h("p", { class: "url" }, line(stage.url)),
      h("dl", { class: "facts" },
        fact("Signs for", [line(stage.region), " · ", line(stage.service)]),
        this.identity(stage),
        fact("API key", key(stage.api_key)),
        fact("Gateway's clock", offset === 0 ? "agrees with this machine's" : h("span", { class: Math.abs(offset) > 60 ? "short" : "" }, `${offset > 0 ? "+" : "−"}${left(Math.abs(offset))}, and signed accordingly`))),
      this.problem(stage),
      stage.auth.length ? routes(stage) : null,
      stage.credentials?.history?.length ? history(stage.credentials.history) : null,
    );
  }

  /** @param {StageState} stage */
  identity(stage) {
    const credentials = stage.credentials;
    if (!credentials) return fact("Credentials", h("span", { class: "quiet-text" }, "none needed"));
    const seconds = credentials.seconds_left;
    return [
      fact("Credentials", [line(credentials.source), credentials.access_key ? h("code", {}, line(credentials.access_key)) : null]),
      credentials.access_key ? fact("Identity", credentials.identity
        ? h("code", { class: "arn" }, line(credentials.identity))
        : h("button", { type: "button", class: "small", title: "sts:GetCallerIdentity, with the credentials that are held", "data-stage": `${stage.name} identity`, on: { click: () => this.identify(stage.name) } }, "Ask STS")) : null,
      fact("Time left", seconds === null || seconds === undefined
        ? h("span", { class: "quiet-text" }, credentials.access_key ? "no end is known" : "–")
        : [h("span", { class: "time-left", "data-left": seconds }), credentials.expires ? h("span", { class: "quiet-text" }, ` until ${when(credentials.expires)}`) : null]),
    ];
  }

  /** @param {string} name */
  async identify(name) {
    try {
      await identify(name);
      this.take(await fetchState());
    } catch (error) {
      failed(error);
    }
  }

  /** @param {StageState} stage */
  problem(stage) {
    const credentials = stage.credentials;
    const problem = credentials?.problem;
    return [
      trouble(problem),
      trouble(stage.api_key?.problem),
      credentials?.login ? h("button", { type: "button", class: problem ? "primary" : "", "data-stage": stage.name, on: { click: () => start(stage.name) } }, icon("lock"), h("span", {}, "Log in")) : null,
    ];
  }
}

/** @param {string} name */
async function start(name) {
  try {
    await login(name);
    toast("The login command was started; it may open a browser window");
  } catch (error) {
    failed(error);
  }
}

/** @param {unknown} error */
const failed = (error) => toast(error instanceof ApiError ? error.message : String(error), "failed");

/** @param {{message: string, hint: string}|null} [problem] */
const trouble = (problem) =>
  problem ? h("div", { class: "trouble", role: "note" }, h("p", {}, icon("alert"), h("b", {}, line(problem.message))), problem.hint ? h("p", {}, line(problem.hint)) : null) : null;

/** @param {string} name @param {any} value */
const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

/** @param {StageState["api_key"]} api_key */
function key(api_key) {
  if (!api_key) return h("span", { class: "quiet-text" }, "none set");
  return [api_key.present ? "present" : h("span", { class: "bad" }, "missing"), h("span", { class: "quiet-text" }, ` from ${line(api_key.source)}`)];
}

/** @param {StageState} stage */
function routes(stage) {
  return [
    h("h4", {}, "Routes"),
    h("table", { class: "small-table" }, h("caption", { class: "unseen" }, "Routes, first match wins"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Path"), h("th", { scope: "col" }, "What is added"))),
      h("tbody", {}, stage.auth.map((rule) => h("tr", {}, h("td", {}, h("code", {}, line([rule.methods.join("|"), rule.path].filter(Boolean).join(" ")))), h("td", {}, line(rule.auth)))))),
  ];
}

/** @param {{at: string, outcome: string, detail: string|null}[]} all */
function history(all) {
  return [
    h("h4", {}, "Refresh history"),
    h("ul", { class: "history" }, all.slice(-12).reverse().map((one) =>
      h("li", { "data-good": one.outcome === "fetched" ? "yes" : "no" },
        h("time", { title: when(one.at) }, clock(one.at)), h("b", {}, line(one.outcome)), one.detail ? h("span", {}, line(one.detail)) : null))),
  ];
}
