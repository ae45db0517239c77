// The console's own script: dialogs, theme, palette, copying, times. Live parts: live.js; loaded where a page needs them: logs.js, chart.js.
"use strict";

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---- what every piece of page gets, also after a swap
const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
function prepare(root) {
  for (const time of all("time[datetime]", root)) {
    const when = new Date(time.dateTime);
    if (!Number.isNaN(when.valueOf())) time.textContent = ("clock" in time.dataset ? clock : zoned).format(when);
  }
  for (const details of all("details[data-remember]", root)) {
    const kept = sessionStorage.getItem(details.dataset.remember);
    if (kept !== null) details.open = kept === "open";
  }
  for (const part of all("[data-script]", root)) part.dataset.script.split(" ").forEach(load);
}
const loaded = new Set();
function load(address) {
  if (loaded.has(address)) return;
  loaded.add(address);
  const isStyle = address.includes(".css");
  const element = document.createElement(isStyle ? "link" : "script");
  if (isStyle) Object.assign(element, { rel: "stylesheet", href: address });
  else Object.assign(element, { async: false, src: address });
  document.head.append(element);
}
document.addEventListener("DOMContentLoaded", () => prepare(document));
document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));

// ---- of two quick clicks the last one counts, whichever answer comes last
let wanted;
document.addEventListener("htmx:beforeSend", ({ detail }) => { if (detail.boosted) wanted = detail.xhr; });
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.boosted && detail.xhr !== wanted) detail.shouldSwap = false;
});

// ---- after a navigation: the menu closes, the heading has the focus, as on a new page
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target && event.detail.target.id !== "main") return; // the way back has no target: all is new
  showNav(false);
  (one("[autofocus]") ?? one("main h1"))?.focus({ preventScroll: true });
});
document.addEventListener("htmx:sendError", (event) => "waits" in event.detail.elt.dataset ||
  tell("The server does not answer. What you typed is still here; try again in a moment.", "bad"));

function tell(text, tone = "ok") {
  const line = document.createElement("p");
  line.dataset.tone = tone;
  line.textContent = text;
  one("#flash").replaceChildren(line);
}
setInterval(() => {
  for (const line of all("#flash p")) {
    if (line.dataset.seen) line.remove();
    line.dataset.seen = "yes";
  }
}, 8000);

// ---- clicks
const clicks = {
  "button[data-open]": (button) => openDialog(document.getElementById(button.dataset.open)),
  "[data-close]": (button) => button.closest("dialog").close(),
  "[data-toggle='nav']": () => showNav(!one("#nav").hasAttribute("data-open")),
  "[data-theme-button]": changeTheme,
  "[data-copy]": (button) => copy(button.dataset.copy),
  "[data-copy-from]": (button) => copy(one("pre", button.closest("figure")).textContent),
  "[data-copy-curl]": (button) => copy(curl(button.dataset.copyCurl, JSON.parse(button.dataset.body ?? "null"))),
  "[data-copy-form]": copyForm,
  "[data-copy-chosen]": copyChosen,
};
document.addEventListener("click", (event) => {
  for (const [selector, act] of Object.entries(clicks)) {
    const found = event.target.closest(selector);
    if (found) return act(found, event);
  }
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  if (event.target.tagName === "DIALOG" && isBeside(event.target.getBoundingClientRect(), event)) event.target.close();
});
const isBeside = (box, { clientX: x, clientY: y }) => x < box.left || x > box.right || y < box.top || y > box.bottom;
document.addEventListener("toggle", (event) => {
  const name = event.target.dataset?.remember;
  if (name) sessionStorage.setItem(name, event.target.open ? "open" : "closed");
}, true);
document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.matches("select[data-submit]")) box.form.requestSubmit();
  if (box.dataset.checkAll) {
    for (const tick of all(`input[name="chosen"][form="${box.dataset.checkAll}"]`)) tick.checked = box.checked;
  }
});
document.addEventListener("input", (event) => {
  const typed = event.target;
  if (typed.dataset.mustBe !== undefined) {
    one(".buttons button", typed.form).disabled = typed.value !== typed.dataset.mustBe;
  }
  if (typed.id === "palette-q") search(typed.value);
});

function openDialog(dialog) {
  dialog.showModal();
  if (dialog.id === "palette") search(one("input", dialog).value);
}
function showNav(open) {
  const nav = one("#nav");
  if (!nav) return;
  nav.toggleAttribute("data-open", open);
  one("[data-toggle='nav']").setAttribute("aria-expanded", String(open));
}
function changeTheme() { // as the system, the other one, the same one always, and around again
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? ["dark", "light"] : ["light", "dark"];
  const next = { "": system[1], [system[1]]: system[0], [system[0]]: "" }[root.dataset.theme ?? ""];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  document.cookie = `holdfast_theme=${next}; path=/; max-age=${next ? 31536000 : 0}; samesite=lax`;
  tell(`Colours: ${next || "as the system has them"}.`);
}

