// The office's small helper: find as you type, one menu open at a time, the focus where it was after an action.
// Every page works without it.
"use strict";

// --- find as you type: <form data-find="found"> fetches its own page and takes #found and #found-count from it ---
for (const form of document.querySelectorAll("form[data-find]")) {
  const field = form.querySelector("input[type=search]");
  const found = document.getElementById(form.dataset.find);
  const count = document.getElementById(form.dataset.find + "-count");
  let timer, asked, shown = field.value.trim();

  const look = async () => {
    const typed = field.value.trim();
    if (typed === shown) return;
    asked?.abort();
    asked = new AbortController();
    const address = new URL(form.action);
    for (const [name, value] of new FormData(form)) if (value) address.searchParams.set(name, value);
    try {
      const answer = await fetch(address, { signal: asked.signal, headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) return form.submit(); // signed out meanwhile: the whole page says so
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      shown = typed;
      found.replaceChildren(...page.getElementById(found.id).childNodes);
      count.textContent = page.getElementById(count.id).textContent;
      const made = page.getElementById("new-patient"), here = document.getElementById("new-patient");
      if (made && here) { here.href = made.getAttribute("href"); here.className = made.className; }
      history.replaceState(null, "", address);
    } catch (error) {
      if (error.name !== "AbortError") count.textContent = form.dataset.away;
    }
  };
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 180); });

  // Arrow keys walk from the field through the results and back; Enter follows the link, as everywhere.
  const links = () => [...found.querySelectorAll("a[href]")];
  form.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && event.target === field && links().length) {
      event.preventDefault();
      links()[0].focus();
    }
  });
  found.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const all = links(), at = all.indexOf(event.target);
    if (!step || at < 0) return;
    event.preventDefault();
    (all[at + step] || (step < 0 ? field : all[at])).focus();
  });
}

// --- menus: one open at a time, also where their names can't say so; Escape closes and gives the focus back ---
document.addEventListener("toggle", (event) => {
  if (!event.target.matches?.("details.menu[open]")) return;
  for (const other of document.querySelectorAll("details.menu[open]")) if (other !== event.target) other.open = false;
}, true);
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});

// --- the focus goes back to the button that was pressed; where it is gone, to the #place in the address or the news ---
const KEPT = "focus";
const keyOf = (form, button) => `${(button || form).getAttribute("formaction") || form.getAttribute("action")} ${button?.name || ""} ${button?.value || ""}`;
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.defaultPrevented) return; // a page's own script sends it
  sessionStorage.setItem(KEPT, JSON.stringify([location.pathname, keyOf(event.target, event.submitter)]));
});
const kept = sessionStorage.getItem(KEPT);
sessionStorage.removeItem(KEPT);
if (kept && !document.querySelector("[autofocus]")) {
  const [path, key] = JSON.parse(kept);
  const buttons = [...document.querySelectorAll("form[method=post] button")];
  const same = path === location.pathname && buttons.find((button) => keyOf(button.form, button) === key);
  const news = document.querySelector(".note[role=status]");
  if (news) news.tabIndex = -1;
  const place = document.getElementById(location.hash.slice(1));
  const next = place?.matches("a, button, [tabindex]") ? place : news;
  // Not before the browser has gone to the #place in the address, which takes the focus away.
  addEventListener("load", () => setTimeout(() => (same || next)?.focus()));
}

// --- a week wider than the screen opens at today; an address with a #place says itself where to look ---
const today = document.querySelector(".scroll > .week > .now");
if (today && !location.hash) {
  const hours = today.parentElement.firstElementChild;
  today.closest(".scroll").scrollLeft += today.getBoundingClientRect().left - hours.getBoundingClientRect().right;
}

// --- printing: a button that only a script can serve shows itself ---
for (const button of document.querySelectorAll("button.print")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
