// Asks the server why an image has a class, and shows the map of the evidence beside the image.

const byId = (id) => document.getElementById(id);
const UNIFORM_BORDER_SHARE = 0.49; // of a map with equal values everywhere
const PLACES = [
  ["in the upper left", "at the top", "in the upper right"],
  ["on the left", "in the center", "on the right"],
  ["in the lower left", "at the bottom", "in the lower right"],
];

let asked = 0;
let explain = null;

// Offers to explain an answer; `ask` sends its image again with these parameters.
export function offerExplanation(answer, about, ask) {
  explain = about.explains ? ask : null;
  byId("explain").disabled = !explain;
  byId("explain-hint").textContent = explain
    ? "Shows where the image speaks for a class."
    : "This server's engine can't explain answers; start it with --engine torch.";
  const options = answer.predictions.map((each) => new Option(each.class_name, each.label));
  byId("explain-class").replaceChildren(...options);
  byId("explain-against").replaceChildren(new Option("no other class", ""), ...options.map((each) => each.cloneNode(true)));
  update();
}

async function update(event) {
  const number = ++asked;
  const isOn = byId("explain").checked && explain !== null;
  byId("explain-choice").hidden = !isOn;
  byId("explain-error").textContent = "";
  for (const option of byId("explain-against").options) option.disabled = option.value === byId("explain-class").value;
  if (byId("explain-against").selectedOptions[0]?.disabled) byId("explain-against").value = "";
  if (!isOn) return showMap(null);
  const parameters = { explain: "1", top: "1", class: byId("explain-class").value };
  if (byId("explain-against").value) parameters.against = byId("explain-against").value;
  byId("explained").setAttribute("aria-busy", "true");
  try {
    const { explanation } = await explain(parameters);
    if (number === asked) showMap(explanation);
    if (number === asked && event) byId("explained").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (number !== asked) return;
    showMap(null);
    byId("explain-error").textContent = `No explanation: ${error.message}`;
  }
}

function showMap(explanation) {
  byId("result").classList.toggle("with-map", explanation !== null);
  byId("explained").hidden = explanation === null;
  byId("explained").removeAttribute("aria-busy");
  byId("map-words").textContent = explanation === null ? "" : words(explanation);
  byId("map-note").textContent = explanation === null ? "" : note(explanation);
  if (explanation === null) return;
  byId("map").src = `data:image/png;base64,${explanation.png}`;
  byId("map").alt = `The part of the image that the model uses, in gray, with colors where it speaks for ${explanation.class_name}`;
}

function words({ class_name: name, other, values }) {
  const place = strongest(values);
  if (!other) return place ? `Yellow speaks for ${name}, most ${place}.` : `Nothing in the image speaks for ${name}.`;
  return `Orange speaks for ${name}${place && `, most ${place}`}; blue for ${other}.`;
}

function note({ exact, method, other, score, bias, border_share: border }) {
  const parts = `${score.toFixed(2)} = ${(score - bias).toFixed(2)} from the places ${bias < 0 ? "−" : "+"} ${Math.abs(bias).toFixed(2)} from none`;
  const sum = exact ? `${other ? "Difference of scores" : "Score"}: ${parts}` : "The places don't add up to the score";
  const text = `${sum} (${method}, ${exact ? "exact" : "an approximation"}).`;
  const share = `${Math.round(100 * border)}% of what speaks for it is at the border: the background may decide.`;
  return border > UNIFORM_BORDER_SHARE ? `${text} ${share}` : text;
}

// Where the largest value of a map is, in words; empty if no value is positive.
function strongest(values) {
  const most = Math.max(...values.flat());
  if (!(most > 0)) return "";
  const row = values.findIndex((each) => each.includes(most));
  const third = (index, count) => Math.min(2, Math.floor((3 * (index + 0.5)) / count));
  return PLACES[third(row, values.length)][third(values[row].indexOf(most), values[row].length)];
}

// Has the choices of the page show another map.
export function watchChoices() {
  explain = null;
  for (const id of ["explain", "explain-class", "explain-against"]) byId(id).addEventListener("change", update);
}
