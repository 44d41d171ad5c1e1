// Livens the page of a running session: figures by event stream, and the page fetched anew when its state changes.
const put = (id, text) => { const node = document.getElementById(id); if (node && node.textContent !== text) node.textContent = text; };
const announce = (text) => put("announce", text);
let source = null;
let saidAt = 0;

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) { location.reload(); return; }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("stage");
  if (!fresh) { location.reload(); return; }
  const held = document.activeElement && document.activeElement.closest("#stage");
  document.getElementById("stage").replaceWith(fresh);
  const state = page.getElementById("state");
  if (state) document.getElementById("state").replaceWith(state);
  if (held) (fresh.querySelector("button:not([disabled]),a") || document.getElementById("main")).focus();
  if (fresh.dataset.view === "running") announce(fresh.dataset.saidRunning);
  if (fresh.dataset.view === "receipt") announce(fresh.dataset.saidReceipt);
  connect();
}

function show(seen) {
  const stage = document.getElementById("stage");
  if (seen.view !== stage.dataset.view) { close(); refresh().catch(() => setTimeout(connect, 2000)); return; }
  for (const name of ["litres", "cost", "temperature", "time"]) put(name, seen[name]);
  const used = document.getElementById("used");
  if (used) { used.setAttribute("stroke-dasharray", `${Math.max(1, seen.used)} 1000`); used.classList.toggle("paused", seen.paused); }
  const lost = document.getElementById("lost");
  if (lost) lost.hidden = true;
  if (seen.view === "running" && Date.now() - saidAt > 60000) {
    if (saidAt) announce(stage.dataset.saidFigures.replace("{litres}", seen.litres).replace("{cost}", seen.cost));
    saidAt = Date.now();
  }
}

function close() { if (source) source.close(); source = null; }

function connect() {
  close();
  const stage = document.getElementById("stage");
  if (!stage.dataset.live || document.hidden) return;
  const mine = new EventSource(stage.dataset.live);
  source = mine;
  mine.onmessage = (event) => { if (source === mine) show(JSON.parse(event.data)); };
  mine.onerror = () => {
    if (source !== mine) return;
    const lost = document.getElementById("lost");
    if (lost) { lost.textContent = stage.dataset.lost; lost.hidden = false; }
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => { if (source === mine) refresh().catch(connect); }, 3000);
  };
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : connect()));
addEventListener("pagehide", close);
connect();
