// Keep the open page up to date: replace its changing part as the server sends it, and say how old what is shown is.
// A page that is hidden asks for nothing. Without this file every page works; it just has to be loaded again.
const region = document.getElementById("live");
const lost = document.getElementById("lost");
const LOST = "The connection to the server is lost. What is shown is from before; this page goes on trying.";
const AGAIN_MS = 30_000;
let source = null;
let received = Date.now();

function say(text) {
  lost.textContent = text;
  lost.hidden = !text;
}

function replace(html) {
  const focused = document.activeElement;
  if (region.contains(focused) && focused.matches("input, select, textarea")) return; // the operator is typing
  const href = region.contains(focused) ? focused.getAttribute("href") : null;
  const open = [...region.querySelectorAll("details[open][id]")].map((one) => one.id);
  const ticked = [...region.querySelectorAll("input:checked")].length;
  if (ticked || (getSelection().toString() && region.contains(getSelection().anchorNode))) return; // something is chosen
  region.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (href) region.querySelector(`a[href="${CSS.escape(href)}"]`)?.focus();
}

function connect() {
  source = new EventSource(region.dataset.live);
  source.addEventListener("part", (event) => {
    received = Date.now();
    say("");
    replace(event.data);
    tick();
  });
  source.addEventListener("fault", (event) => say(`${event.data} What is shown is from before; this page goes on trying.`));
  source.addEventListener("reload", () => location.reload());
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) return explain(source);
    say(LOST);
  };
}

// The server gives this page no stream: say why, and ask again later.
async function explain(refused) {
  const answer = await fetch(region.dataset.live).catch(() => null);
  const why = !answer || answer.ok || answer.status >= 500 && answer.status !== 503 ? LOST : await answer.text();
  answer?.ok && answer.body.cancel();
  if (source !== refused) return; // the page was hidden meanwhile
  say(why);
  setTimeout(() => source === refused && follow(), answer?.ok ? 0 : AGAIN_MS);
}

function follow() {
  source?.close();
  source = null;
  if (!document.hidden) connect();
}

function tick() {
  const age = document.getElementById("age");
  const seconds = Math.round((Date.now() - received) / 1000);
  if (age) age.textContent = seconds < 2 ? "" : `, ${seconds} s ago`;
  age?.classList.toggle("old", seconds > 20);
}

if (region) {
  document.addEventListener("visibilitychange", follow);
  setInterval(tick, 1000);
  follow();
}
if (document.querySelector("[data-retry]")) setTimeout(() => location.reload(), 3000);

// Tick all boxes of a table with the one in its head.
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-all]")) return;
  for (const box of event.target.closest("table").querySelectorAll("tbody input[type=checkbox]")) box.checked = event.target.checked;
});
