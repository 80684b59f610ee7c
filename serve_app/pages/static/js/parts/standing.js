// What a question brought, and where one stands: the phone between two questions and at the end.

import { html, useEffect } from "../../vendor/preact-htm.js";
import { ERROR_TEXTS } from "../lib/facts.js";
import { announce } from "../lib/hooks.js";
import { number, ordinal, plural } from "../lib/words.js";
import { rightAnswers } from "./question.js";

function verdictOf(result, refusal) {
  if (result.correct) return { name: "right", mark: "✓", text: "Right!" };
  if (result.answered) return { name: "wrong", mark: "✕", text: "Not this time" };
  if (refusal) return { name: "missed", mark: "!", text: "Not counted" };
  return { name: "missed", mark: "–", text: "No answer" };
}

export function ResultCard({ view, result, refusal, heading }) {
  const verdict = verdictOf(result, refusal);
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
    ${!result.correct && view.reveal && html`<${RightAnswer} view=${view} />`}
    ${result.streak > 1 && html`<p class="streak">${result.streak} right in a row</p>`}
    <${Standing} rank=${result.rank} points=${result.points} count=${view.participants_count} ahead=${result.ahead} />
    ${view.reveal?.explanation && html`<p class="explanation" dir="auto">${view.reveal.explanation}</p>`}
  </section>`;
}

function RightAnswer({ view }) {
  return html`<p class="result-note">The right answer: ${rightAnswers(view).map((text) => html`<strong dir="auto">${text}</strong> `)}</p>`;
}

export function Standing({ rank, points, count, ahead }) {
  return html`<dl class="standing">
      <div><dt>Place</dt><dd>${ordinal(rank)} <small>of ${number(count)}</small></dd></div>
      <div><dt>Points</dt><dd>${number(points)}</dd></div>
    </dl>
    ${ahead && html`<p class="ahead">${plural(ahead[1], "point")} behind <bdi>${ahead[0]}</bdi></p>`}`;
}

export function FinalPlace({ view, you, heading }) {
  const row = view.scoreboard.find((other) => other.participant_id === you.participant_id);
  const rank = row?.rank ?? you.rank;
  const points = row?.points ?? you.points ?? 0;
  const words = { 1: points > 0 ? "You won!" : "Well played!", 2: "Second place!", 3: "Third place!" };
  useEffect(() => {
    announce(`The quiz is over. You are ${ordinal(rank)} with ${plural(points, "point")}.`);
  }, [rank, points]);
  return html`<section class="result final ${rank <= 3 ? "on-podium" : ""}">
    <span class="verdict-mark" aria-hidden="true">${rank}</span>
    <h1 ref=${heading} tabindex="-1">${words[rank] ?? "Well played!"}</h1>
    <p class="result-note"><bdi>${you.nickname}</bdi></p>
    <${Standing} rank=${rank} points=${points} count=${view.participants_count} />
    <p><a class="button" href="/">Join another quiz</a></p>
  </section>`;
}
