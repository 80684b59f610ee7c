// What a finished session has brought: its questions, hardest first, and its people.

import { html, useState } from "../../vendor/preact-htm.js";
import { isCode, number, percent, plural } from "../lib/words.js";
import { CHOICES, ChoiceMark } from "./shapes.js";

const NAMES_SHOWN = 5;
// Different texts that were typed for one question; the rest is in the table.
const TEXTS_SHOWN = 12;

export function Questions({ results }) {
  const { openings } = results;
  const hardest = [...openings].sort((a, b) => a.correct / (a.answered || 1) - b.correct / (b.answered || 1));
  return html`<section class="results-questions">
    <h2>Questions <small class="quiet">hardest first</small></h2>
    ${hardest.length === 0 && html`<p class="quiet">No question was answered.</p>`}
    <ol>${hardest.map((opening) => html`<${QuestionResult} key=${opening.opening} results=${results} opening=${opening} />`)}</ol>
  </section>`;
}

function QuestionResult({ results, opening }) {
  const question = results.quiz.questions[opening.question_index];
  const answers = results.answers.filter((answer) => answer.opening === opening.opening);
  const meanMs = answers.reduce((sum, answer) => sum + answer.elapsed_ms, 0) / (answers.length || 1);
  return html`<li class="question-result">
    <p class="eyebrow">Question ${opening.question_index + 1}</p>
    <h3 class=${isCode([question.text]) && "code"} dir="auto">${question.text}</h3>
    <p class="quiet"><b class="result-share">${percent(opening.correct, opening.answered)} correct</b> · ${plural(opening.answered, "answer")} · ${(meanMs / 1000).toFixed(1)} s on average</p>
    ${question.kind === "typed"
      ? html`<${TypedAnswers} question=${question} answers=${answers} />`
      : html`<${ChoiceBars} question=${question} opening=${opening} />`}
  </li>`;
}

function ChoiceBars({ question, opening }) {
  return html`<ul class="bars ${isCode(question.choices) ? "code" : ""}">${question.choices.map((text, index) => {
    const count = opening.distribution[index] ?? 0;
    const isRight = question.correct.includes(index);
    return html`<li key=${index} class="bar c${index} ${isRight ? "is-right" : ""}">
      <span class="bar-mark"><${ChoiceMark} index=${index} /></span>
      <span class="bar-text" dir="auto">${text}${isRight && html` <strong class="right-badge">✓ correct</strong>`}</span>
      <${Meter} count=${count} of=${opening.answered} />
    </li>`;
  })}</ul>`;
}

function Meter({ count, of }) {
  return html`<span class="bar-track" aria-hidden="true"><span class="bar-fill" style=${{ width: of ? `${(100 * count) / of}%` : 0 }}></span></span>
    <span class="bar-count"><b>${number(count)}</b> ${percent(count, of)}</span>`;
}

function TypedAnswers({ question, answers }) {
  const counts = new Map();
  for (const { text, correct } of answers) {
    const known = counts.get(text) ?? { text, correct, count: 0 };
    counts.set(text, { ...known, count: known.count + 1 });
  }
  const texts = [...counts.values()].sort((a, b) => b.count - a.count);
  const hidden = texts.length - TEXTS_SHOWN;
  return html`<p>Accepted: ${question.accepted.map((text, index) => html`${index > 0 && ", "}<strong dir="auto">${text}</strong>`)}</p>
    <ul class="bars">${texts.slice(0, TEXTS_SHOWN).map(({ text, correct, count }) => html`<li key=${text} class="bar typed ${correct ? "is-right" : ""}">
      <span class="bar-mark">${correct ? "✓" : "✕"}<span class="unseen">${correct ? "correct" : "not correct"}</span></span>
      <span class="bar-text" dir="auto">${text}</span>
      <${Meter} count=${count} of=${answers.length} />
    </li>`)}</ul>
    ${hidden > 0 && html`<p class="quiet">and ${plural(hidden, "other answer")}</p>`}`;
}

export function People({ results }) {
  const [opened, setOpened] = useState(null);
  const given = new Map();
  for (const answer of results.answers) {
    const { participant_id: who } = answer;
    given.set(who, [...(given.get(who) ?? []), answer]);
  }
  const count = results.openings.length;
  return html`<section class="results-people">
    <h2>Players</h2>
    <div class="table-box" tabindex="0" role="region" aria-label="Players"><table>
      <thead><tr><th scope="col">Place</th><th scope="col">Name</th><th scope="col">Points</th><th scope="col">Correct</th><th scope="col">Answered</th><th scope="col">Time</th><td></td></tr></thead>
      <tbody>${results.scoreboard.map((row) => {
        const who = row.participant_id;
        const answers = given.get(who) ?? [];
        const isOpen = opened === who;
        return [
          html`<tr key=${who}>
            <td>${row.points > 0 ? row.rank : "–"}</td><th scope="row"><bdi>${row.nickname}</bdi></th><td>${number(row.points)}</td>
            <td>${row.correct} of ${count}</td><td>${row.answered} of ${count}</td>
            <td>${Math.round(answers.reduce((sum, answer) => sum + answer.elapsed_ms, 0) / 1000)} s</td>
            <td><button class="person-open" aria-expanded=${isOpen} aria-label="Answers of ${row.nickname}" onClick=${() => setOpened(isOpen ? null : who)}>${isOpen ? "▴" : "▾"}</button></td>
          </tr>`,
          isOpen && html`<tr key="${who} answers" class="person-answers"><td colspan="7"><${PersonAnswers} results=${results} answers=${answers} /></td></tr>`,
        ];
      })}</tbody>
    </table></div>
  </section>`;
}

// What one player has said to each question.
function PersonAnswers({ results, answers }) {
  return html`<ol>${results.openings.map((opening) => {
    const question = results.quiz.questions[opening.question_index];
    const answer = answers.find((other) => other.opening === opening.opening);
    const said = answer && (answer.text || answer.choices.map((index) => `${CHOICES[index].letter}: ${question.choices[index]}`).join(", "));
    return html`<li key=${opening.opening} class=${answer?.correct ? "is-right" : ""}>
      <p class="quiet" dir="auto">${opening.question_index + 1}. ${question.text}</p>
      ${answer
        ? html`<p><b>${answer.correct ? "✓" : "✕"}<span class="unseen">${answer.correct ? "correct" : "not correct"}</span></b> <span dir="auto">${said}</span>
          <span class="quiet"> · ${(answer.elapsed_ms / 1000).toFixed(1)} s · ${plural(answer.points, "point")}</span></p>`
        : html`<p class="quiet">No answer</p>`}
    </li>`;
  })}</ol>`;
}

// Answers that no human gave, and the choice to leave them out.
export function TooFast({ fast, leavesOut, onChange }) {
  const { items, elapsed_ms_below: belowMs } = fast;
  const count = items.reduce((sum, person) => sum + person.answers, 0);
  const hidden = items.length - NAMES_SHOWN;
  return html`<div class="too-fast">
    <p>${plural(count, "answer")} came faster than anybody can read the choices (under ${belowMs / 1000} s):${" "}
      ${items.slice(0, NAMES_SHOWN).map((person, index) => html`${index > 0 && ", "}<bdi>${person.nickname}</bdi> (${number(person.answers)})`)}
      ${hidden > 0 && `, and ${plural(hidden, "player")} more`}.</p>
    <label class="too-fast-choice">
      <input type="checkbox" checked=${leavesOut} onChange=${(event) => onChange(event.target.checked)} />
      <span>Leave these answers out</span>
    </label>
  </div>`;
}
