// Shows what changed in this page while it is visible, keeping focus, scroll and open parts. A hidden page isn't connected:
// it continues from its cursor when it is shown again.

import { Stream } from "./stream.js";

const status = document.getElementById("connection");
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
  setInterval(() => link.isHere(), 15000);
  show();
}

function connect(tell) {
  try {
    const worker = new SharedWorker("/static/stream-worker.js", { type: "module" });
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

function say(state) {
  status.textContent = STATES[state] ?? "";
  status.classList.toggle("lost", state !== "live" && state !== "");
}

function replace(main, name, html, prepare) {
  if (name === "title") {
    document.getElementById("title").innerHTML = html;
    document.title = `${document.getElementById("title").textContent} · breedclf`;
    return;
  }
  let section = document.getElementById(name);
  if (!section) {
    section = document.createElement("section");
    section.id = name;
    section.className = "fragment";
    main.append(section);
  }
  const kept = state(section);
  section.innerHTML = html;
  prepare(section);
  restore(section, kept);
}

function state(section) {
  const scrolled = [...section.querySelectorAll("pre, .scroll")].map((each) => ({
    top: each.scrollTop,
    left: each.scrollLeft,
    atEnd: each.scrollTop + each.clientHeight >= each.scrollHeight - 4,
  }));
  const open = [...section.querySelectorAll("details")].map((each) => each.open);
  const focused = section.contains(document.activeElement) ? position(section, document.activeElement) : -1;
  const inputs = [...section.querySelectorAll("input, select")].map((each) => each.value);
  return { scrolled, open, focused, inputs };
}

function restore(section, { scrolled, open, focused, inputs }) {
  section.querySelectorAll("pre, .scroll").forEach((each, index) => {
    const before = scrolled[index];
    if (!before) return;
    each.scrollLeft = before.left;
    each.scrollTop = before.atEnd ? each.scrollHeight : before.top;
  });
  section.querySelectorAll("details").forEach((each, index) => { each.open = open[index] ?? each.open; });
  section.querySelectorAll("input, select").forEach((each, index) => {
    if (inputs[index] !== undefined) each.value = inputs[index];
  });
  if (focused >= 0) focusable(section)[focused]?.focus({ preventScroll: true });
}

function position(section, element) {
  return focusable(section).indexOf(element);
}

function focusable(section) {
  return [...section.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];
}
