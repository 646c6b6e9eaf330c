// A page of another site tries all that a page can do to make the browser send a request.
//
// given.page is the page, given.proxy the proxy's base, given.mark what the paths of this run start with.
import { given, run, tell } from "./browser.mjs";

// These run in the page, with the address to reach, and say what the page saw: what an element reports is what any
// script of an attacker can see.
const element = (tag, attribute, more = {}) => [
  ([url, tag, attribute, more]) =>
    new Promise((resolve) => {
      const made = Object.assign(document.createElement(tag), more);
      made.onload = () => resolve("loaded");
      made.onloadeddata = () => resolve("loaded");
      made.onerror = () => resolve("error");
      made[attribute] = url;
      document.body.append(made);
    }),
  [tag, attribute, more],
];

const fetched = (init) => [
  async ([url, init]) => {
    try {
      const answer = await fetch(url, init);
      return answer.type === "opaque" ? "opaque" : `read ${answer.status} ${await answer.text()}`;
    } catch {
      return "failed";
    }
  },
  [init],
];

const inPage = {
  "fetch-get": fetched({}),
  "fetch-get-with-cookies": fetched({ credentials: "include" }),
  "fetch-no-cors": fetched({ mode: "no-cors" }),
  "fetch-no-cors-post": fetched({ mode: "no-cors", method: "POST", body: "{}" }),
  "fetch-without-referrer": fetched({ mode: "no-cors", referrerPolicy: "no-referrer" }),
  "fetch-keepalive": fetched({ mode: "no-cors", method: "POST", body: "{}", keepalive: true }),
  "fetch-json": fetched({ method: "POST", headers: { "content-type": "application/json" }, body: "{}" }),
  "fetch-own-header": fetched({ headers: { "x-tenant": "a" } }),
  "fetch-put": fetched({ method: "PUT", body: "x" }),
  "fetch-delete": fetched({ method: "DELETE" }),
  img: element("img", "src"),
  "img-cors": element("img", "src", { crossOrigin: "anonymous" }),
  script: element("script", "src"),
  "script-module": element("script", "src", { type: "module" }),
  stylesheet: element("link", "href", { rel: "stylesheet" }),
  preload: element("link", "href", { rel: "preload", as: "image" }),
  audio: element("audio", "src", { preload: "auto" }),
  iframe: element("iframe", "src"),
  "iframe-sandboxed": element("iframe", "src", { sandbox: "allow-scripts" }),
  object: element("object", "data"),
  embed: element("embed", "src"),
  "send-beacon": [([url]) => String(navigator.sendBeacon(url, "x")), []],
  "event-source": [
    ([url]) =>
      new Promise((resolve) => {
        const source = new EventSource(url);
        source.onopen = () => resolve("open");
        source.onerror = () => {
          source.close();
          resolve("error");
        };
      }),
    [],
  ],
  "web-socket": [
    ([url]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url.replace(/^http/, "ws"));
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("error");
      }),
    [],
  ],
  xhr: [
    ([url]) =>
      new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.onload = () => resolve(`read ${request.status}`);
        request.onerror = () => resolve("error");
        request.open("GET", url);
        request.send();
      }),
    [],
  ],
  // What a frame without an origin of its own calls: `Origin: null`.
  "null-fetch": [
    ([url]) =>
      new Promise((resolve) => {
        addEventListener("message", (event) => resolve(event.data));
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.srcdoc = `<script>fetch(${JSON.stringify(url)}).then((a) => "read " + a.status, () => "failed")
          .then((saw) => parent.postMessage(saw, "*"))</script>`;
        document.body.append(frame);
      }),
    [],
  ],
  "null-post": [
    ([url]) =>
      new Promise((resolve) => {
        addEventListener("message", (event) => resolve(event.data));
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.srcdoc = `<script>fetch(${JSON.stringify(url)}, { method: "POST", mode: "no-cors", body: "x" })
          .then((a) => a.type, () => "failed").then((saw) => parent.postMessage(saw, "*"))</script>`;
        document.body.append(frame);
      }),
    [],
  ],
  worker: [
    ([url]) =>
      new Promise((resolve) => {
        const text = `try { importScripts(${JSON.stringify(url)}); postMessage("loaded") } catch { postMessage("error") }`;
        const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
        worker.onmessage = (event) => resolve(event.data);
      }),
    [],
  ],
  // The page's own server sends the browser on.
  redirect: [
    async ([url]) => {
      try {
        return (await fetch(`/to?${url}`, { mode: "no-cors" })).type;
      } catch {
        return "failed";
      }
    },
    [],
  ],
};

// These leave the page, or open another; `saw` is the status of what the browser then shows.
const form = (method, enctype, target) => [
  ([url, method, enctype, target]) => {
    const form = Object.assign(document.createElement("form"), { action: url, method, target });
    form.enctype = enctype;
    form.innerHTML = '<input name="amount" value="1">';
    document.body.append(form);
    form.submit();
  },
  [method, enctype, target],
];

const link = (more) => [
  ([url, more]) => {
    const link = Object.assign(document.createElement("a"), more, { href: url, textContent: "a prize" });
    document.body.append(link);
    link.click();
  },
  [more],
];

const away = {
  "form-get": form("get", "application/x-www-form-urlencoded", ""),
  "form-post": form("post", "application/x-www-form-urlencoded", ""),
  "form-post-text": form("post", "text/plain", ""),
  "form-post-multipart": form("post", "multipart/form-data", ""),
  "form-post-blank": form("post", "text/plain", "_blank"),
  link: link({}),
  "link-without-referrer": link({ rel: "noreferrer", referrerPolicy: "no-referrer" }),
  "link-blank": link({ target: "_blank" }),
  location: [([url]) => location.assign(url), []],
  "location-replace": [([url]) => location.replace(url), []],
  "window-open": [([url]) => void open(url), []],
  "window-open-noopener": [([url]) => void open(url, "_blank", "noopener"), []],
  "meta-refresh": [
    ([url]) => {
      const meta = Object.assign(document.createElement("meta"), { httpEquiv: "refresh", content: `0; url=${url}` });
      document.head.append(meta);
    },
    [],
  ],
  "redirect-away": [([url]) => location.assign(`/to?${url}`), []],
};

await run(async (context) => {
  for (const [name, [attempt, more]] of Object.entries(inPage)) {
    const page = await context.newPage();
    await page.goto(given.page);
    const saw = await page.evaluate(attempt, [`${given.proxy}${given.mark}${name}`, ...more]);
    tell({ name, saw });
    await page.close();
  }
  for (const [name, [attempt, more]] of Object.entries(away)) {
    const page = await context.newPage();
    await page.goto(given.page);
    const url = `${given.proxy}${given.mark}${name}`;
    const came = context.waitForEvent("response", (answer) => answer.url().startsWith(url));
    // In this page or in one that it opens.
    const isThere = (page) => page.waitForURL((now) => now.href.startsWith(url));
    const shown = Promise.any([isThere(page), context.waitForEvent("page").then(isThere)]);
    await page.evaluate(attempt, [url, ...more]);
    tell({ name, saw: String((await came).status()) });
    // A page that is closed while it goes elsewhere may never be closed.
    await shown;
    for (const page of context.pages()) await page.close();
  }
});
