// What a reader has done to a fragment, by keys, so that it is kept when the fragment is replaced: focus, scrolling, open
// parts, what was typed.

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

export function state(section) {
  const scrolled = keyed(section, "pre, .scroll").map(([key, each]) => [key, {
    top: each.scrollTop,
    left: each.scrollLeft,
    atEnd: each.scrollTop + each.clientHeight >= each.scrollHeight - 4,
  }]);
  const open = keyed(section, "details").map(([key, each]) => [key, each.open]);
  const inputs = keyed(section, "input, select, textarea")
    .filter(([, each]) => each.type !== "file")
    .map(([key, each]) => [key, { value: each.value, checked: each.checked }]);
  const focused = keyed(section, FOCUSABLE).find(([, each]) => each === document.activeElement);
  return { scrolled: new Map(scrolled), open: new Map(open), inputs: new Map(inputs), focused: focused?.[0] };
}

export function restore(section, { scrolled, open, inputs, focused }) {
  for (const [key, each] of keyed(section, "details")) each.open = open.get(key) ?? each.open;
  for (const [key, each] of keyed(section, "input, select, textarea")) {
    const before = inputs.get(key);
    if (!before) continue;
    each.checked = before.checked;
    each.value = before.value;
  }
  for (const [key, each] of keyed(section, "pre, .scroll")) {
    const before = scrolled.get(key);
    if (!before) continue;
    each.scrollLeft = before.left;
    each.scrollTop = before.atEnd ? each.scrollHeight : before.top;
  }
  if (focused === undefined) return;
  const found = keyed(section, FOCUSABLE).find(([key]) => key === focused);
  if (found) {
    found[1].focus({ preventScroll: true });
  } else { // what had the focus is gone; nothing else gets it by chance, but Tab goes on from here
    section.tabIndex = -1;
    section.focus({ preventScroll: true });
  }
}

export function selects(section) {
  const selection = document.getSelection();
  return !!selection && !selection.isCollapsed && [selection.anchorNode, selection.focusNode].every((node) => section.contains(node));
}

// Pairs of a key and an element; an element keeps its key when others are added before it.
function keyed(section, selector) {
  const count = new Map();
  return [...section.querySelectorAll(selector)].map((each) => {
    const name = nameOf(each);
    const index = count.get(name) ?? 0;
    count.set(name, index + 1);
    return [`${name} ${index}`, each];
  });
}

function nameOf(each) {
  const { action, fields } = each.dataset;
  const summary = each.matches("details") ? each.querySelector("summary") : each.matches("summary") ? each : null;
  const name = each.id || (action && `${action} ${fields}`) || each.getAttribute("href") || each.getAttribute("name")
    || each.getAttribute("aria-label") || summary?.textContent || each.className;
  return `${each.localName} ${name}`;
}
