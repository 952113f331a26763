// Sends the selected image to /invocations, with an access token if the server requires one.

import { offerClassifying } from "./classify.js";

const byId = (id) => document.getElementById(id);

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
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
  const about = await (await fetch("about")).json();
  byId("token-row").hidden = !about.token_required;
  return about;
}

function askForToken(error) {
  if (error.status !== 401) return false;
  byId("error").textContent = byId("token").value ? "The token is invalid." : "This server requires an access token.";
  byId("token-row").hidden = false;
  byId("token").focus();
  return true;
}

byId("token-use").addEventListener("click", offerClassifying({ ask, readAbout, handled: askForToken }));
