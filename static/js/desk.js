// Receive Payment follows what is chosen. Without this a button does it; the server decides everything either way.
(() => {
  "use strict";
  const form = document.querySelector("form.receive");
  if (!form) return;
  const { amount } = form.elements;
  const { balance, places, currency } = form.dataset;
  const button = document.getElementById("show-cards");
  const money = new Intl.NumberFormat("en-CA", { style: "currency", currency });
  let newest = 0;

  button.closest("p").hidden = true;
  follow();
  amount.addEventListener("input", follow);
  form.addEventListener("change", (event) => {
    if (event.target.name === "payer" || event.target.name === "person") fetchParts("payer");
  });
  form.addEventListener("submit", (event) => {
    if (event.submitter?.id === "find-person") {
      event.preventDefault();
      fetchParts("find");
    }
  });
  // Enter in a field is no press on a button: what stands in the card fields would be lost.
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("input:not([type=radio], [type=checkbox])")) return;
    event.preventDefault();
    if (event.target.name === "find") fetchParts("find");
  });

  // The sum on the button, what is left afterwards, and the amount that the card fields are for.
  function follow() {
    const found = /^\$?(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d*))?$/.exec(amount.value.trim());
    const part = (found?.[2] || "").replace(/0+$/, "");
    const cents = Number((found?.[1] || "").replaceAll(",", "") + part.padEnd(places, "0"));
    const fits = found && part.length <= places && cents > 0 && cents <= Number(balance);
    if (fits) form.dataset.cents = cents;
    document.getElementById("after").textContent = fits ? money.format((balance - cents) / 10 ** places) : "–";
    form.querySelector("[data-sum]").textContent = fits ? " of " + money.format(cents / 10 ** places) : "";
  }

  // Another payer has other cards: fetch the page anew and take its parts, so that nothing else that was typed is lost.
  async function fetchParts(why) {
    const turn = ++newest;
    const body = new FormData(form);
    body.set("update", why);
    try {
      const answer = await fetch(form.action, { method: "POST", body });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (turn !== newest) return;
      const focused = document.activeElement.id;
      const parts = ["people", "cards", "keeping", "name-part"].map((id) => [document.getElementById(id), page.getElementById(id)]);
      if (!parts.every(([, part]) => part)) throw new Error("another page");
      for (const [old, part] of parts) {
        // What was typed since the request went out stays.
        for (const field of old.querySelectorAll("input[type=search], input[type=text]")) {
          const again = field.value !== body.get(field.name) && field.id && part.querySelector(`#${field.id}`);
          if (again) again.value = field.value;
        }
        old.replaceWith(part);
      }
      (why === "find" && document.querySelector("#people [type=radio]") || document.getElementById(focused))?.focus();
    } catch {
      button.click();
    }
  }
})();
