// A question on a shared screen: alone, open with its choices, closed with the distribution.

import { html } from "../../vendor/preact-htm.js";
import { useFit } from "../lib/hooks.js";
import { isCode, plural } from "../lib/words.js";
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
  return html`<section class="stage-question ${phase}" ref=${fit}>
    <div class="stage-head">
      <div class="paper">
        <p class="eyebrow">${questionNote(view, question)}</p>
        <h1 class="question-text ${isCode([question.text]) ? "code" : ""}" dir="auto">${question.text}</h1>
        ${phase === "preview" && html`<${OpensIn} clock=${clock} question=${question} />`}
      </div>
      ${isOpen && html`<${Ring} clock=${clock} question=${question} />`}
    </div>
    ${question.choices.length > 0 && html`<${Choices} question=${question} reveal=${reveal} />`}
    ${question.kind === "typed" && reveal && html`<${TypedReveal} reveal=${reveal} />`}
    ${question.kind === "typed" && isOpen && html`<p class="typed-hint">Type your answer on your device</p>`}
    ${reveal?.explanation && html`<p class="explanation" dir="auto">${reveal.explanation}</p>`}
  </section>`;
}

function Choices({ question, reveal }) {
  const most = Math.max(1, ...(reveal?.distribution ?? []));
  return html`<ul class="choices count-${question.choices.length} ${isCode(question.choices) ? "code" : ""}">
    ${question.choices.map((text, index) => {
      const isRight = reveal?.correct.includes(index);
      const count = reveal?.distribution[index] ?? 0;
      const mark = reveal ? (isRight ? "is-right" : "is-wrong") : "";
      return html`<li key=${index} class="choice c${index} ${mark}">
        ${reveal && html`<${Meter} share=${count / most} />`}
        <${ChoiceMark} index=${index} />
        <span class="choice-text" dir="auto">${text}</span>
        ${reveal && html`<span class="tally">
          ${isRight && html`<span class="right-badge">✓<span> correct</span></span>`}
          <b aria-label=${plural(count, "answer")}>${count}</b>
        </span>`}
      </li>`;
    })}
  </ul>`;
}

function Meter({ share }) {
  return html`<span class="meter"><span class="fill" style=${{ "--share": share }}></span></span>`;
}

function TypedReveal({ reveal }) {
  const [right, wrong] = reveal.distribution;
  const most = Math.max(1, right, wrong);
  const bar = (name, text, count) => html`<li class="typed-row ${name}">
    <${Meter} share=${count / most} />
    <span class="choice-text">${text}</span><b>${count}</b>
  </li>`;
  return html`<div class="typed-reveal">
    <p class="accepted"><span class="right-badge">✓<span> correct</span></span>
      ${reveal.accepted.map((text) => html`<span class="accepted-text" dir="auto">${text}</span>`)}</p>
    <ul>${bar("is-right", "Correct answers", right)}${bar("is-wrong", "Other answers", wrong)}</ul>
  </div>`;
}
