// The start: a PIN, and the way to the host's side.

import { html, render, useState } from "../../vendor/preact-htm.js";
import { PIN_DIGITS } from "../lib/facts.js";
import { Brand } from "../parts/brand.js";

function Landing() {
  const [pin, setPin] = useState("");
  const [missing, setMissing] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    if (pin.length === PIN_DIGITS) location.href = `/play?pin=${pin}`;
    else setMissing(true);
  };
  const typed = (event) => {
    const digits = event.target.value.replace(/\D/g, "").slice(0, PIN_DIGITS);
    event.target.value = digits;
    setPin(digits);
    setMissing(false);
  };
  return html`<main class="landing">
    <${Brand} />
    <form class="pin-form" onSubmit=${submit} novalidate>
      <h1>Ready to play?</h1>
      <label for="pin">PIN on the big screen</label>
      <input id="pin" class="pin-input" inputmode="numeric" autocomplete="off" placeholder="000000" autofocus
        value=${pin} onInput=${typed} aria-invalid=${missing} aria-describedby="pin-error" />
      <p id="pin-error" class="field-error" role="alert">${missing && `A PIN has ${PIN_DIGITS} digits.`}</p>
      <button class="button primary wide" type="submit">Join</button>
    </form>
    <p class="landing-foot">Running a quiz? <a href="/library">Open the library</a></p>
  </main>`;
}

render(html`<${Landing} />`, document.getElementById("app"));
