// One stream of events a tab. State changes fetch the page again and replace its live parts; progress only fills fields.
"use strict";

const badge = () => document.querySelector("#live");
const main = () => document.querySelector("#main");
const topics = document.body.dataset.topics.split(" ");
const heardOf = new Map(); // topic: its newest event that changed a state
let newest = pageAt();
let stream;
let again = 1000;
let standing = ["off", "connecting"];

function pageAt() { // all that happened until this event is on the page
  return Number(main().dataset.event) || 0;
}
function connect() {
  stream = new EventSource(`/api/events?after=${newest}`);
  stream.onopen = () => { again = 1000; show("on", "live"); };
  stream.onerror = () => {
    show("lost", "reconnecting");
    if (stream.readyState !== EventSource.CLOSED) return;
    again = Math.min(2 * again, 30_000); // after any answer but 200 the browser gives up
    setTimeout(connect, again);
  };
  stream.addEventListener("reset", (event) => {
    newest = Number(event.lastEventId);
    shownAt = new WeakMap();
    main().dataset.event = "-1";
    for (const topic of topics) heardOf.set(topic, newest);
    refresh();
  });
  for (const topic of topics) stream.addEventListener(topic, (event) => heard(JSON.parse(event.data)));
}
function show(state, words) {
  standing = [state, words];
  if (!badge()) return;
  badge().dataset.state = state;
  badge().textContent = words;
}
function heard(event) {
  newest = event.id;
  document.dispatchEvent(new CustomEvent("holdfast:event", { detail: event }));
  if (event.kind.endsWith("progress")) return fill(event);
  if (event.kind === "step") heardOf.set(`${event.topic}/${event.data.id}`, event.id); // only its own page shows it
  else {
    heardOf.set(event.topic, event.id);
    announce(event);
  }
  refresh();
}
let speaking;
function announce({ topic, kind, data }) {
  const [first, last] = kind.includes(".") ? kind.split(".") : [topic, kind];
  const what = data.title || data.bucket || data.name || data.server_name || data.address;
  const words = [first, what, data.state ?? data.phase ?? last].filter(Boolean).join(" ");
  clearTimeout(speaking);
  speaking = setTimeout(() => { document.querySelector("#news").textContent = words; }, 500);
}

// ---- progress: what it holds, under "job/ID" or "migration/ID"; a job's progress_text is its text
const sizes = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const formats = {
  size(value) {
    let unit = 0;
    for (; value >= 1024 && unit < sizes.length - 1; unit += 1) value /= 1024;
    return `${unit ? value.toFixed(1) : value} ${sizes[unit]}`;
  },
  count: (value) => Number(value).toLocaleString("fr").replaceAll("\u00a0", "\u202f"),
  duration(value) {
    if (value < 60) return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
    if (value < 3600) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
    return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
  },
};
function fill(event) {
  const key = `${event.topic}/${event.data.id}`;
  for (const [given, value] of Object.entries(event.data)) {
    const name = given.replace(/^progress_/, "");
    if (value === null || typeof value === "object") continue;
    for (const field of document.querySelectorAll(`[data-bind="${CSS.escape(key)}:${CSS.escape(name)}"]`)) {
      const text = formats[field.dataset.format]?.(value) ?? String(value);
      if (field.textContent !== text) field.textContent = text;
    }
  }
  const { data } = event;
  const [done, total] = data.bytes_total ? [data.bytes_done, data.bytes_total] : [data.progress_done, data.progress_total];
  if (!total) return;
  const percent = Math.min(100, Math.floor((100 * done) / total));
  for (const bar of document.querySelectorAll(`[data-progress="${CSS.escape(key)}"]`)) {
    bar.querySelector("progress").value = percent;
    bar.querySelector("[data-percent]").textContent = `${percent} %`;
  }
}

