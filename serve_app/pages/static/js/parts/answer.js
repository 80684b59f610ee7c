// Answering: buttons, toggles or a field, and what became of the answer.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { isEmptyAnswer, useDraft } from "../lib/draft.js";
import { ERROR_TEXTS, TYPED_CHARS_MAX } from "../lib/facts.js";
import { useComposing } from "../lib/hooks.js";
import { isCode, plural } from "../lib/words.js";
import { CHOICES, ChoiceMark } from "./shapes.js";

// Mounted anew for every opening (`key`), so that nothing of the last one stays.
export function AnswerPad({ session, question }) {
  const opening = question.opening_no;
  const state = session.answerState(opening);
  const answered = session.answerOf(opening);
  const isOpen = state === "open";
  const [draft, setDraft] = useDraft(session, question, isOpen);
  const given = { session, question, isOpen, answered, draft, setDraft };
  return html`<div class="answer-pad">
    ${question.kind === "typed" ? html`<${TypedAnswer} ...${given} />` : html`<${ChoiceAnswer} ...${given} />`}
    <${Fate} state=${state} isDraft=${!isEmptyAnswer(draft)} isSentAtEnd=${session.sentAtEnd.has(opening)} receipt=${session.state.receipts[opening]} error=${session.state.refusals[opening]} />
  </div>`;
}

function ChoiceAnswer({ session, question, isOpen, answered, draft, setDraft }) {
  const picked = draft.choices ?? [];
  const isMultiple = question.kind === "multiple";
  const opening = question.opening_no;
  const chosen = answered?.choices ?? picked;
  const press = (index) => {
    if (!isOpen) return;
    if (!isMultiple) {
      session.answer(opening, { choices: [index] });
      return;
    }
    const others = picked.filter((other) => other !== index);
    setDraft({ choices: others.length < picked.length ? others : [...picked, index].sort() });
  };
  const send = () => session.answer(opening, draft);
  const pads = useRef(null);
  return html`
    <div ref=${pads} class="pads count-${question.choices.length} ${isCode(question.choices) ? "code" : ""} ${isOpen ? "" : "settled"}" role="group" aria-label="Answers">
      ${question.choices.map((text, index) => {
        const isChosen = chosen.includes(index);
        return html`<button key=${index} type="button" class="pad c${index} ${isChosen ? "chosen" : ""}"
          aria-pressed=${isMultiple || !isOpen ? isChosen : undefined} aria-disabled=${!isOpen} onClick=${() => press(index)}>
          <${ChoiceMark} index=${index} />
          <span class="choice-text" dir="auto">${text}</span>
          ${isMultiple && isOpen
            ? html`<span class="box" aria-hidden="true">${isChosen && "✓"}</span>`
            : isChosen && html`<span class="tick" aria-hidden="true">✓</span>`}
        </button>`;
      })}
    </div>
    ${isOpen && html`<${MoreBelow} pads=${pads} />`}
    ${isMultiple && isOpen && html`<button class="button primary wide send" aria-disabled=${picked.length === 0}
      onClick=${() => picked.length && send()}>
      ${picked.length ? `Send ${picked.map((index) => CHOICES[index].letter).sort().join(", ")}` : "Choose all that are correct"}
    </button>`}`;
}

// Says that there are more answers than the screen shows, until the last one has been seen.
function MoreBelow({ pads }) {
  const [isHidden, setHidden] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver(([{ isIntersecting, boundingClientRect }]) => {
      setHidden(!isIntersecting && boundingClientRect.top > 0);
    });
    observer.observe(pads.current.lastElementChild);
    return () => observer.disconnect();
  }, []);
  const show = () => pads.current.lastElementChild.scrollIntoView({ block: "nearest" });
  return isHidden && html`<button type="button" class="button small more-below" onClick=${show}>More answers ↓</button>`;
}

function TypedAnswer({ session, question, isOpen, answered, draft, setDraft }) {
  const { text = "" } = draft;
  const composing = useComposing();
  const field = useRef(null);
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  const submit = (event) => {
    event.preventDefault();
    if (composing.isOn()) return;
    if (text.trim()) session.answer(question.opening_no, { text });
  };
  if (!isOpen) return html`<p class="typed-answer" dir="auto">${answered?.text}</p>`;
  return html`<form class="typed-form" onSubmit=${submit}>
    <label for="typed">Your answer</label>
    <input id="typed" class="text-input" dir="auto" autocomplete="off" autocapitalize="off" spellcheck=${false} ref=${field}
      ...${composing.keys}
      maxlength=${TYPED_CHARS_MAX} value=${text} onInput=${(event) => setDraft({ text: event.target.value })} />
    <button class="button primary wide" type="submit" aria-disabled=${!text.trim()}>Send</button>
  </form>`;
}

// Said only once it is true: "received" stands for a receipt. In self-paced play the receipt says
// what the answer was worth as well.
function Fate({ state, isDraft, isSentAtEnd, receipt, error }) {
  if (receipt?.correct !== undefined) {
    const text = receipt.correct ? `Correct! +${plural(receipt.points ?? 0, "point")}` : "Not this time";
    return html`<p class="fate ${receipt.correct ? "received" : "refused"} feedback" role="status">
      <span class="fate-mark" aria-hidden="true">${receipt.correct ? "✓" : "✕"}</span> ${text}
    </p>`;
  }
  const words = {
    open: isDraft && "Not sent yet",
    sending: html`<span class="spinner" aria-hidden="true"></span> Sending…`,
    received: html`<span class="fate-mark" aria-hidden="true">✓</span> ${isSentAtEnd ? "Time was up: your answer was sent as it stood" : "Answer received"}`,
    refused: html`<span class="fate-mark" aria-hidden="true">!</span> ${error && textOf(error)}`,
  };
  return html`<p class="fate ${state} ${state === "open" && isDraft ? "unsent" : ""}" role="status"><span key="${state}:${isDraft}" class="fate-words">${words[state]}</span></p>`;
}

function textOf(error) {
  return ERROR_TEXTS[error.code] ?? error.detail;
}