// ---- the palette
let asked;
function search(text) {
  clearTimeout(asked);
  const mine = asked = setTimeout(async () => {
    const answer = await fetch(`/web/search?q=${encodeURIComponent(text)}`, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("hits");
    if (!found || mine !== asked) return; // somebody has typed on
    one("#palette-none").textContent = found.dataset.none ?? "";
    for (const part of [found, ...found.children]) part.setAttribute("role", "none");
    one("#palette-hits").replaceChildren(document.adoptNode(found));
    choose(0);
  }, 120);
}
function choose(index) {
  const hits = all("#palette-hits a");
  hits.forEach((hit, at) => {
    hit.id = `hit-${at}`;
    hit.setAttribute("role", "option");
    hit.setAttribute("aria-selected", String(at === index));
  });
  hits[index]?.scrollIntoView({ block: "nearest" });
  one("#palette-q").setAttribute("aria-activedescendant", hits[index]?.id ?? "");
}
document.addEventListener("keydown", (event) => {
  const palette = one("#palette");
  if (!palette) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (!palette.open) openDialog(palette);
    return;
  }
  if (!palette.open) return;
  const hits = all("#palette-hits a");
  const now = hits.findIndex((hit) => hit.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown") choose((now + 1) % hits.length);
  else if (event.key === "ArrowUp") choose((now - 1 + hits.length) % hits.length);
  else if (event.key === "Enter" && hits[now]) hits[now].click();
  else return;
  event.preventDefault();
});
document.addEventListener("htmx:beforeRequest", () => one("#palette")?.close());

// ---- copying an action as a command
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return tell("Copied.");
  } catch { /* over plain http, browsers have no clipboard for pages */ }
  const before = document.activeElement;
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "sr-only" });
  (one("dialog[open]") ?? document.body).append(area); // outside an open dialog nothing can be selected
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  tell(done ? "Copied." : `The browser lets no page copy here. By hand: ${text}`, done ? "ok" : "warn");
}
const quote = (text) => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
function curl(target, body) {
  const [method, path] = target.split(" ");
  const words = ["curl", "-X", method, "-H", '"Authorization: Bearer $HOLDFAST_TOKEN"'];
  if (body) words.push("-H", "'Content-Type: application/json'", "-d", quote(JSON.stringify(body)));
  return [...words, quote(location.origin + path)].join(" ");
}
const wasFilled = (field) => field.defaultValue || [...field.options ?? []].some((one) => one.defaultSelected && one.value);
const givenFields = (form) => [...form.elements].filter((field) =>
  field.name && field.name !== "do" && !("local" in field.dataset) && (field.type === "checkbox" || field.value !== "" || wasFilled(field)));
const isSecret = (field) => field.type === "password" || "secret" in field.dataset;
function typed(field) {
  if (field.type === "checkbox") return field.checked;
  if (isSecret(field)) return `<${field.name}>`;
  if ("lines" in field.dataset) return field.value.split(field.dataset.lines ? "\n" : /[\s,]+/).filter(Boolean);
  if ("json" in field.dataset) return JSON.parse(field.value || "null");
  if (field.value === "" && (field.options || field.type === "number")) return null;
  return field.type === "number" ? Number(field.value) : field.value;
}
function bodyOf(fields) { // "blocks.0.zone" is a part of the list "blocks"
  const body = {}, lists = {};
  for (const field of fields) {
    const [name, line, part] = field.name.split(".");
    if (field.dataset.into) (body[field.dataset.into] ??= {})[field.name] = typed(field);
    else if (part) ((lists[name] ??= {})[line] ??= {})[part] = typed(field);
    else body[name] = typed(field);
  }
  for (const [name, lines] of Object.entries(lists)) body[name] = Object.values(lines);
  return body;
}
function copyChosen({ form, dataset }) {
  const ticks = all(`input[name="chosen"][form="${form.id}"]:checked`);
  if (!ticks.length) return tell("Nothing is chosen: tick some first.", "warn");
  const operations = ticks.map((tick) => ({ ...JSON.parse(dataset.change), id: Number(tick.value) }));
  return copy(dataset.copyChosen === "curl" ? curl(`POST ${dataset.api}`, { operations })
    : `holdfast ${dataset.cli} ${quote(JSON.stringify(operations))}`);
}
function copyForm(button) {
  const form = button.closest("form");
  const fields = givenFields(form);
  const { trial } = button.dataset; // where a dry run is asked for: in the "query" or in the "body"
  if (button.dataset.copyForm === "curl") {
    const body = Object.assign(bodyOf(fields), trial === "body" && { dry_run: true });
    return copy(curl(form.dataset.api + (trial === "query" ? "?dry_run=true" : ""), body));
  }
  const plain = fields.filter((field) => (!isSecret(field) || field.dataset.into) && field.dataset.option !== "!");
  const lists = Object.entries(bodyOf(plain.filter((field) => field.name.includes("."))));
  const words = plain.filter((field) => !field.name.includes(".")).flatMap((field) => {
    const option = field.dataset.option ?? field.name.replaceAll("_", "-");
    if (field.dataset.into) return isSecret(field) ? ["--secret", field.name] : ["--set", quote(`${field.name}=${field.value}`)];
    if ("lines" in field.dataset) return typed(field).flatMap((line) => option === "-" ? [quote(line)] : [`--${option}`, quote(line)]);
    if (option === "-") return [quote(field.value)];
    return field.type === "checkbox" ? [field.checked ? `--${option}` : `--no-${option}`] : [`--${option}`, quote(field.value)];
  });
  for (const [name, list] of lists) words.push(`--${name.replaceAll("_", "-")}`, quote(JSON.stringify(list)));
  if (trial) words.push("--dry-run");
  return copy(["holdfast", form.dataset.cli, ...words].join(" "));
}
