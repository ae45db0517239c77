// A log read by byte offset: follow, search, load what was before. The address answers { text, offset, next_offset, ended }.
"use strict";

function zonedLines(text) { // lines begin with a moment in UTC; shown is the viewer's
  return text.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z/gm, (stamp) => {
    const moment = new Date(stamp);
    return new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 23).replace("T", " ");
  });
}

class Log {
  constructor(element) {
    this.element = element;
    this.pre = element.querySelector("pre");
    this.follow = element.querySelector("[data-log-follow]");
    this.needle = element.querySelector("[data-log-search]");
    this.earlier = element.querySelector("[data-log-earlier]");
    this.note = element.querySelector("[data-log-note]");
    this.text = "";
    this.pre.title = `Times of ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
    this.next = -65536;
    this.needle.addEventListener("input", () => this.draw());
    this.earlier.addEventListener("click", () => this.back());
    this.wake = this.wake.bind(this);
    document.addEventListener("holdfast:event", this.wake);
    this.read();
  }
  wake({ detail: event }) { // it may run again
    if (!this.element.isConnected) document.removeEventListener("holdfast:event", this.wake);
    else if (this.ended && event.topic === "job" && this.element.dataset.log.includes(`/${event.data.id}/`)) {
      this.ended = false;
      this.read();
    }
  }
  async ask(query) {
    const answer = await fetch(`${this.element.dataset.log}?${query}`).catch(() => null); // the server restarts: try again
    if (answer?.ok) return answer.json().then((chunk) => ({ ...chunk, text: zonedLines(chunk.text) }));
    this.ended = answer !== null && answer.status < 500;
    return null;
  }
  async read() {
    if (!this.element.isConnected) return;
    if (document.hidden) return document.addEventListener("visibilitychange", () => this.read(), { once: true });
    const chunk = await this.ask(`offset=${this.next}`);
    if (chunk) this.take(chunk);
    if (!this.ended) setTimeout(() => this.read(), 1000);
  }
  take(chunk) {
    if (this.next < 0) this.begin(chunk.offset);
    this.next = chunk.next_offset;
    this.ended = chunk.ended;
    if (!chunk.text) return;
    this.text += chunk.text;
    if (this.needle.value) return this.draw();
    this.pre.append(chunk.text);
    this.scroll();
  }
  begin(offset) {
    this.first = offset;
    this.earlier.hidden = offset === 0;
  }
  async back() {
    const chunk = await this.ask(`before=${this.first}`);
    if (!chunk) return;
    const below = this.pre.scrollHeight - this.pre.scrollTop;
    this.begin(chunk.offset);
    this.text = chunk.text + this.text;
    this.follow.checked = false;
    this.draw();
    this.pre.scrollTop = this.pre.scrollHeight - below;
  }
  draw() {
    const needle = this.needle.value.toLowerCase();
    this.pre.textContent = needle
      ? this.text.split("\n").filter((line) => line.toLowerCase().includes(needle)).join("\n") : this.text;
    const words = [this.pre.textContent ? "" : "No line has it.", this.first ? "Only the lines that were loaded are searched: load earlier ones." : ""];
    this.note.textContent = needle ? words.join(" ").trim() : "";
    this.scroll();
  }
  scroll() {
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