// ---- changes: the first is shown at once, more of them as often as the server is quick. A part remains stale while somebody works in it.
const SOON = 50;
const PAUSE = 2000;
let nextAt = 0;
let waiting;
let fetching = false;
let shownAt = new WeakMap(); // part: the event until which it shows everything
let lastShown = new WeakMap();
const isStill = () => "still" in main().dataset; // its figures cost too much to be asked for again
const parts = () => [...document.querySelectorAll("[data-live][id]")].filter((part) => !(isStill() && main().contains(part)));
const at = (part) => shownAt.get(part) ?? pageAt();
const isStale = (part) => part.dataset.live.split(" ").some((topic) => heardOf.get(topic) > at(part));
const isChanged = (field) => {
  if (field.closest("dialog:not([open])")) return false;
  if (field.matches("[type=checkbox], [type=radio]")) return field.checked !== field.defaultChecked;
  if (field.localName !== "select") return field.value !== field.defaultValue;
  return field.selectedIndex !== Math.max(0, [...field.options].findIndex((one) => one.defaultSelected));
};
const busy = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")
  || part.querySelector("dialog[open], details.menu[open], .htmx-request, :active") // htmx loses what a replaced form inherits
  || [...part.querySelectorAll("input, textarea, select")].some(isChanged);
function refresh() {
  if (waiting || fetching || document.hidden || !parts().some((part) => isStale(part) && !busy(part))) return;
  waiting = setTimeout(replace, Math.max(SOON, nextAt - performance.now()));
}
async function replace() {
  const began = performance.now();
  const [address, known] = [location.href, newest];
  [waiting, fetching, nextAt] = [undefined, true, began + 700];
  let fresh, failed = false;
  try {
    const answer = await fetch(isStill() ? "/web/search" : address, { headers: { Accept: "text/html" } });
    failed = answer.status >= 500;
    if (answer.ok && !answer.redirected) fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    nextAt = began + Math.min(700, 5 * (performance.now() - began));
  } catch {
    failed = true;
  }
  fetching = false;
  if (failed) nextAt = performance.now() + PAUSE;
  else if (fresh && address === location.href) take(fresh, known);
  if (failed || newest > known || address !== location.href) refresh();
}
function take(fresh, known) {
  const until = Math.max(Number(fresh.getElementById("main").dataset.event) || 0, known);
  let reshaped = false;
  for (const part of parts().filter((one) => isStale(one) && at(one) <= until)) {
    const next = fresh.getElementById(part.id);
    if (next) renew(part, next, until);
    // A list that was empty has other parts than one that is not: all of the page is drawn anew.
    else if (part.id === "empty" || fresh.getElementById("empty")) reshaped ||= part.isConnected;
    else shownAt.set(part, until);
  }
  if (reshaped) renew(main(), fresh.getElementById("main"), until);
}
function renew(part, next, until) {
  if (busy(part) || !part.isConnected) return;
  const was = next.outerHTML;
  if (was === lastShown.get(part)) {
    shownAt.set(part, until);
    return;
  }
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  const adopted = document.adoptNode(next);
  part.replaceWith(adopted);
  lastShown.set(adopted, was);
  shownAt.set(adopted, until);
  htmx.process(adopted);
  prepare(adopted);
  if (held) [...adopted.querySelectorAll(held.localName)].find((one) => marks(one) === marks(held))?.focus({ preventScroll: true });
}
// Which of the buttons that look the same it is: by what it would send, open or copy.
const marks = (one) => [one.id, one.textContent, one.getAttribute("href"), one.name, one.value, one.dataset.open,
  one.form && one.form.getAttribute("action") + new URLSearchParams(new FormData(one.form)),
  one.closest("details.menu")?.querySelector("[data-copy], [data-copy-curl]")?.outerHTML].join("\n");
for (const left of ["focusout", "change", "pointerup", "close", "toggle", "visibilitychange", "htmx:afterRequest", "htmx:afterSettle"]) {
  document.addEventListener(left, () => setTimeout(refresh), true);
}
document.addEventListener("htmx:historyRestore", () => { // the frame came anew
  show(...standing);
  refresh();
});
if (badge()) connect();
