// Asks where an action is dangerous, sends it, and says what came of it.

const dialog = document.getElementById("question");
const message = document.getElementById("message");

export async function act(button) {
  const { action, fields, question } = button.dataset;
  const command = button.parentElement.querySelector(".command")?.textContent ?? "";
  if (question && !(await confirmed(question, command))) return;
  const given = JSON.parse(fields);
  for (const input of button.closest(".action")?.querySelectorAll("input[name]") ?? []) given[input.name] = input.value;
  button.disabled = true;
  try {
    const response = await fetch(`/api/actions/${action}${location.search}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(given),
    });
    const answer = await response.json();
    say(response.ok ? answer.done : answer.error, !response.ok);
    if (response.ok && answer.next) location.assign(answer.next);
  } catch {
    say("The console's server can't be reached; is it still running?", true);
  } finally {
    button.disabled = false;
  }
}

// Whether the reader said yes to this question. Events of an earlier one may arrive while this one is open.
function confirmed(question, command) {
  if (dialog.open) return Promise.resolve(false);
  document.getElementById("question-text").textContent = question;
  document.getElementById("question-command").textContent = command;
  const answered = new AbortController();
  return new Promise((resolve) => {
    const answer = (yes) => {
      answered.abort();
      resolve(yes);
    };
    const { signal } = answered;
    dialog.addEventListener("submit", (event) => answer(event.submitter?.value === "yes"), { signal });
    dialog.addEventListener("cancel", () => answer(false), { signal });
    dialog.addEventListener("close", () => { if (!dialog.open) answer(false); }, { signal });
    dialog.showModal();
  });
}

function say(text, bad) {
  message.textContent = text;
  message.classList.toggle("bad", bad);
  message.hidden = false;
  if (!bad) setTimeout(() => { message.hidden = true; }, 6000);
}
