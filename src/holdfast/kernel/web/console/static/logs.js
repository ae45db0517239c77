// A log read by byte offset: follow, search. The address answers { text | lines, next_offset, ended }.
"use strict";

const LONGEST = 2_000_000;
class Log {
  constructor(element) {
    this.element = element;
    this.pre = element.querySelector("pre");
    this.follow = element.querySelector("[data-log-follow]");
    this.needle = element.querySelector("[data-log-search]");
    this.text = "";
    this.offset = -65536;
    this.needle.addEventListener("input", () => this.draw());
    this.read();
  }
  async read() {
    if (!this.element.isConnected) return;
    try {
      const answer = await fetch(`${this.element.dataset.log}?offset=${this.offset}`);
      if (answer.ok) this.take(await answer.json());
    } catch { /* the server restarts: try again */ }
    if (!this.ended) setTimeout(() => this.read(), 1000);
  }
  take(chunk) {
    this.offset = chunk.next_offset;
    this.ended = chunk.ended === true;
    const added = Array.isArray(chunk.lines) ? chunk.lines.map((line) => `${line}\n`).join("") : chunk.text;
    if (!added) return;
    this.text = (this.text + added).slice(-LONGEST);
    this.draw();
  }
  draw() {
    const needle = this.needle.value.toLowerCase();
    const lines = this.text.split("\n");
    this.pre.textContent = (needle ? lines.filter((line) => line.toLowerCase().includes(needle)) : lines).join("\n");
    if (this.follow.checked) this.pre.scrollTop = this.pre.scrollHeight;
  }
}
function startLogs(root) {
  for (const element of root.querySelectorAll("[data-log]:not([data-started])")) {
    element.dataset.started = "yes";
    new Log(element);
  }
}
startLogs(document);
document.addEventListener("htmx:load", (event) => startLogs(event.detail.elt.parentElement ?? document));
