// What one has answered in a quiz, kept by the tab so that it can be looked through at the end.

import { rightAnswers } from "../parts/question.js";
import { CHOICES } from "../parts/shapes.js";

// The newest questions of very long quizzes.
const KEPT_MAX = 200;

function keyOf({ sid, pid }) {
  return `rayquiz.review.${sid}.${pid}`;
}

// Questions in the order in which they were asked: [{opening, text, said, right, correct, points}].
export function reviewOf(claims) {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf(claims))) ?? [];
  } catch {
    return []; // blocked: there is nothing to look through
  }
}

// `answer` is what was given, if anything was; `key` is a `reveal`. A question is kept once.
export function keepForReview(claims, { question, key, answer, correct, points }) {
  const opening = question.opening_no;
  const kept = reviewOf(claims).filter((entry) => entry.opening !== opening);
  const said = answer && (answer.text || (answer.choices ?? []).map((index) => `${CHOICES[index].letter}: ${question.choices[index]}`).join(", "));
  const right = rightAnswers({ question, reveal: key }).join(", ");
  const entry = { opening, text: question.text, said: said ?? "", right, correct, points };
  const all = [...kept, entry].sort((a, b) => a.opening - b.opening);
  try {
    sessionStorage.setItem(keyOf(claims), JSON.stringify(all.slice(-KEPT_MAX)));
  } catch {
    // Blocked or full.
  }
}
