// One stream of events a tab. State changes fetch the page again and replace its live parts; progress only fills fields.
"use strict";

const badge = () => document.querySelector("#live");
const topics = ["gateway", "migration", "job", "identity"];
let waiting;
let stream;
let standing = ["off", "connecting"];

function connect() {
  stream = new EventSource("/api/events");
  stream.onopen = () => show("on", "live");
  stream.onerror = () => show("lost", "reconnecting");
  stream.addEventListener("reset", () => refresh(new Set(topics)));
  for (const topic of topics) stream.addEventListener(topic, (event) => heard(JSON.parse(event.data)));
}
function show(state, words) {
  if (standing[0] === "lost" && state === "on") refresh(new Set(topics));
  standing = [state, words];
  if (!badge()) return;
  badge().dataset.state = state;
  badge().textContent = words;
}
document.addEventListener("htmx:historyRestore", () => show(...standing)); // the frame came anew
function heard(event) {
  document.dispatchEvent(new CustomEvent("holdfast:event", { detail: event }));
  if (event.kind.endsWith("progress")) fill(event);
  else refresh(new Set([event.topic]));
}

// ---- progress: { id, done, total, text, ... } under "job/ID" or "migration/ID"
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
  for (const [name, value] of Object.entries(event.data)) {
    if (value === null || typeof value === "object") continue;
    for (const field of document.querySelectorAll(`[data-bind="${CSS.escape(key)}:${CSS.escape(name)}"]`)) {
      const text = formats[field.dataset.format]?.(value) ?? String(value);
      if (field.textContent !== text) field.textContent = text;
    }
  }
  const { data } = event;
  const [done, total] = data.bytes_total ? [data.bytes_done, data.bytes_total] : [data.done, data.total];
  if (!total) return;
  const percent = Math.min(100, Math.floor((100 * done) / total));
  for (const bar of document.querySelectorAll(`[data-progress="${CSS.escape(key)}"]`)) {
    bar.querySelector("progress").value = percent;
    bar.querySelector("[data-percent]").textContent = `${percent} %`;
  }
}

// ---- changes: the first is shown at once, more of them as often as the server is quick; parts that somebody types in or sends are left alone
const SOON = 50;
let nextAt = 0;
const pending = new Set();
function refresh(changed) {
  for (const topic of changed) pending.add(topic);
  const parts = [...document.querySelectorAll("[data-live][id]")];
  if (!parts.some(concerned) || document.hidden) return;
  waiting ??= setTimeout(replace, Math.max(SOON, nextAt - performance.now()));
}
const hears = (part, changed) => part.dataset.live.split(" ").some((topic) => changed.has(topic));
const concerned = (part) => hears(part, pending);
const busy = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")
  || part.querySelector("dialog[open], details.menu[open], .htmx-request"); // htmx loses what a replaced form inherits
async function replace() {
  waiting = undefined;
  const began = performance.now();
  nextAt = began + 700;
  const address = location.href;
  const changed = new Set(pending); // what is heard while the page is fetched waits for the next one
  pending.clear();
  let fresh;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    nextAt = began + Math.min(700, 5 * (performance.now() - began));
  } catch {
    return;
  }
  if (address !== location.href) return;
  let reshaped = false;
  for (const part of [...document.querySelectorAll("[data-live][id]")].filter((one) => hears(one, changed))) {
    const next = fresh.getElementById(part.id);
    if (next && part.isConnected) renew(part, next);
    // A list that was empty has other parts than one that is not: all of the page is drawn anew.
    else if (part.id === "empty" || fresh.getElementById("empty")) reshaped ||= part.isConnected;
  }
  if (reshaped) renew(document.querySelector("#main"), fresh.getElementById("main"));
}
function renew(part, next) {
  const was = next.outerHTML;
  if (busy(part) || was === part.dataset.was) return;
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  const adopted = document.adoptNode(next);
  part.replaceWith(adopted);
  adopted.dataset.was = was;
  htmx.process(adopted);
  prepare(adopted);
  if (held) [...adopted.querySelectorAll(held.localName)].find((one) => alike(one, held))?.focus({ preventScroll: true });
}
const alike = (one, other) => one.id === other.id && one.textContent === other.textContent
  && one.getAttribute("href") === other.getAttribute("href");
document.addEventListener("visibilitychange", () => { if (!document.hidden && pending.size) refresh(new Set()); });
if (badge()) connect();
