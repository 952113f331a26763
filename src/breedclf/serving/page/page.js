// Sends the selected image to /invocations and shows the predictions. Uses no libraries or external resources.

import { showAnswer } from "./answer.js";
import { offerExplanation } from "./explanation.js";

const LONGEST_SIDE_PX = 2048;
const SENT_UNCHANGED = ["image/jpeg", "image/png", "image/webp"];
const byId = (id) => document.getElementById(id);

let about = { max_body_bytes: 6 * 1024 * 1024, token_required: false };
let latest = 0;
let waiting = null;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(file) {
  const number = ++latest;
  waiting = file;
  byId("error").textContent = "";
  byId("result").hidden = true;
  byId("status").textContent = `Classifying ${file.name || "the image"} …`;
  try {
    const body = await toBody(file);
    const [answer] = await Promise.all([ask(body), readAbout()]); // another model may have been deployed meanwhile
    if (number !== latest) return;
    waiting = null;
    byId("status").textContent = showAnswer(file, answer, about);
    offerExplanation(answer, about, (parameters) => ask(body, parameters));
  } catch (error) {
    if (number !== latest) return;
    if (error.status === 401) return askForToken();
    byId("status").textContent = "";
    byId("error").textContent = messageOf(error);
  }
}

async function ask(body, parameters = {}) {
  const headers = { "Content-Type": body.type, Accept: "application/json" };
  if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `invocations?${query}` : "invocations", { method: "POST", headers, body });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.error.message);
  return answer;
}

async function readAbout() {
  about = await (await fetch("about")).json();
}

function messageOf(error) {
  const unreachable = error instanceof TypeError || error instanceof SyntaxError;
  return unreachable ? "The server doesn't respond. Is it still running?" : `Error: ${error.message}`;
}

// Supported files are sent unchanged; other formats and large files are converted by the browser.
async function toBody(file) {
  if (SENT_UNCHANGED.includes(file.type) && file.size <= about.max_body_bytes) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("this browser can't read the file as an image.");
  }
  const scale = Math.min(1, LONGEST_SIDE_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}

function askForToken() {
  byId("status").textContent = "";
  byId("error").textContent = byId("token").value ? "The token is invalid." : "This server requires an access token.";
  byId("token-row").hidden = false;
  byId("token").focus();
}

function take(files) {
  if (files && files.length) send(files[0]);
}

byId("file").addEventListener("change", (event) => take(event.target.files));
byId("form").addEventListener("submit", (event) => { event.preventDefault(); if (waiting) send(waiting); });
byId("token-use").addEventListener("click", () => waiting && send(waiting));
addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("dragover", (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
addEventListener("dragleave", (event) => event.relatedTarget || byId("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
readAbout().then(() => {
  byId("token-row").hidden = !about.token_required;
  if (about.ready && about.classes && !latest) byId("status").textContent = `Ready: ${about.classes} classes.`;
}).catch(() => undefined);
