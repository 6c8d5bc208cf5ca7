// The clock of a held place: counts down, and says it aloud when five minutes, one minute, and none are left.
(() => {
  "use strict";
  const clock = document.querySelector("[data-clock]");
  if (!clock) return;
  const { left, minutes, minute, over } = clock.dataset;
  const end = Date.now() + Number(left) * 1000;
  const bar = clock.querySelector("progress");
  const shown = clock.querySelector("[data-shown]");
  const aloud = clock.querySelector("[data-say]");
  let before = Number(left);
  const timer = setInterval(tick, 1000);

  // Come back to with the browser's Back, the page would count from when it was left.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  function tick() {
    const now = Math.max(Math.round((end - Date.now()) / 1000), 0);
    if (now < 7200) shown.textContent = words(now);
    if (bar) bar.value = now;
    for (const mark of [300, 60, 0]) if (before > mark && now <= mark) aloud.textContent = words(now);
    if (!now) clearInterval(timer);
    before = now;
  }

  function words(now) {
    if (!now) return over;
    return now <= 60 ? minute : minutes.replace("%s", Math.ceil(now / 60));
  }
})();
