// Everybody at their own pace: a question, its answer, at once what it was worth, the next one.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { announce, useFocusOn, useTopOn } from "../lib/hooks.js";
import { keepForReview } from "../lib/review.js";
import { plural } from "../lib/words.js";
import { AnswerPad } from "./answer.js";
import { Deadline } from "./countdown.js";
import { OwnCode } from "./comeback.js";
import { questionNote, QuestionText } from "./question.js";
import { RightAnswer } from "./standing.js";

export function SelfPaced({ session, state }) {
  const { view, you, question, receipts } = state;
  const next = you.next_opening ?? 0;
  // The opening on the screen; it stays after its receipt until the person goes on.
  const [opening, setOpening] = useState(next);
  const heading = useFocusOn(`${opening}:${question?.opening_no}`);
  useTopOn(opening);
  const isThere = question?.opening_no === opening;
  useEffect(() => {
    if (opening && !isThere) session.ask(opening);
  }, [opening]);
  useEffect(() => {
    if (isThere) announce(question.text);
  }, [isThere, opening]);

  const key = isThere && receipts[opening]?.reveal;
  useEffect(() => {
    if (!key) return;
    const { correct, points = 0 } = receipts[opening];
    keepForReview(session.claims, { question, key, answer: receipts[opening], correct, points });
  }, [key, opening]);

  if (!opening) {
    return html`<section class="waiting">
      <h1 ref=${heading} tabindex="-1">All done!</h1>
      <p>You have answered every question and stand at <strong>${plural(you.points ?? 0, "point")}</strong>.</p>
      <${OwnCode} code=${state.code} />
      <p class="quiet">The final places come when the host ends the quiz.</p>
    </section>`;
  }
  if (!isThere) return html`<section class="waiting" aria-busy="true"><span class="spinner large"></span></section>`;
  const receipt = receipts[opening];
  const isSettled = receipt || session.answerState(opening) === "refused";
  return html`<section key=${opening} class="answering">
    <${Deadline} clock=${session.clock} view=${view} />
    <p class="eyebrow">${questionNote(view, question)}</p>
    <${QuestionText} text=${question.text} heading=${heading} />
    <${AnswerPad} key=${opening} session=${session} question=${question} />
    ${receipt?.reveal && html`<${Review} question=${question} receipt=${receipt} />`}
    ${isSettled && html`<button class="button primary wide go-on" onClick=${() => setOpening(receipt ? next : after(view, opening))}>
      ${opening < view.question_count ? "Next question" : "Finish"}
    </button>`}
  </section>`;
}

// What was right, and why.
function Review({ question, receipt }) {
  const { reveal } = receipt;
  return html`<div class="review">
    ${!receipt.correct && html`<${RightAnswer} view=${{ question, reveal }} />`}
    ${reveal.explanation && html`<p class="explanation" dir="auto">${reveal.explanation}</p>`}
  </div>`;
}

function after(view, opening) {
  return opening < view.question_count ? opening + 1 : 0;
}
