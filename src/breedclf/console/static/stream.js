// One connection for all visible pages of a browser, which allows only six to a host: follows their events, reconnects,
// and finds out whether the console is gone or was restarted.

const MAX_PAUSE = 8000;
const SILENCE = 40000; // more than two heartbeats
const TAB_SILENCE = 60000;

export class Stream {
  #tabs = new Map(); // by key: target, cursor, tell, seen
  #order = [];
  #source = null;
  #timer = 0;
  #failures = 0;
  #heard = 0;
  #state = "";

  constructor() {
    setInterval(() => this.#check(), 5000);
  }

  show(key, target, cursor, tell) {
    this.#tabs.set(key, { target, cursor, tell, seen: Date.now() });
    tell({ state: this.#state });
    this.#soon(20);
  }

  hide(key) {
    if (!this.#tabs.delete(key)) return;
    if (this.#tabs.size) this.#soon(200);
    else this.#connect(); // closes at once: a browser may freeze a worker whose last page is gone
  }

  isHere(key) {
    const tab = this.#tabs.get(key);
    if (tab) tab.seen = Date.now();
  }

  #soon(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #connect() {
    this.#source?.close();
    this.#source = null;
    this.#order = [...this.#tabs.values()].slice(-100);
    if (!this.#order.length) return;
    const query = new URLSearchParams();
    for (const tab of this.#order) {
      query.append("target", tab.target);
      query.append("cursor", tab.cursor);
    }
    const source = new EventSource(`/events?${query}`);
    this.#source = source;
    this.#heard = Date.now();
    source.addEventListener("open", () => {
      this.#heard = Date.now();
      this.#failures = 0;
      this.#say("live");
    });
    source.addEventListener("beat", () => { this.#heard = Date.now(); });
    source.addEventListener("fragments", (event) => {
      this.#heard = Date.now();
      const { page, cursor, changed, removed } = JSON.parse(event.data);
      const tab = this.#order[page];
      tab.cursor = cursor;
      tab.tell({ changed, removed, cursor });
    });
    source.addEventListener("error", () => this.#lost(source));
  }

  async #lost(source) {
    if (source !== this.#source) return;
    source.close();
    this.#source = null;
    this.#failures += 1;
    let state = "lost";
    try {
      const answer = await fetch(new URL("./console.css", import.meta.url), { method: "HEAD", cache: "no-store" });
      if (answer.status === 401) state = "restarted";
    } catch {
      if (this.#failures > 3) state = "ended";
    }
    if (this.#source) return;
    this.#say(state);
    this.#soon(Math.min(MAX_PAUSE, 500 * 2 ** Math.min(this.#failures - 1, 5)));
  }

  #check() {
    const now = Date.now();
    for (const [key, tab] of this.#tabs) if (now - tab.seen > TAB_SILENCE) this.hide(key);
    if (this.#source && now - this.#heard > SILENCE) this.#connect();
  }

  #say(state) {
    this.#state = state;
    for (const tab of this.#tabs.values()) tab.tell({ state });
  }
}
