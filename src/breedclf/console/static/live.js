// Follows the server's events of this page and replaces the fragments that changed.

import { restore, selects, state } from "./keeping.js";

const status = document.getElementById("connection");
const waiting = new Map();

export function follow(main, prepare) {
  const { target, cursor } = document.body.dataset;
  if (!target) return;
  const address = `/events?${new URLSearchParams({ target, cursor })}`;
  const source = new EventSource(address);
  source.addEventListener("open", () => say("live", false));
  source.addEventListener("error", () => say("connection lost; trying again", true));
  source.addEventListener("fragments", (event) => {
    const { changed, removed } = JSON.parse(event.data);
    for (const [name, html] of Object.entries(changed)) show(main, name, html, prepare);
    for (const name of removed) show(main, name, "", prepare);
  });
  document.addEventListener("selectionchange", () => {
    for (const [name, html] of [...waiting]) show(main, name, html, prepare);
  });
}

// Only a loss, and the end of it, are announced by a screen reader.
function say(text, lost) {
  if (lost) status.setAttribute("role", "status");
  status.textContent = text;
  status.classList.toggle("lost", lost);
}

function show(main, name, html, prepare) {
  waiting.delete(name);
  if (name === ":tab") {
    document.title = html;
    return;
  }
  let section = document.getElementById(name);
  if (!section && !html) return;
  if (!section) {
    section = document.createElement("section");
    section.id = name;
    section.className = "fragment";
    main.append(section);
  }
  if (selects(section)) { // text that somebody is about to copy stays
    waiting.set(name, html);
    return;
  }
  const kept = state(section);
  section.innerHTML = html;
  prepare(section);
  restore(section, kept);
}
