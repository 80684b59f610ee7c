// The start: a PIN, and the way to the host's side.

import { html, render, useState } from "../../vendor/preact-htm.js";
import { groupPin, isPin, pinStyle, readPin } from "../lib/pins.js";
import { Brand } from "../parts/brand.js";
import { ThemeSwitch } from "../parts/switches.js";

const style = pinStyle();

function Landing() {
  const [pin, setPin] = useState("");
  const [missing, setMissing] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    if (isPin(pin)) location.href = `/play?pin=${pin}`;
    else setMissing(true);
  };
  const typed = (event) => {
    const read = readPin(event.target.value);
    event.target.value = groupPin(read, style.example.length);
    setPin(read);
    setMissing(false);
  };
  return html`<main class="landing">
    <${Brand} />
    <form class="pin-form" onSubmit=${submit} novalidate>
      <h1>Ready to play?</h1>
      <label for="pin">PIN on the big screen</label>
      <input id="pin" class="pin-input" inputmode=${style.input} autocomplete="off" autocapitalize="characters"
        spellcheck=${false} placeholder=${groupPin(style.example)} autofocus
        value=${groupPin(pin, style.example.length)} onInput=${typed} aria-invalid=${missing} aria-describedby="pin-error" />
      <p id="pin-error" class="field-error" role="alert">${missing && style.rule}</p>
      <button class="button primary wide" type="submit">Join</button>
    </form>
    <p class="landing-foot">Running a quiz? <a href="/library">Open the library</a> <${ThemeSwitch} /></p>
  </main>`;
}

render(html`<${Landing} />`, document.getElementById("app"));
