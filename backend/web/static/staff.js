// Keeps a staff page live: tiles and line by event stream, tables fetched anew when something began or ended.
const board = document.getElementById("board");
const live = document.getElementById("live");
let source = null;
let version = null;
let busy = false;
let fetchedAt = Date.now();

function mark(on, text) {
  live.classList.toggle("on", on);
  live.classList.toggle("off", !on);
  live.lastElementChild.textContent = text;
}

async function refetch() {
  if (busy || board.contains(document.activeElement) && document.activeElement.closest("form")) return;
  busy = true;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok || answer.redirected) { location.reload(); return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["tiles", "running-list", "places", "heat", "faults", "last", "list"]) {
      const fresh = page.getElementById(id);
      const old = document.getElementById(id);
      if (fresh && old) old.replaceWith(fresh);
    }
    fetchedAt = Date.now();
  } finally { busy = false; }
}

function draw(seen) {
  const line = document.getElementById("line");
  if (!line || !seen.ticks) return;
  line.querySelector(".area").setAttribute("d", seen.area);
  line.querySelector(".stroke").setAttribute("d", seen.stroke);
  const labels = line.querySelectorAll(".grid-line + .tick");
  seen.ticks.forEach(([, text], index) => { if (labels[index]) labels[index].textContent = text; });
}

function show(seen) {
  mark(true, live.dataset.on + (seen.at ? " " + seen.at : ""));
  const put = (id, text) => { const node = document.getElementById(id); if (node && text !== undefined) node.textContent = text; };
  put("flow", seen.flow);
  put("running", seen.running);
  put("faults-count", seen.faults);
  draw(seen);
  const changed = version !== null && version !== seen.version;
  if (changed && seen.refused !== undefined) put("refused", seen.refused);
  version = seen.version;
  if (changed || (seen.at && Date.now() - fetchedAt > 5000)) refetch().catch(() => {});
}

function connect() {
  if (source) source.close();
  source = null;
  if (document.hidden) return;
  source = new EventSource(board.dataset.live);
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onerror = () => {
    mark(false, live.dataset.off);
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
}

document.addEventListener("visibilitychange", connect);
addEventListener("pagehide", () => source && source.close());
connect();
