// Sends the chosen image to the endpoint of this page.

import { offerClassifying } from "./classify.js";

const offered = new WeakSet();

export function offerTrying(form) {
  if (offered.has(form)) return;
  offered.add(form);
  const path = `/api/endpoints/${encodeURIComponent(form.dataset.endpoint)}`;
  offerClassifying({
    ask: (body, parameters = {}) => fetched(path, "invocations", parameters, {
      method: "POST",
      headers: { "Content-Type": body.type },
      body,
    }),
    readAbout: () => fetched(path, "about", {}, {}),
  });
}

async function fetched(path, what, parameters, options) {
  const backend = new URLSearchParams(location.search).get("backend");
  const query = new URLSearchParams(backend ? { ...parameters, backend } : parameters);
  const response = await fetch(`${path}/${what}?${query}`, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? answer.error);
  return answer;
}
