// The inside of the Payment Element. The card number is typed here, checked here, and sent from here straight to the
// API; the page that holds this frame is told only whether the form is complete, and the token's id.
"use strict";

const BRANDS = [
  { name: "visa", starts: /^4/, groups: [4, 4, 4, 4], lengths: [16], cvc: 3 },
  { name: "mastercard", starts: /^(5[1-5]|2[2-7])/, groups: [4, 4, 4, 4], lengths: [16], cvc: 3 },
  { name: "amex", starts: /^3[47]/, groups: [4, 6, 5], lengths: [15], cvc: 4 },
  { name: "discover", starts: /^6(011|[45])/, groups: [4, 4, 4, 4], lengths: [16], cvc: 3 },
  { name: "diners", starts: /^3(0|6|8)/, groups: [4, 4, 4, 4], lengths: [14, 16], cvc: 3 },
  { name: "jcb", starts: /^35/, groups: [4, 4, 4, 4], lengths: [16], cvc: 3 },
  { name: "unionpay", starts: /^62/, groups: [4, 4, 4, 4], lengths: [16, 19], cvc: 3 },
];
const UNKNOWN = { name: "unknown", groups: [4, 4, 4, 4], lengths: [16], cvc: 3 };
const APPEARANCE = [
  "colorPrimary", "colorBackground", "colorText", "colorDanger",
  "borderRadius", "fontFamily", "fontSizeBase", "spacingUnit",
];

const NIGHT = { colorPrimary: "#6ea8ff", colorBackground: "#30313d", colorText: "#ffffff", colorDanger: "#ff9aa2" };

const form = document.getElementById("card");
const inputs = { number: form.number, expiry: form.expiry, cvc: form.cvc };

let port = null; // the private line to stripe.js in the page
let key = "";
let options = {};

const digits = (text) => text.replace(/\D/g, "");
const brandOf = (number) => BRANDS.find((brand) => brand.starts.test(number)) ?? UNKNOWN;

function grouped(number, groups) {
  const parts = [];
  let start = 0;
  for (const size of [...groups, 4]) {
    if (start < number.length) parts.push(number.slice(start, start + size));
    start += size;
  }
  return parts.join(" ");
}

function passesLuhn(number) {
  let sum = 0;
  [...number].reverse().forEach((digit, index) => {
    const value = Number(digit) * (index % 2 ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  });
  return sum % 10 === 0;
}

// What is wrong with each field, as [code, sentence]; nothing when all is well.

function numberProblem() {
  const number = digits(inputs.number.value);
  const brand = brandOf(number);
  if (!number) return ["incomplete_number", "Enter your card number."];
  if (number.length < Math.min(...brand.lengths)) return ["incomplete_number", "Your card number is incomplete."];
  if (!passesLuhn(number)) return ["invalid_number", "Your card number is invalid."];
  return null;
}

function expiryOf() {
  const typed = digits(inputs.expiry.value);
  return { month: Number(typed.slice(0, 2)), year: 2000 + Number(typed.slice(2, 4)), complete: typed.length === 4 };
}

function expiryProblem() {
  const { month, year, complete } = expiryOf();
  const now = new Date();
  if (!inputs.expiry.value) return ["incomplete_expiry", "Enter your card's expiration date."];
  if (!complete || month < 1 || month > 12) return ["incomplete_expiry", "Your card's expiration date is incomplete."];
  const isPast = year < now.getFullYear() || (year === now.getFullYear() && month < now.getMonth() + 1);
  if (isPast) return ["invalid_expiry_year_past", "Your card's expiration date is in the past."];
  return null;
}

function cvcProblem() {
  const wanted = brandOf(digits(inputs.number.value)).cvc;
  if (!inputs.cvc.value) return ["incomplete_cvc", "Enter your card's security code."];
  if (digits(inputs.cvc.value).length < wanted) return ["incomplete_cvc", "Your card's security code is incomplete."];
  return null;
}

const problemOf = { number: numberProblem, expiry: expiryProblem, cvc: cvcProblem };

function show(name, sentence) {
  inputs[name].setAttribute("aria-invalid", sentence ? "true" : "false");
  document.getElementById(`${name}-error`).textContent = sentence ?? "";
}

/** Shows every problem, goes to the first, and returns it. */
function validate() {
  let first = null;
  for (const name of Object.keys(inputs)) {
    const problem = problemOf[name]();
    show(name, problem?.[1]);
    if (problem && !first) {
      first = { type: "validation_error", code: problem[0], message: problem[1] };
      inputs[name].focus();
    }
  }
  return first;
}

// Typing

function format(name) {
  const input = inputs[name];
  if (name === "number") {
    const brand = brandOf(digits(input.value));
    rewrite(input, grouped(digits(input.value).slice(0, Math.max(...brand.lengths)), brand.groups));
  } else if (name === "expiry") {
    let typed = digits(input.value);
    if (/^[2-9]/.test(typed)) typed = `0${typed}`;
    typed = typed.slice(0, 4);
    rewrite(input, typed.length > 2 ? `${typed.slice(0, 2)} / ${typed.slice(2)}` : typed);
  } else {
    rewrite(input, digits(input.value).slice(0, brandOf(digits(inputs.number.value)).cvc));
  }
}

/** Writes the text and keeps the caret behind the same digit. */
function rewrite(input, text) {
  if (input.value === text) return;
  const before = digits(input.value.slice(0, input.selectionStart)).length;
  const atEnd = input.selectionStart === input.value.length;
  input.value = text;
  if (atEnd) return;
  let caret = 0;
  for (let seen = 0; seen < before && caret < text.length; caret += 1) if (/\d/.test(text[caret])) seen += 1;
  input.setSelectionRange(caret, caret);
}

function tellOfChange() {
  const empty = Object.values(inputs).every((input) => !input.value);
  const complete = Object.values(problemOf).every((problem) => !problem());
  tell("change", { elementType: "payment", empty, complete, collapsed: false, value: { type: "card" } });
}

for (const [name, input] of Object.entries(inputs)) {
  input.addEventListener("input", () => {
    format(name);
    if (input.getAttribute("aria-invalid") === "true" && !problemOf[name]()) show(name, null);
    tellOfChange();
  });
  input.addEventListener("blur", () => {
    if (input.value) show(name, problemOf[name]()?.[1]);
    tell("blur", { elementType: "payment" });
  });
  input.addEventListener("focus", () => tell("focus", { elementType: "payment" }));
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  validate();
});

