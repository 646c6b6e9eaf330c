// The inspector: puts list, filter, detail, stages, stream and keyboard together.

import * as act from "./actions.js";
import { DetailPane } from "./detail.js";
import { help } from "./dialogs.js";
import { button, byId, copy, h, toast } from "./dom.js";
import { Filters } from "./filters.js";
import { line } from "./format.js";
import { listenToKeys } from "./keys.js";
import { List } from "./list.js";
import { Stages } from "./stages.js";
import { Store } from "./store.js";
import { listen } from "./stream.js";
import { turn } from "./theme.js";

const view = byId("view");
const store = new Store();
const stages = new Stages();
/** The one that was sent from here, to be opened when it arrives. */
let awaited = "";
let frame = 0;
let cut = "";

const list = new List(byId("list"), choose);
const filters = new Filters(store, () => draw(true), () => draw());
const pane = new DetailPane(byId("detail"), {
  replay: (summary) => act.replay(summary, sent),
  edit: (id, known) => act.editAndSend(id, known, sent),
  curl: act.copyCurl,
  signedCurl: act.copySignedCurl,
  close: back,
  captured: () => stages.state?.bodies ?? false,
});

/** The selected one, also when the filter hides it. */
const selected = () => (list.selected === null ? undefined : store.known.get(list.selected));

/**
 * @param {import("./types.js").Summary} summary
 * @param {boolean} open bring the detail to the front, where there is room for one only
 */
function choose(summary, open) {
  list.select(summary);
  view.classList.add("has-detail");
  view.classList.toggle("in-front", open || view.classList.contains("in-front"));
  pane.open(summary.id);
}

/** @param {string} id */
function sent(id) {
  awaited = id;
  open(id);
}

/** @param {string} id */
function open(id) {
  const summary = store.all.find((one) => one.id === id);
  if (!summary) return;
  awaited = "";
  choose(summary, false);
}

function back() {
  const front = view.classList.contains("in-front");
  const inside = byId("detail").contains(document.activeElement);
  view.classList.remove("in-front");
  if (!front && !inside) showStages(false);
  list.element.focus();
}

/** @param {boolean} front */
function showStages(front) {
  pane.leave();
  list.select(null);
  view.classList.remove("has-detail");
  view.classList.toggle("in-front", front);
  stages.view(byId("detail"), back);
  if (front) byId("detail").querySelector("h2")?.focus();
}

/** Draws at the next frame, however many arrive before it. */
function later() {
  frame ||= requestAnimationFrame(() => draw());
}

/** @param {boolean} [anew] */
function draw(anew = false) {
  cancelAnimationFrame(frame);
  frame = 0;
  list.show(store.shown, anew);
  filters.options();
  const { all, shown, waiting } = store;
  byId("count").textContent = store.filtered ? `${shown.length} of ${all.length}` : all.length === 1 ? "1 request" : `${all.length} requests`;
  byId("pause-text").textContent = !store.paused ? "Pause" : waiting.length ? `Resume (${waiting.length})` : "Resume";
  const empty = byId("empty");
  empty.hidden = shown.length > 0;
  if (!shown.length) fillEmpty(empty);
  if (awaited) open(awaited);
}

/** @param {HTMLElement} empty */
function fillEmpty(empty) {
  const kind = store.all.length ? "filtered" : `none ${stages.state?.listen?.[0] ?? ""}`;
  if (empty.dataset.kind === kind) return;
  empty.dataset.kind = kind;
  if (store.all.length) {
    empty.replaceChildren(h("h2", {}, "No request matches"), h("p", {}, "The filter hides all of them."), button("Show all", () => filters.reset()));
    return;
  }
  const base = stages.state?.listen?.[0] ?? "http://127.0.0.1:8080";
  const mount = stages.state?.stages?.[0]?.mount ?? "/";
  const command = `curl -i ${base.replace(/\/$/, "")}${mount.startsWith("/") ? mount : "/"}`;
  empty.replaceChildren(
    h("h2", {}, "Waiting for the first request"),
    h("p", {}, "Send one through countersign, and it appears here:"),
    h("div", { class: "sample" }, h("code", {}, line(command)), button("Copy", () => copy(command, "curl command"), { icon: "copy", class: "small" })),
    h("p", { class: "quiet-text" }, "It is signed, sent to the stage, and shown with all that was added to it."),
  );
}

/** @param {boolean} paused */
function pause(paused) {
  store.pause(paused);
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").querySelector("use")?.setAttribute("href", paused ? "#i-play" : "#i-pause");
  draw();
}

function cleared() {
  store.clear();
  showStages(false);
  draw(true);
}

const stream = listen({
  exchange: (summary) => {
    if (store.add(summary)) showStages(false);
    later();
    filters.arrived();
  },
  state: (state) => {
    stages.take(state);
    later();
  },
  dropped: (count) => toast(count === 1 ? "One request had to make room before it was shown" : `${count} requests had to make room before they were shown`, "note"),
  cleared,
  status: (status, message) => {
    byId("live").dataset.state = status;
    byId("live-text").textContent = { live: "Live", cut: "Reconnecting", locked: "Disconnected" }[status];
    const banner = byId("banner");
    banner.hidden = status === "live";
    const text = status === "live" ? "" : message;
    if (text !== cut && text) {
      banner.replaceChildren(h("span", {}, text), status === "cut" ? button("Try now", () => stream.retry(), { class: "small" }) : "");
    }
    cut = text;
  },
});

byId("show-stages").addEventListener("click", () => showStages(true));
byId("pause").addEventListener("click", () => pause(!store.paused));
byId("clear").addEventListener("click", () => act.clear(cleared));
byId("import").addEventListener("click", act.importHar);
byId("theme").addEventListener("click", turn);
byId("help").addEventListener("click", help);

/** @param {(summary: import("./types.js").Summary) => void} acts */
const withSelected = (acts) => () => {
  const summary = selected();
  if (summary) acts(summary);
};

listenToKeys({
  move: (by) => list.move(by),
  jump: (end) => list.move(end === "newest" ? -Infinity : Infinity),
  page: () => list.page,
  open: withSelected((summary) => {
    choose(summary, true);
    byId("detail").focus();
  }),
  back,
  filter: () => byId("text").select(),
  view: (at) => pane.show(at),
  letters: {
    r: withSelected((summary) => act.replay(summary, sent)),
    e: withSelected((summary) => act.editAndSend(summary.id, pane.detail, sent)),
    c: withSelected((summary) => act.copyCurl(summary.id)),
    p: () => pause(!store.paused),
    s: () => showStages(true),
    t: turn,
    "?": help,
  },
});

showStages(false);
draw();
