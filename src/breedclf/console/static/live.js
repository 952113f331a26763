// Shows what changed in this page while it is visible, keeping focus, scroll and open parts. A hidden page isn't connected:
// it continues from its cursor when it is shown again.

import { restore, selects, state } from "./keeping.js";
import { Stream } from "./stream.js";

const status = document.getElementById("connection");
const waiting = new Map();
const STATES = {
  live: "live",
  lost: "connection lost; trying again",
  ended: "no connection: if the console has ended, breedclf console starts it again",
  restarted: "the console was restarted: open the address that breedclf console printed",
};

export function follow(main, prepare) {
  const { target } = document.body.dataset;
  let { cursor } = document.body.dataset;
  if (!target) return;
  const link = connect((news) => {
    if (news.state) say(news.state);
    if (!news.changed) return;
    cursor = news.cursor;
    for (const [name, html] of Object.entries(news.changed)) replace(main, name, html, prepare);
    for (const name of news.removed) document.getElementById(name)?.replaceChildren();
  });
  const show = () => {
    if (document.visibilityState === "visible") link.show(target, cursor);
    else link.hide();
  };
  document.addEventListener("visibilitychange", show);
  addEventListener("pagehide", () => link.hide());
  addEventListener("pageshow", (event) => { if (event.persisted) show(); });
  document.addEventListener("selectionchange", () => {
    for (const [name, html] of [...waiting]) replace(main, name, html, prepare);
  });
  setInterval(() => link.isHere(), 15000);
  show();
}

function connect(tell) {
  try {
    const worker = new SharedWorker(new URL("./stream-worker.js", import.meta.url), { type: "module" });
    worker.port.addEventListener("message", ({ data }) => tell(data));
    worker.port.start();
    return {
      show: (target, cursor) => worker.port.postMessage({ show: target, cursor }),
      hide: () => worker.port.postMessage({ hide: true }),
      isHere: () => worker.port.postMessage({}),
    };
  } catch { // this browser has none
    const stream = new Stream();
    return {
      show: (target, cursor) => stream.show(0, target, cursor, tell),
      hide: () => stream.hide(0),
      isHere: () => stream.isHere(0),
    };
  }
}

function say(state) { // a screen reader announces only that the connection is lost, and that it is back
  if (state !== "live") status.setAttribute("role", "status");
  status.textContent = STATES[state] ?? "";
  status.classList.toggle("lost", state !== "live" && state !== "");
}

function replace(main, name, html, prepare) {
  waiting.delete(name);
  if (name === ":tab") {
    document.title = html;
    return;
  }
  let section = document.getElementById(name);
  if (!section) {
    section = document.createElement("section");
    section.id = name;
    section.className = "fragment";
    main.append(section);
  }
  if (selects(section)) { // text that somebody is about to copy stays until they have
    waiting.set(name, html);
    return;
  }
  const kept = state(section);
  section.innerHTML = html;
  prepare(section);
  restore(section, kept);
}
