"use strict";
// Sends the selected image to /invocations and shows the predictions. Uses no libraries or external resources.

const SHOWN_FIRST = 5;
const LONGEST_SIDE_PX = 2048;
const SENT_UNCHANGED = ["image/jpeg", "image/png", "image/webp"];
const byId = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

let about = { max_body_bytes: 6 * 1024 * 1024, token_required: false };
let latest = 0;
let waiting = null;
let imageUrl = null;

async function send(file) {
  const number = ++latest;
  waiting = file;
  byId("error").textContent = "";
  byId("result").hidden = true;
  byId("status").textContent = `Classifying ${file.name || "the image"} …`;
  try {
    const body = await toBody(file);
    const headers = { "Content-Type": body.type, Accept: "application/json" };
    if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
    const response = await fetch("invocations", { method: "POST", headers, body });
    const answer = await response.json();
    if (number !== latest) return;
    if (response.status === 401) return askForToken();
    if (!response.ok) throw new Error(answer.error.message);
    waiting = null;
    show(file, answer);
  } catch (error) {
    if (number !== latest) return;
    byId("status").textContent = "";
    const unreachable = error instanceof TypeError || error instanceof SyntaxError;
    byId("error").textContent = unreachable ? "The server doesn't respond. Is it still running?" : `Error: ${error.message}`;
  }
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

function show(file, answer) {
  if (imageUrl) URL.revokeObjectURL(imageUrl);
  imageUrl = URL.createObjectURL(file);
  const best = answer.predictions[0];
  byId("image").src = imageUrl;
  byId("image").alt = `The selected image: ${file.name || "pasted"}`;
  byId("name").textContent = file.name || "pasted image";
  byId("result-heading").textContent = answer.known === false ? "Not one of the known classes; the closest are" : best.class_name;
  byId("ranked").replaceChildren(...answer.predictions.map(row));
  fold(answer.predictions.length);
  byId("result").hidden = false;
  byId("status").textContent = `Done: ${answer.known === false ? "none of the known classes" : best.class_name}, ${percent.format(best.probability)}.`;
  byId("result-heading").focus({ preventScroll: true });
  byId("result").scrollIntoView({ block: "nearest" });
}

function row(prediction) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  const share = document.createElement("span");
  const bar = document.createElement("div");
  name.className = "class";
  name.textContent = prediction.class_name;
  share.className = "share";
  share.textContent = percent.format(prediction.probability);
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  bar.appendChild(document.createElement("span")).style.width = `${100 * prediction.probability}%`;
  item.append(name, share, bar);
  return item;
}

function fold(count) {
  const more = byId("more");
  const rest = [...byId("ranked").children].slice(SHOWN_FIRST);
  more.hidden = rest.length === 0;
  setFolded(true);
  more.onclick = () => setFolded(more.getAttribute("aria-expanded") === "true");
  function setFolded(folded) {
    for (const item of rest) item.hidden = folded;
    more.setAttribute("aria-expanded", String(!folded));
    more.textContent = folded ? `Show all ${count}` : `Show the first ${SHOWN_FIRST}`;
  }
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
fetch("about").then((response) => response.json()).then((settings) => {
  about = settings;
  byId("token-row").hidden = !settings.token_required;
  if (settings.ready && settings.classes) byId("status").textContent = `Ready: ${settings.classes} classes.`;
}).catch(() => undefined);
