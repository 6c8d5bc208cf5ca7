// A stand-in for Stripe.js: the part of its interface that this product uses, over the local sandbox.
// It is a test double, not Stripe. It needs nothing of the page but the address it is loaded from in script-src,
// frame-src and connect-src; it sets styles through the object model only.
"use strict";

(() => {
  const origin = new URL(document.currentScript.src).origin;

  const LOADING_MS = 10_000;

  class IntegrationError extends Error {
    constructor(message) {
      super(message);
      this.name = "IntegrationError";
    }
  }

  /** A private line into a frame of the sandbox: requests with answers one way, events the other. */
  class Line {
    constructor(frame, hello, onEvent) {
      this.waiting = new Map();
      this.next = 1;
      this.ready = new Promise((resolve) => {
        frame.addEventListener("load", () => {
          const { port1, port2 } = new MessageChannel();
          this.port = port1;
          port1.onmessage = ({ data }) => {
            if (data.event === "ready") resolve();
            if (data.event) return onEvent(data.event, data.data);
            this.waiting.get(data.id)?.(data.result);
            this.waiting.delete(data.id);
          };
          frame.contentWindow.postMessage({ type: "stripe-sandbox:connect", ...hello() }, origin, [port2]);
        }, { once: true });
      });
    }

    tell(action) {
      this.port?.postMessage({ action });
    }

    async ask(action, data) {
      await this.ready;
      const id = this.next++;
      this.port.postMessage({ id, action, data: structuredClone(data) });
      return new Promise((resolve) => this.waiting.set(id, resolve));
    }
  }

  function frameAt(path, title) {
    const frame = document.createElement("iframe");
    frame.src = origin + path;
    frame.title = title;
    Object.assign(frame.style, { border: "0", width: "100%", display: "block", colorScheme: "normal" });
    return frame;
  }

  // The API, as far as a publishable key may speak to it

  async function call(key, method, path, params) {
    const query = new URLSearchParams(params).toString();
    const address = `${origin}/v1/${path}`;
    try {
      const answer = await fetch(method === "GET" ? `${address}?${query}` : address, {
        method,
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/x-www-form-urlencoded" },
        body: method === "GET" ? undefined : query,
      });
      return await answer.json();
    } catch {
      return { error: { type: "api_connection_error", message: "The connection to the payment service failed." } };
    }
  }

  const KINDS = { pi: ["payment_intents", "paymentIntent"], seti: ["setup_intents", "setupIntent"] };

  function intentOf(clientSecret) {
    const match = /^((pi|seti)_[A-Za-z0-9]+)_secret_[A-Za-z0-9]+$/.exec(clientSecret ?? "");
    if (!match) {
      throw new IntegrationError("Invalid value for clientSecret: it should look like ${id}_secret_${secret}.");
    }
    const [path, name] = KINDS[match[2]];
    return { path: `${path}/${match[1]}`, name, id: match[1] };
  }

  async function retrieve(key, clientSecret) {
    const { path, name } = intentOf(clientSecret);
    const found = await call(key, "GET", path, { client_secret: clientSecret });
    return found.error ? { error: found.error } : { [name]: found };
  }

  // The payer's bank

  /** Opens the bank's page over everything; resolves once the payer has decided. Escape cancels. */
  function challenge(clientSecret, id) {
    const before = document.activeElement;
    const dialog = document.createElement("dialog");
    const frame = frameAt(`/challenge/${id}`, "3D Secure authentication");
    dialog.setAttribute("aria-label", "3D Secure authentication");
    Object.assign(dialog.style, {
      width: "min(36rem, 100vw)", height: "min(26rem, 100vh)", maxWidth: "100vw", margin: "auto", padding: "0", border: "0",
    });
    frame.style.height = "100%";
    return new Promise((resolve) => {
      const line = new Line(frame, () => ({ clientSecret }), () => {
        dialog.close();
        dialog.remove();
        before?.focus?.();
        resolve();
      });
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        line.tell("cancel");
      });
      dialog.append(frame);
      document.body.append(dialog);
      dialog.showModal();
      frame.focus();
    });
  }

  async function handleNextAction(key, clientSecret) {
    const { name, id } = intentOf(clientSecret);
    let result = await retrieve(key, clientSecret);
    if (result.error) return result;
    const action = result[name].next_action;
    if (result[name].status === "requires_action" && action.type === "redirect_to_url") {
      window.location.assign(action.redirect_to_url.url);
      return new Promise(() => {}); // the page is being left
    }
    if (result[name].status === "requires_action") {
      await challenge(clientSecret, id);
      result = await retrieve(key, clientSecret);
      if (result.error) return result;
    }
    return settled(result, name);
  }

  function settled(result, name) {
    const intent = result[name];
    const last = intent.last_payment_error ?? intent.last_setup_error;
    if (intent.status !== "requires_payment_method") return result;
    const kind = intent.object;
    return {
      error: {
        ...(last ?? {
          type: "invalid_request_error",
          code: `${kind}_unexpected_state`,
          message: `handleNextAction: the intent is ${intent.status}, not requires_action.`,
        }),
        [kind]: intent,
      },
    };
  }

  // Elements

  const ELEMENTS_OPTIONS = new Set([
    "mode", "amount", "currency", "setupFutureUsage", "allowedPaymentMethodTypes", "appearance", "locale", "fonts",
    "loader", "captureMethod", "clientSecret", "paymentMethodCreation", "customerSessionClientSecret", "onBehalfOf",
    "excludedPaymentMethodTypes", "paymentMethodOptions",
  ]);

  function checkElementsOptions(options) {
    if ("paymentMethodTypes" in options || "payment_method_types" in options) {
      throw new IntegrationError(
        "elements(): paymentMethodTypes is no longer supported. Use allowedPaymentMethodTypes instead.");
    }
    for (const name of Object.keys(options)) {
      if (!ELEMENTS_OPTIONS.has(name)) console.warn(`Unrecognized elements() parameter: ${name} is not recognized.`);
    }
    if (options.clientSecret) return;
    if (!["payment", "setup"].includes(options.mode)) {
      throw new IntegrationError("elements(): mode must be one of payment or setup.");
    }
    if (!/^[a-z]{3}$/.test(options.currency ?? "") && options.mode === "payment") {
      throw new IntegrationError("elements(): currency must be a three-letter code in lower case.");
    }
    if (options.mode === "payment" && !(Number.isInteger(options.amount) && options.amount > 0)) {
      throw new IntegrationError("elements(): amount must be a positive whole number.");
    }
  }

  class PaymentElement {
    constructor(elements, options) {
      this.elements = elements;
      this.options = options;
      this.listeners = new Map();
    }

    on(event, listener) {
      this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
      return this;
    }

    off(event, listener) {
      const kept = (this.listeners.get(event) ?? []).filter((one) => listener && one !== listener);
      this.listeners.set(event, kept);
      return this;
    }

    once(event, listener) {
      const first = (data) => {
        this.off(event, first);
        listener(data);
      };
      return this.on(event, first);
    }

    mount(target) {
      const place = typeof target === "string" ? document.querySelector(target) : target;
      if (!(place instanceof HTMLElement)) {
        throw new IntegrationError(`The selector you specified (${target}) applies to no DOM elements that are on the page.`);
      }
      if (this.frame) this.unmount();
      this.frame = frameAt("/frame/payment-element", "Secure card payment input frame");
      this.frame.style.height = "22rem";
      this.line = new Line(this.frame, () => this.hello(), (event, data) => this.happened(event, data));
      this.watchLoading(this.line);
      place.replaceChildren(this.frame);
      return this;
    }

    /** Says so when the frame does not come up. */
    watchLoading(line) {
      const late = setTimeout(() => {
        const error = { type: "api_connection_error", message: "The payment form could not be loaded." };
        if (this.line === line) this.emit("loaderror", { elementType: "payment", error });
      }, LOADING_MS);
      line.ready.then(() => clearTimeout(late));
    }

    hello() {
      return { key: this.elements.key, options: this.forFrame() };
    }

    forFrame() {
      const { appearance } = this.elements.options;
      const { fields, defaultValues } = this.options;
      return structuredClone({ appearance, fields, defaultValues });
    }

    happened(event, data) {
      if (event === "resize") this.frame.style.height = `${data.height}px`;
      else this.emit(event, data);
    }

    emit(event, data) {
      for (const listener of this.listeners.get(event) ?? []) listener(data);
    }

    update(options) {
      Object.assign(this.options, options);
      this.line?.ask("update", this.forFrame());
    }

    focus() { this.line?.ask("focus"); }

    blur() { this.line?.ask("blur"); }

    clear() { this.line?.ask("clear"); }

    collapse() {}

    unmount() {
      this.frame?.remove();
      this.frame = this.line = null;
    }

    destroy() {
      this.unmount();
      this.elements.element = null;
    }
  }

  class Elements {
    constructor(key, options) {
      checkElementsOptions(options);
      this.key = key;
      this.options = { ...options };
      this.element = null;
      this.submitted = false;
    }

    create(type, options = {}) {
      if (type !== "payment") throw new IntegrationError(`The sandbox has no "${type}" Element, only "payment".`);
      if (this.element) throw new IntegrationError("Can only create one Element of type payment through stripe.elements().");
      this.element = new PaymentElement(this, { ...options });
      return this.element;
    }

    getElement(type) {
      return type === "payment" ? this.element : null;
    }

    update(options) {
      const changed = { ...this.options, ...options };
      checkElementsOptions(changed);
      this.options = changed;
      this.element?.line?.ask("update", this.element.forFrame());
    }

    /** Checks the form. Has to come before a token is made, as with Stripe.js. */
    async submit() {
      const result = await this.line().ask("submit");
      this.submitted = !result.error;
      return result;
    }

    async fetchUpdates() {
      return {};
    }

    line() {
      if (!this.element?.line) throw new IntegrationError("The Payment Element is not mounted.");
      return this.element.line;
    }

    /** How these Elements were set up; the intent is compared with it when it is confirmed. */
    context() {
      const { mode, amount, currency, setupFutureUsage, allowedPaymentMethodTypes } = this.options;
      return {
        mode,
        amount: mode === "payment" ? amount : undefined,
        currency,
        setup_future_usage: setupFutureUsage ?? undefined,
        allowed_payment_method_types: allowedPaymentMethodTypes,
      };
    }
  }

  function checkHiddenFields(element, params) {
    const address = element.options.fields?.billingDetails?.address;
    const hidden = { country: "country", postalCode: "postal_code" };
    for (const [name, wanted] of Object.entries(hidden)) {
      if (address?.[name] === "never" && params?.payment_method_data?.billing_details?.address?.[wanted] === undefined) {
        throw new IntegrationError(
          `You specified "never" for fields.billing_details.address.${wanted} when creating the payment Element, but ` +
          `did not pass payment_method_data.billing_details.address.${wanted}.`);
      }
    }
  }

  async function createConfirmationToken(key, { elements, params } = {}) {
    if (!(elements instanceof Elements)) throw new IntegrationError("createConfirmationToken(): elements is missing.");
    if (!elements.submitted) {
      throw new IntegrationError("elements.submit() must be called before stripe.createConfirmationToken().");
    }
    checkHiddenFields(elements.element, params);
    return elements.line().ask("createToken", { elements: elements.context(), params: params ?? {} });
  }

  /** Confirm from the page: make a token, confirm with it, and do what the bank asks. */
  async function confirm(key, { elements, clientSecret, confirmParams = {}, redirect = "always" }) {
    const { path, name } = intentOf(clientSecret ?? elements?.options.clientSecret);
    const secret = clientSecret ?? elements.options.clientSecret;
    const checked = await elements.submit();
    if (checked.error) return { error: checked.error };
    const made = await createConfirmationToken(key, { elements, params: confirmParams });
    if (made.error) return { error: made.error };
    const params = { client_secret: secret, confirmation_token: made.confirmationToken.id, use_stripe_sdk: "true" };
    if (confirmParams.return_url) params.return_url = confirmParams.return_url;
    const confirmed = await call(key, "POST", `${path}/confirm`, params);
    if (confirmed.error) return { error: confirmed.error };
    const result = await handleNextAction(key, secret);
    if (result.error || redirect === "if_required") return result;
    const back = new URL(confirmParams.return_url);
    back.searchParams.set(result[name].object, result[name].id);
    back.searchParams.set(`${result[name].object}_client_secret`, secret);
    back.searchParams.set("redirect_status", "succeeded");
    window.location.assign(back);
    return new Promise(() => {});
  }

  function Stripe(key, options) {
    if (!/^pk_(test|live)_/.test(key ?? "")) {
      throw new IntegrationError("Please call Stripe() with your publishable key. You used something else.");
    }
    return {
      _apiKey: key,
      _options: options ?? {},
      elements: (given = {}) => new Elements(key, given),
      createConfirmationToken: (given) => createConfirmationToken(key, given),
      handleNextAction: async ({ clientSecret }) => handleNextAction(key, clientSecret),
      retrievePaymentIntent: async (clientSecret) => retrieve(key, clientSecret),
      retrieveSetupIntent: async (clientSecret) => retrieve(key, clientSecret),
      confirmPayment: (given) => confirm(key, given),
      confirmSetup: (given) => confirm(key, given),
    };
  }

  Stripe.version = "endive";
  window.Stripe = Stripe;
})();
