// What a question brought, and where one stands: the phone between two questions and at the end.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { isEmptyAnswer } from "../lib/draft.js";
import { ERROR_TEXTS } from "../lib/facts.js";
import { announce } from "../lib/hooks.js";
import { revealMs } from "../lib/reveal.js";
import { isCode, number, ordinal, plural } from "../lib/words.js";
import { OwnCode } from "./comeback.js";
import { rightAnswers } from "./question.js";
import { OwnReview } from "./review.js";
import { CHOICES } from "./shapes.js";

const PODIUM_WORDS = { 1: "You won!", 2: "Second place!", 3: "Third place!" };

function verdictOf(result, refusal, isUnsent) {
  if (result.correct) return { name: "right", mark: "✓", text: "Correct!" };
  if (result.answered) return { name: "wrong", mark: "✕", text: "Not this time" };
  if (refusal) return { name: "missed", mark: "!", text: "Not counted" };
  return { name: "missed", mark: "–", text: isUnsent ? "Not sent" : "No answer" };
}

// `draft` is what was ticked or typed; `isSentAtEnd` says that the page sent it when time was up.
export function ResultCard({ view, result, refusal, draft, isSentAtEnd, heading, code }) {
  const isUnsent = draft && !result.answered && !isSentAtEnd && !isEmptyAnswer(draft);
  const verdict = verdictOf(result, refusal, isUnsent);
  const gained = result.gained ? `+${number(result.gained)}` : "";
  useEffect(() => {
    const won = gained && `${gained} points. `;
    announce(`${verdict.text} ${won}You are ${ordinal(result.rank)} with ${plural(result.points, "point")}.`);
  }, [result.opening_no]);
  return html`<section class="result ${verdict.name}">
    <span class="verdict-mark" aria-hidden="true">${verdict.mark}</span>
    <h1 ref=${heading} tabindex="-1">${verdict.text}</h1>
    ${gained && html`<p class="result-gained">${gained}</p>`}
    ${refusal && !result.answered && html`<p class="result-note">${ERROR_TEXTS[refusal.code] ?? refusal.detail}</p>`}
    ${isUnsent && html`<p class="result-note">The question was closed before you sent your answer: <strong dir="auto">${saidOf(draft)}</strong></p>`}
    ${isSentAtEnd && result.answered && html`<p class="result-note">Sent as it stood when time was up.</p>`}
    ${!result.correct && view.reveal && html`<${RightAnswer} view=${view} />`}
    ${result.streak > 1 && html`<p class="streak">${result.streak} correct in a row</p>`}
    <${Standing} rank=${result.rank} points=${result.points} count=${view.participants_count} ahead=${result.ahead} />
    ${view.reveal?.explanation && html`<p class="explanation" dir="auto">${view.reveal.explanation}</p>`}
    <${OwnCode} code=${code} />
  </section>`;
}

function saidOf({ choices = [], text = "" }) {
  return text || choices.map((index) => CHOICES[index].letter).join(", ");
}

export function RightAnswer({ view }) {
  const kind = isCode(view.question.choices) ? "choice-text code" : "choice-text";
  return html`<p class="result-note">The correct answer: ${rightAnswers(view).map((text) => html`<strong class=${kind} dir="auto">${text}</strong> `)}</p>`;
}

export function Standing({ rank, points, count, ahead }) {
  return html`<dl class="standing">
      <div><dt>Place</dt><dd>${ordinal(rank)} <small>of ${number(count)}</small></dd></div>
      <div><dt>Points</dt><dd>${number(points)}</dd></div>
    </dl>
    ${ahead && html`<p class="ahead">${plural(ahead[1], "point")} behind <bdi>${ahead[0]}</bdi></p>`}`;
}

// The end as the room sees it: a phone tells nobody's place before the big screen does. `isWatched`
// says whether this page has seen the quiz end; one that comes later has nothing to wait for.
export function Finale({ claims, view, you, heading, isWatched }) {
  const [isTold, setTold] = useState(!isWatched);
  useEffect(() => {
    const timer = setTimeout(() => setTold(true), isWatched ? revealMs(view.scoreboard) : 0);
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (isWatched && isTold) heading.current?.focus({ preventScroll: true });
  }, [isTold]);
  if (isTold) return html`<${FinalPlace} claims=${claims} view=${view} you=${you} heading=${heading} />`;
  return html`<section class="waiting"><h1 ref=${heading} tabindex="-1">And the winner is…</h1>
    <p>Look at the big screen.</p></section>`;
}

function FinalPlace({ claims, view, you, heading }) {
  const row = view.scoreboard.find((other) => other.participant_id === you.participant_id);
  const rank = row?.rank ?? you.rank;
  const points = row?.points ?? you.points ?? 0;
  const onPodium = rank <= 3 && points > 0;
  const words = onPodium ? PODIUM_WORDS[rank] : "Well played!";
  useEffect(() => {
    announce(`The quiz is over. You are ${ordinal(rank)} with ${plural(points, "point")}.`);
  }, [rank, points]);
  return html`<section class="result final ${onPodium ? "on-podium" : ""}">
    <span class="verdict-mark" aria-hidden="true">${points > 0 ? rank : "★"}</span>
    <h1 ref=${heading} tabindex="-1">${words}</h1>
    <p class="result-note"><bdi>${you.nickname}</bdi></p>
    <${Standing} rank=${rank} points=${points} count=${view.participants_count} />
    <${OwnReview} claims=${claims} />
    <p><a class="button" href="/">Join another quiz</a></p>
  </section>`;
}
