// A page of the console: shows changed fragments, times in the reader's zone, and does what buttons say.

import { follow } from "./live.js";
import { act } from "./actions.js";
import { showTimes } from "./times.js";

const main = document.getElementById("content");

function prepare(root) {
  showTimes(root);
  const form = root.querySelector("form[data-endpoint]");
  if (form) import("./try.js").then((module) => module.offerTrying(form));
  for (const button of root.querySelectorAll(".copy")) button.hidden = !navigator.clipboard;
}

main.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.action) act(button);
  if (button?.classList.contains("copy")) copy(button);
});

async function copy(button) {
  await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

document.getElementById("backend")?.addEventListener("change", (event) => event.target.form.requestSubmit());
prepare(document);
setInterval(() => showTimes(document), 1000);
follow(main, prepare);
