// Shows an answer of the server: the image, whether it is known, its distance, and the ranked classes.

const SHOWN_FIRST = 5;
const NEAREST_SPOKEN = 3;
const FEW_IMAGES = 200;
const byId = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const wholePercent = new Intl.NumberFormat("en", { style: "percent" });

let imageUrl = null;

// Shows the answer to an image, and returns it in words.
export function showAnswer(file, answer, about) {
  const known = answer.known !== false;
  const distance = distanceWords(answer, about);
  const doubt = known ? "" : confidenceWords(answer, about);
  showImage(file);
  byId("result-heading").textContent = known ? answer.predictions[0].class_name : "None of these classes; the nearest are";
  showText("doubt", doubt);
  showGauge(answer, about, distance);
  byId("ranked").replaceChildren(...answer.predictions.map(row));
  byId("ranked").classList.toggle("unlikely", !known);
  fold(answer.predictions.length);
  showText("share-note", shareNote(known, about));
  byId("result").hidden = false;
  byId("result-heading").focus({ preventScroll: true });
  byId("result").scrollIntoView({ block: "nearest" });
  const nearest = answer.predictions.slice(0, NEAREST_SPOKEN).map(inWords).join("; ");
  const said = known ? inWords(answer.predictions[0]) : `none of these classes; the nearest are ${nearest}`;
  return [`Done: ${said}.`, distance, doubt].filter(Boolean).join(" ");
}

function inWords(prediction) {
  return `${prediction.class_name}, ${percent.format(prediction.probability)}`;
}

// Frees the image that was shown last.
export function forgetImage() {
  if (imageUrl) URL.revokeObjectURL(imageUrl);
  imageUrl = null;
}

function showImage(file) {
  forgetImage();
  imageUrl = URL.createObjectURL(file);
  byId("image").src = imageUrl;
  byId("image").alt = `The selected image: ${file.name || "pasted"}`;
  byId("name").textContent = file.name || "pasted image";
}

function showText(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

function distanceWords(answer, about) {
  if (answer.distance === undefined) return "";
  if (!about.distance) return `Distance to the training images: ${distinct(answer.distance, answer.distance)[0]}.`;
  const { limit } = about.distance;
  const [shown, shownLimit] = distinct(answer.distance, limit);
  const compared = answer.distance <= limit ? "within" : "beyond";
  return `Distance to the training images: ${shown}, ${compared} the limit of ${shownLimit}.`;
}

function confidenceWords(answer, about) {
  const { probability } = answer.predictions[0];
  if (!about.min_confidence || probability >= about.min_confidence) return "";
  return `The best class has less than the required ${percent.format(about.min_confidence)}.`;
}

function shareNote(known, about) {
  if (!known) return "The percentages assume that it is one of the classes.";
  const images = about.calibrated_on;
  if (!images) return "";
  return images < FEW_IMAGES
    ? `Calibrated on only ${images} images: the percentages are rough.`
    : `Calibrated on ${images} images: of answers with 80%, about 80% should be correct.`;
}

// Two numbers with two digits or more, and as many as it takes to see which one is larger.
function distinct(one, other) {
  let digits = Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(other || 1))));
  while (digits < 6 && one !== other && one.toFixed(digits) === other.toFixed(digits)) digits += 1;
  return [one.toFixed(digits), other.toFixed(digits)];
}

// The gauge starts at 0 and is linear, so that lengths can be compared.
function showGauge(answer, about, words) {
  byId("distance").hidden = !words;
  byId("distance-words").textContent = words;
  byId("distance-scale").hidden = !about.distance;
  if (!words || !about.distance) return;
  const { limit, kept_share: kept, images } = about.distance;
  const end = Math.max(1.5 * limit, 1.1 * answer.distance, 0.01);
  const at = (value) => `${(100 * Math.max(0, value)) / end}%`;
  byId("distance").classList.toggle("beyond", answer.distance > limit);
  byId("gauge-within").style.width = at(limit);
  byId("gauge-limit").style.left = at(limit);
  byId("gauge-value").style.left = at(answer.distance);
  byId("gauge-label").textContent = `limit ${distinct(answer.distance, limit)[1]}`;
  byId("gauge-label").style.left = at(limit);
  byId("meaning-kept").textContent = `${wholePercent.format(kept)} of ${images} images of these classes`;
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
  bar.className = "share-bar";
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
