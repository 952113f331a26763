// Follows the server's events of this page and replaces the fragments that changed, keeping focus, scroll and open parts.

const status = document.getElementById("connection");

export function follow(main, prepare) {
  const { target, cursor } = document.body.dataset;
  if (!target) return;
  const address = `/events?${new URLSearchParams({ target, cursor })}`;
  const source = new EventSource(address);
  source.addEventListener("open", () => say("live", false));
  source.addEventListener("error", () => say("connection lost; trying again", true));
  source.addEventListener("fragments", (event) => {
    const { changed, removed } = JSON.parse(event.data);
    for (const [name, html] of Object.entries(changed)) replace(main, name, html, prepare);
    for (const name of removed) document.getElementById(name)?.replaceChildren();
  });
}

function say(text, lost) {
  status.textContent = text;
  status.classList.toggle("lost", lost);
}

function replace(main, name, html, prepare) {
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
