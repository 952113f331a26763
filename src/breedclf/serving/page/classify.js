// Lets people choose, drop or paste an image, has it classified, and shows the answer. Uses no libraries.

import { forgetImage, showAnswer } from "./answer.js";
import { offerExplanation, watchChoices } from "./explanation.js";
import { toBody } from "./picture.js";

const byId = (id) => document.getElementById(id);

let current = null;

// Sets up the markup of this page. `ask` sends a body with parameters and returns the answer, `readAbout` says what the
// server knows of its model, and `handled` returns whether an error needs no message. Returns a way to send the image
// that waits for an answer again.
export function offerClassifying({ ask, readAbout, handled = () => false }) {
  const form = byId("form");
  let about = null;
  let latest = 0;
  let waiting = null;

  async function send(file) {
    const number = ++latest;
    const isOver = () => number !== latest || !form.isConnected;
    waiting = file;
    byId("error").textContent = "";
    byId("result").hidden = true;
    byId("status").textContent = `Classifying ${file.name || "the image"} …`;
    try {
      about ??= await readAbout();
      const body = await toBody(file, about.max_body_bytes);
      const [answer, latestAbout] = await Promise.all([ask(body), readAbout()]); // another model may have been deployed meanwhile
      if (isOver()) return;
      about = latestAbout;
      waiting = null;
      byId("status").textContent = showAnswer(file, answer, about);
      offerExplanation(answer, about, (parameters) => ask(body, parameters));
    } catch (error) {
      if (isOver()) return;
      byId("status").textContent = "";
      if (!handled(error)) byId("error").textContent = messageOf(error);
    }
  }

  forgetImage();
  watchChoices();
  byId("file").addEventListener("change", (event) => take(event.target.files));
  form.addEventListener("submit", (event) => { event.preventDefault(); again(); });
  readAbout().then((found) => {
    about = found;
    if (about.ready && about.classes && !latest) byId("status").textContent = `Ready: ${about.classes} classes.`;
  }).catch(() => undefined);

  function again() {
    if (waiting) send(waiting);
  }

  current = { form, send };
  return again;
}

function messageOf(error) {
  const unreachable = error instanceof TypeError || error instanceof SyntaxError;
  return unreachable ? "The server doesn't respond. Is it still running?" : `Error: ${error.message}`;
}

function take(files) {
  if (files && files.length && isOffered()) current.send(files[0]);
}

function isOffered() {
  return current !== null && current.form.isConnected;
}

addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("dragover", (event) => {
  if (!isOffered()) return;
  event.preventDefault();
  byId("drop").classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || byId("drop")?.classList.remove("over"));
addEventListener("drop", (event) => {
  if (!isOffered()) return;
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