// The line to the page

function tell(event, data) {
  port?.postMessage({ event, data });
}

function take(given) {
  options = { ...options, ...given };
  const { appearance, fields } = options;
  const variables = { ...(appearance?.theme === "night" ? NIGHT : {}), ...appearance?.variables };
  for (const name of APPEARANCE) {
    const value = variables[name];
    if (typeof value === "string") document.documentElement.style.setProperty(`--${name}`, value);
  }
  document.getElementById("country-field").hidden = hides(fields, "country");
  const country = options.defaultValues?.billingDetails?.address?.country;
  if ([...form.country.options].some((option) => option.value === country)) form.country.value = country;
}

function hides(fields, name) {
  const details = fields?.billingDetails;
  return details === "never" || details?.address === "never" || details?.address?.[name] === "never";
}

function addTo(body, name, value) {
  if (value === undefined || value === null) return;
  if (typeof value === "object") {
    for (const [inner, part] of Object.entries(value)) addTo(body, `${name}[${inner}]`, part);
  } else {
    body.append(name, String(value));
  }
}

async function createToken({ elements, params }) {
  const error = validate();
  if (error) return { error };
  const { month, year } = expiryOf();
  const given = params?.payment_method_data ?? {};
  const typedAddress = hides(options.fields, "country") ? {} : { country: form.country.value };
  const data = {
    ...given,
    type: "card",
    card: { number: digits(inputs.number.value), exp_month: month, exp_year: year, cvc: digits(inputs.cvc.value) },
    billing_details: {
      ...given.billing_details,
      address: { ...typedAddress, ...given.billing_details?.address },
    },
  };
  const body = new URLSearchParams();
  addTo(body, "payment_method_data", data);
  addTo(body, "client_context", elements);
  addTo(body, "return_url", params?.return_url);
  addTo(body, "shipping", params?.shipping);
  addTo(body, "setup_future_usage", elements.setup_future_usage);
  try {
    const answer = await fetch("/v1/confirmation_tokens", {
      method: "POST", body, headers: { Authorization: `Bearer ${key}` },
    });
    const found = await answer.json();
    if (!found.error) return { confirmationToken: found };
    if (found.error.code === "incorrect_number") show("number", found.error.message);
    return { error: found.error };
  } catch {
    return { error: { type: "api_connection_error", message: "We are experiencing issues connecting to our payments provider. You have not been charged. Please check your internet connection and try again." } };
  }
}

const actions = {
  update: (given) => take(given),
  submit: () => {
    const error = validate();
    return error ? { error } : { selectedPaymentMethod: "card" };
  },
  createToken,
  focus: () => inputs.number.focus(),
  blur: () => document.activeElement?.blur(),
  clear: () => {
    form.reset();
    for (const name of Object.keys(inputs)) show(name, null);
    tellOfChange();
  },
};

async function answer({ id, action, data }) {
  const result = await actions[action]?.(data);
  port.postMessage({ id, result: result ?? null });
}

// The page's stripe.js opens the line, once; anybody else is not listened to.
window.addEventListener("message", (event) => {
  if (port || event.source !== window.parent || event.data?.type !== "stripe-sandbox:connect") return;
  [port] = event.ports;
  key = event.data.key;
  take(event.data.options);
  port.onmessage = (message) => answer(message.data);
  const reportHeight = () => tell("resize", { height: Math.ceil(document.body.getBoundingClientRect().height) });
  new ResizeObserver(reportHeight).observe(document.body);
  reportHeight();
  tell("ready", { elementType: "payment" });
  if (Object.values(inputs).some((input) => input.value)) tellOfChange(); // typed before the line was open
});
