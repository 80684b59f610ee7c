// The way back into a quiz on another phone, or when this one has forgotten: a personal code.

import { html, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered } from "../lib/api.js";
import { ERROR_TEXTS, RETURN_CODE_DIGITS } from "../lib/facts.js";
import { randomKey } from "../lib/keys.js";
import { keepPlace } from "../lib/place.js";

// "7-482 913"
function inGroups(code) {
  const half = RETURN_CODE_DIGITS / 2;
  return `${code.slice(0, -half)}\u00a0${code.slice(-half)}`;
}

export function OwnCode({ code }) {
  return code && html`<p class="own-code quiet">Your code: <b translate="no">${inGroups(code)}</b>
    <span>Write it down to come back on another phone.</span></p>`;
}

export function ComeBack({ pin, isAsked, onJoined }) {
  const [code, setCode] = useState("");
  const [problem, setProblem] = useState("");
  const [waits, setWaits] = useState("");
  const typed = (event) => {
    setCode(event.target.value);
    setProblem("");
  };
  const submit = async (event) => {
    event.preventDefault();
    if (waits) return;
    if (code.replace(/\D/g, "").length <= RETURN_CODE_DIGITS) {
      setProblem("A code looks like 7-482 913.");
      return;
    }
    setWaits("Looking for your place…");
    try {
      const json = { code, join_key: randomKey() };
      const joined = await callUntilAnswered("POST", `/pins/${pin}/returns`, { json }, () => setWaits("Trying again…"));
      const place = { joinKey: json.join_key, nickname: joined.nickname, token: joined.token };
      keepPlace(pin, place);
      onJoined({ ...place, ticket: joined.ticket });
    } catch (error) {
      setProblem(ERROR_TEXTS[error.code] ?? error.message);
      setWaits("");
    }
  };
  return html`<details class="come-back" open=${isAsked}>
    <summary>Played here before? Come back with your code</summary>
    <form onSubmit=${submit} novalidate>
      <label for="code">Your code</label>
      <input id="code" class="text-input" inputmode="numeric" autocomplete="off" value=${code} onInput=${typed}
        aria-invalid=${Boolean(problem)} aria-describedby="code-note" />
      <p id="code-note" class="field-error" role="alert">${problem}</p>
      <button class="button wide" type="submit" aria-busy=${Boolean(waits)}>${waits || "Come back"}</button>
    </form>
  </details>`;
}
