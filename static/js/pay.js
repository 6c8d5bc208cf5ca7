// The pay page: Stripe's card fields, one press, and what comes back. Everything is decided on the server.
(() => {
  "use strict";
  const waiting = document.querySelector("[data-settle]");
  if (waiting) return keepAsking(waiting);
  const form = document.querySelector("form.pay");
  if (!form) return;

  const { token, currency, locale, failed, working } = form.dataset;
  const button = form.querySelector("button.big");
  const label = [...button.childNodes];
  const frame = document.getElementById("card-fields");
  const place = document.getElementById("card-element");
  let stripe, elements, card, keeps, cents;

  try {
    stripe = window.Stripe(token, { locale });
    form.elements.script.value = "1";
    mount();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      elements?.update({ appearance: appearance() });
    });
  } catch {
    fieldsFailed();
  }

  form.addEventListener("change", (event) => { if (event.target.name === "save") keep(); });

  // Come back to with the browser's Back, the page would stand as it was left: busy, or with a form that is used up.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  form.addEventListener("submit", async (event) => {
    if (event.submitter?.name) return; // another button than the one that pays
    event.preventDefault();
    if (button.disabled) return;
    busy(true);
    try {
      if (await prepare()) await act(await post(form.action, new FormData(form)));
    } catch {
      // The network is gone, or the answer was not ours. Pressing again is safe: the attempt is the same one.
      tell(form.dataset.lost, form.dataset.lostText);
    }
    busy(false);
  });

  document.querySelector("[data-continue]")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    busy(true);
    try { await act(await post(event.target.action, new FormData(event.target))); } catch { location.reload(); }
    busy(false);
  });

  function mount() {
    keeps = wantsToKeep();
    cents = Number(form.dataset.cents);
    elements = stripe.elements({
      mode: "payment",
      amount: cents,
      currency,
      allowedPaymentMethodTypes: ["card"],
      appearance: appearance(),
      ...(keeps && { setupFutureUsage: "off_session" }),
    });
    card = elements.create("payment", {
      wallets: { applePay: "never", googlePay: "never", link: "never" },
      fields: { billingDetails: { name: "never" } },
      terms: { card: "never" },
    });
    card.on("ready", () => { frame.removeAttribute("aria-busy"); });
    card.on("loaderror", fieldsFailed);
    place.replaceChildren();
    card.mount(place);
  }

  function wantsToKeep() { return Boolean(form.elements.save?.checked); }

  // The token says whether its card is kept: as the box is ticked now. Fields that can't unlearn it are made anew.
  function keep() {
    if (!elements || keeps === wantsToKeep()) return;
    try {
      elements.update({ setupFutureUsage: wantsToKeep() ? "off_session" : null });
      keeps = wantsToKeep();
    } catch {
      card.destroy();
      mount();
    }
  }

  // With a new card: let Stripe's fields check themselves and hand over a token. True when there is something to send.
  // Fields that don't show are not asked: the desk takes cash too.
  async function prepare() {
    form.elements.confirmation_token.value = "";
    mark({});
    if (form.elements.card.value !== "new" || !frame.offsetParent) return true;
    if (!elements) { fieldsFailed(); return false; }
    try {
      return await makeToken();
    } catch {
      // Stripe's script gave up. Nothing has been sent.
      tell(failed, form.dataset.call);
      return false;
    }
  }

  async function makeToken() {
    keep();
    if (cents !== Number(form.dataset.cents)) elements.update({ amount: (cents = Number(form.dataset.cents)) });
    const name = form.elements.name.value.trim();
    const checked = await elements.submit();
    const wrong = {};
    if (checked.error) wrong["card-fields"] = checked.error.message;
    if (!name) wrong.name = form.elements.name.dataset.empty;
    if (mark(wrong)) return false;
    const made = await stripe.createConfirmationToken({
      elements,
      params: { payment_method_data: { billing_details: { name } } },
    });
    if (made.error) return !mark({ "card-fields": made.error.message });
    form.elements.confirmation_token.value = made.confirmationToken.id;
    return true;
  }

  // `asked`: the payer has just been to their bank.
  async function act(answer, asked = false) {
    if (answer.attempt) form.elements.attempt.value = answer.attempt;
    switch (answer.outcome) {
      case "paid":
      case "checking":
        return leave(answer.location);
      case "action":
        // Still open after the bank's question was shown, or could not be: a fresh page offers to go on, or another card.
        if (asked) return leave(form.action);
        if (!stripe) return answer.redirect ? leave(answer.redirect) : fieldsFailed();
        // Whatever it says, or throws (the intent may have moved on meanwhile), the server knows what became of it.
        try { await stripe.handleNextAction({ clientSecret: answer.client_secret }); } catch { /* as above */ }
        return act(await post(answer.settle, new FormData(form)), true);
      default:
        if (answer.reload) return leave(answer.location || form.action);
        document.querySelector("[data-continue]")?.remove();
        if (!mark(answer.wrong || {}, answer.title)) tell(answer.title, answer.text);
    }
  }

  function leave(address) {
    location.assign(address);
    return new Promise(() => {});
  }

  // Says beside each field, and above the form, what is wrong: sentences by the field's id. True when anything is.
  function mark(wrong, title = form.dataset.correct) {
    for (const error of form.querySelectorAll(".wrong")) {
      const id = error.id.slice(0, -"-error".length);
      show(error, wrong[id], document.getElementById(id));
    }
    const links = Object.entries(wrong);
    if (links.length) tell(title, "", links);
    else document.getElementById("told")?.remove();
    return links.length > 0;
  }

  function show(error, text, field) {
    error.hidden = !text;
    error.textContent = text || "";
    const ids = (field.dataset.described || "").split(" ").filter(Boolean);
    if (text) ids.push(error.id);
    if (ids.length) field.setAttribute("aria-describedby", ids.join(" "));
    else field.removeAttribute("aria-describedby");
    if (field.form && text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }

  // One message above the form, read out and focused; the one before it goes.
  function tell(title, text, links = []) {
    document.querySelectorAll("main .note[role]").forEach((note) => note.remove());
    const note = document.createElement("div");
    note.className = "note bad";
    note.id = "told";
    note.setAttribute("role", "alert");
    note.setAttribute("aria-labelledby", "told-title");
    note.tabIndex = -1;
    const heading = document.createElement("h2");
    heading.id = "told-title";
    heading.textContent = title;
    note.append(heading);
    if (text) note.append(Object.assign(document.createElement("p"), { textContent: text }));
    if (links.length) {
      const list = document.createElement("ul");
      for (const [id, words] of links) {
        const item = document.createElement("li");
        item.append(Object.assign(document.createElement("a"), { href: `#${id}`, textContent: words }));
        list.append(item);
      }
      note.append(list);
    }
    form.before(note);
    document.title = title.replace(/\.$/, "") + ": " + form.dataset.title;
    note.focus();
  }

  function fieldsFailed() {
    elements = undefined;
    place.replaceChildren();
    frame.removeAttribute("aria-busy");
    tell(failed, form.dataset.call);
  }

  function busy(on) {
    button.disabled = on;
    button.replaceChildren(...(on ? [working] : label));
    form.setAttribute("aria-busy", String(on));
  }

  // Stripe's fields take the page's own colours, as plain rgb: a canvas turns any CSS colour into that.
  function appearance() {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const colour = (element, property) => {
      pen.fillStyle = getComputedStyle(element)[property];
      pen.fillRect(0, 0, 1, 1);
      return `rgb(${[...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)].join(", ")})`;
    };
    return {
      theme: matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "stripe",
      variables: {
        colorPrimary: colour(button, "backgroundColor"),
        colorBackground: colour(frame.closest(".sheet"), "backgroundColor"),
        colorText: colour(form, "color"),
        colorDanger: colour(document.getElementById("card-fields-error"), "color"),
        borderRadius: "8px",
        fontFamily: getComputedStyle(form).fontFamily,
      },
    };
  }

  async function post(url, body) {
    const answer = await fetch(url, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Error("not ours");
    return answer.json();
  }

  // The page that waits asks now and then, less often as time goes by.
  function keepAsking(section) {
    const form = section.querySelector("form");
    let pause = 2000;
    const ask = async () => {
      try {
        const answer = await fetch(form.action, {
          method: "POST", body: new FormData(form), headers: { Accept: "application/json" },
        }).then((response) => response.json());
        if (answer.outcome === "paid") return location.replace(answer.location);
        if (answer.outcome !== "checking") return location.reload();
      } catch { /* the network is away; ask again later */ }
      pause = Math.min(pause * 1.5, 15000);
      setTimeout(ask, pause);
    };
    setTimeout(ask, pause);
  }
})();
