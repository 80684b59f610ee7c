// Choosing a name and getting in.

import { html, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered, waitingText } from "../lib/api.js";
import { NICKNAME_CHARS_MAX } from "../lib/facts.js";
import { useComposing } from "../lib/hooks.js";
import { groupPin } from "../lib/pins.js";
import { keepPlace } from "../lib/place.js";
import { countSeen } from "../lib/words.js";
import { Brand } from "./brand.js";
import { ThemeSwitch } from "./switches.js";
import { ComeBack } from "./comeback.js";

export function JoinForm({ pin, title, place, onJoined }) {
  const [nickname, setNickname] = useState(place.nickname);
  const [problem, setProblem] = useState("");
  const [waits, setWaits] = useState("");
  const [isTaken, setTaken] = useState(Boolean(place.isLeft));
  const composing = useComposing();
  const tooLong = countSeen(nickname.trim()) > NICKNAME_CHARS_MAX;

  const typed = (event) => {
    setNickname(event.target.value);
    setProblem("");
  };
  const submit = async (event) => {
    event.preventDefault();
    const name = nickname.trim();
    if (waits || composing.isOn()) return;
    if (!name || tooLong) {
      setProblem(name ? `At most ${NICKNAME_CHARS_MAX} characters.` : "Type a name first.");
      return;
    }
    setProblem("");
    setWaits("Joining…");
    keepPlace(pin, { ...place, nickname: name });
    try {
      const json = { nickname: name, join_key: place.joinKey };
      const path = `/pins/${pin}/participants`;
      const joined = await callUntilAnswered("POST", path, { json }, (error) =>
        setWaits(waitingText(error)),
      );
      const kept = { ...place, nickname: joined.nickname, token: joined.token };
      keepPlace(pin, kept);
      onJoined({ ...kept, ticket: joined.ticket });
    } catch (error) {
      setTaken(error.code === "nickname_taken");
      if (error.code === "wrong_phase") setProblem("This quiz has already started. Nobody new can join.");
      else setProblem(error.code === "nickname_invalid" ? `${error.message} ${error.detail}` : error.message);
      setWaits("");
    }
  };

  return html`<main class="join">
    <div class="join-head"><${Brand} /><${ThemeSwitch} /></div>
    <form class="join-form" onSubmit=${submit} novalidate>
      <p class="eyebrow">PIN ${groupPin(pin)}</p>
      <h1 dir="auto">${title}</h1>
      ${place.isLeft && html`<p>You came back on another device, which has your place now.</p>`}
      <label for="nickname">Your name</label>
      <input id="nickname" class="text-input" dir="auto" autocomplete="nickname" autocapitalize="words" autofocus
        spellcheck=${false} value=${nickname} onInput=${typed} ...${composing.keys}
        aria-invalid=${Boolean(problem) || tooLong} aria-describedby="nickname-note" />
      <p id="nickname-note" class="field-error" role="alert">${problem || (tooLong && `At most ${NICKNAME_CHARS_MAX} characters.`)}</p>
      <button class="button primary wide" type="submit" aria-busy=${Boolean(waits)}>${waits || "Let me in"}</button>
    </form>
    <${ComeBack} pin=${pin} isAsked=${isTaken} onJoined=${onJoined} />
  </main>`;
}
