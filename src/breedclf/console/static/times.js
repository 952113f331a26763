// Times in the reader's zone and language; what is still running counts up.

const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const ahead = Number(document.body.dataset.now ?? Date.now() / 1000) * 1000 - Date.now();
const skew = Math.abs(ahead) > 5000 ? ahead : 0; // of the server's clock, as through a tunnel from another machine

export function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (time.classList.contains("since")) {
      time.textContent = duration(Math.max(0, (Date.now() + skew - at) / 1000));
      time.title = `since ${format.format(at)}`;
    } else if (time.classList.contains("until")) {
      const left = (at - Date.now()) / 1000;
      time.textContent = left > 0 ? `${duration(left)} left` : "over";
      time.title = `until ${format.format(at)}`;
    } else if (!time.dataset.shown) {
      time.dataset.shown = "1";
      time.title = time.textContent;
      time.textContent = format.format(at);
    }
  }
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
