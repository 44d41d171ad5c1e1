// Counts the code down and fetches the next one; without a connection it stays until it has expired, and says so.
function tick() {
  const left = document.getElementById("left");
  if (!left) return;
  const seconds = Number(left.textContent) - 1;
  if (seconds > 0) { left.textContent = String(seconds); return; }
  left.textContent = "0";
  fetch(location.href).then(async (answer) => {
    if (!answer.ok || answer.redirected) { location.reload(); return; }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("stage");
    if (fresh) document.getElementById("stage").replaceWith(fresh);
  }).catch(() => {});
}
setInterval(tick, 1000);
