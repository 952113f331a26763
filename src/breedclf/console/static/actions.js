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

function confirmed(question, command) {
  document.getElementById("question-text").textContent = question;
  document.getElementById("question-command").textContent = command;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function say(text, bad) {
  message.textContent = text;
  message.classList.toggle("bad", bad);
  message.hidden = false;
  if (!bad) setTimeout(() => { message.hidden = true; }, 6000);
}
