// Makes or uses a passkey: asks the server for a challenge, the browser for the answer, and sends the form with it.
"use strict";
{
  const form = document.querySelector("form[data-passkey]");
  const known = window.PublicKeyCredential;
  if (form && known?.parseCreationOptionsFromJSON && known.parseRequestOptionsFromJSON) {
    for (const part of document.querySelectorAll("[data-needs-passkeys]")) part.hidden = false;
    for (const part of document.querySelectorAll("[data-without-passkeys]")) part.hidden = true;
    const failed = form.querySelector("[role=alert]");
    const button = form.querySelector("button");
    const answered = async () => {
      const response = await fetch(form.dataset.options, {
        method: "POST",
        headers: { Accept: "application/json" },
        body: new URLSearchParams({ csrf_token: form.elements.csrf_token.value }),
      });
      if (!response.ok) return location.reload(); // signed out, or the password is asked for again
      const options = await response.json();
      const credential = form.dataset.passkey === "create"
        ? await navigator.credentials.create({ publicKey: known.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: known.parseRequestOptionsFromJSON(options) });
      form.elements.credential.value = JSON.stringify(credential.toJSON());
      form.submit();
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      failed.hidden = true;
      button.disabled = true;
      try {
        await answered();
      } catch {
        failed.hidden = false;
      }
      button.disabled = false;
    });
  }
}
