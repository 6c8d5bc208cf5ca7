// The bank's page inside the overlay that stripe.js opens. It is given the client secret over a private line.
// The choices are disabled until that line is open, and again once one is taken.
"use strict";

const form = document.getElementById("challenge");
const choices = form.querySelector("fieldset");
let port = null;

async function decide(outcome) {
  if (choices.disabled) return;
  choices.disabled = true;
  const body = new URLSearchParams({ client_secret: form.client_secret.value, outcome, framed: "1" });
  await fetch(form.action, { method: "POST", body });
  port.postMessage({ event: "decided" });
}

window.addEventListener("message", (event) => {
  if (port || event.source !== window.parent || event.data?.type !== "stripe-sandbox:connect") return;
  [port] = event.ports;
  form.client_secret.value = event.data.clientSecret;
  choices.disabled = false;
  port.onmessage = (message) => message.data.action === "cancel" && decide("cancel");
  document.getElementById("complete").focus();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  decide(event.submitter.value);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") decide("cancel");
});
