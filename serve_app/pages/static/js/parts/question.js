// A question on a shared screen: alone, open with its choices, closed with the distribution.

import { html } from "../../vendor/preact-htm.js";
import { useFit } from "../lib/hooks.js";
import { isCode, percent, plural } from "../lib/words.js";
import { OpensIn, Ring } from "./countdown.js";
import { CHOICES, ChoiceMark } from "./shapes.js";

const POINTS = { normal: "", double: "double points", none: "no points" };
const HINTS = { multiple: "choose all that are correct", typed: "type the answer", true_false: "true or false" };

export function questionNote(view, question) {
  const number = `Question ${question.question_index + 1} of ${view.question_count}`;
  return [number, HINTS[question.kind], POINTS[question.points]].filter(Boolean).join(" · ");
}

// What a closed question wanted to hear: every right choice, or one spelling of the right text.
export function rightAnswers({ question, reveal }) {
  if (question.kind === "typed") return reveal.accepted.slice(0, 1);
  return reveal.correct.map((index) => `${CHOICES[index].letter}: ${question.choices[index]}`);
}

// Longer texts get smaller letters on a phone.
const LONG_CHARS = 140;

// The question on a participant's own screen.
export function QuestionText({ text, heading }) {
  return html`<h1 class="play-question ${text.length > LONG_CHARS ? "long" : ""} ${isCode([text]) ? "code" : ""}" dir="auto" ref=${heading} tabindex="-1">${text}</h1>`;
}

export function QuestionStage({ view, clock }) {
  const { question, reveal, phase } = view;
  const fit = useFit([question.opening_no, phase, question.choices.length]);
  const isOpen = phase === "question_open";
  return html`<section key=${question.opening_no} class="stage-question ${phase}" ref=${fit}>
    <div class="stage-head">
      <div class="paper">
        <p class="eyebrow">${questionNote(view, question)}</p>
        <h1 class="question-text ${isCode([question.text]) ? "code" : ""}" dir="auto">${question.text}</h1>
        ${phase === "preview" && html`<${OpensIn} clock=${clock} question=${question} />`}
      </div>
      ${isOpen && html`<${Ring} clock=${clock} question=${question} />`}
    </div>
    ${question.choices.length > 0 && html`<${Choices} question=${question} reveal=${reveal} answers=${view.answers_count} />`}
    ${question.kind === "typed" && reveal && html`<${TypedReveal} reveal=${reveal} />`}
    ${question.kind === "typed" && isOpen && html`<p class="typed-hint">Type your answer on your device</p>`}
    ${reveal?.explanation && html`<p class="explanation" dir="auto">${reveal.explanation}</p>`}
  </section>`;
}

function Choices({ question, reveal, answers }) {
  return html`<ul class="choices count-${question.choices.length} ${isCode(question.choices) ? "code" : ""}">
    ${question.choices.map((text, index) => {
      const isRight = reveal?.correct.includes(index);
      const mark = reveal ? (isRight ? "is-right" : "is-wrong") : "";
      return html`<li key=${index} class="choice c${index} ${mark}">
        <${ChoiceMark} index=${index} />
        <span class="choice-body">
          <span class="choice-text" dir="auto">${text}</span>
          ${reveal && html`<${Meter} count=${reveal.distribution[index] ?? 0} of=${answers} />`}
        </span>
        ${isRight && html`<${RightBadge} />`}
        ${reveal && html`<${Tally} count=${reveal.distribution[index] ?? 0} of=${answers} />`}
      </li>`;
    })}
  </ul>`;
}

function RightBadge() {
  return html`<span class="right-badge">✓<span> correct</span></span>`;
}

// Of everybody who answered; where several choices are right the shares may come to more than a whole.
function Meter({ count, of }) {
  return html`<span class="meter"><span class="fill" style=${{ "--share": of ? Math.min(1, count / of) : 0 }}></span></span>`;
}

function Tally({ count, of }) {
  return html`<span class="tally"><b>${percent(count, of)}</b> <small>${plural(count, "answer")}</small></span>`;
}

function TypedReveal({ reveal }) {
  const [right, wrong] = reveal.distribution;
  const [first, ...others] = reveal.accepted;
  const bar = (name, text, count) => html`<li class="typed-row ${name}">
    <span class="choice-body"><span class="choice-text">${text}</span><${Meter} count=${count} of=${right + wrong} /></span>
    <${Tally} count=${count} of=${right + wrong} />
  </li>`;
  return html`<div class="typed-reveal">
    <div class="accepted"><${RightBadge} />
      <p><span class="accepted-text" dir="auto">${first}</span>
        ${others.length > 0 && html`<span class="accepted-others">also ${others.map((text, index) => html`${index > 0 && ", "}<bdi>${text}</bdi>`)}</span>`}</p></div>
    <ul>${bar("is-right", "Correct", right)}${bar("is-wrong", "Other answers", wrong)}</ul>
  </div>`;
}
