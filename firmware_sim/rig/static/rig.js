// Keeps the front fresh and sends forms without reloading. The page works without this.
// Buttons are named "action", so what a form has of that name is asked for as an attribute.
const front = document.getElementById("front");
const said = document.getElementById("said");
const pause = 400;
let shown = "";

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(document.body.dataset.front);
      const text = await answer.text();
      front.classList.toggle("stale", !answer.ok);
      if (!answer.ok) {
        said.textContent = text;
      } else if (text !== shown) {
        shown = text;
        front.innerHTML = text;
      }
    } catch {
      front.classList.add("stale");
      said.textContent = document.body.dataset.offline;
    }
  }
  setTimeout(look, pause);
}

async function send(event) {
  const form = event.target;
  if (form.getAttribute("method") !== "post") return;
  event.preventDefault();
  const button = event.submitter;
  const body = new URLSearchParams(new FormData(form));
  body.set("action", button.value);
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { accept: "text/plain" } });
    said.textContent = await answer.text();
  } catch {
    said.textContent = document.body.dataset.offline;
  }
  button.removeAttribute("aria-busy");
}

document.addEventListener("submit", send);
if (front) look();
