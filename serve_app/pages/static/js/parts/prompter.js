// What only the host sees: the right answer before the room does, who has not answered, what comes next.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { call, callUntilAnswered } from "../lib/api.js";
import { load, save } from "../lib/storage.js";
import { plural } from "../lib/words.js";
import { rightAnswers } from "./question.js";

const IS_OPEN = "rayquiz.prompter";
const NAMES_SHOWN = 12;
// Answers come in crowds; who is missing is looked up when they have settled for so long.
const LOOK_MS = 1200;

export function Prompter({ session, view }) {
  const [isOpen, setOpen] = useState(() => load(IS_OPEN) === true);
  const quiz = useQuiz(session, isOpen);
  const { question } = view;
  const toggled = (event) => {
    setOpen(event.target.open);
    save(IS_OPEN, event.target.open);
  };
  const own = quiz?.questions[question.question_index];
  const next = quiz?.questions[question.question_index + 1];
  const isAsked = view.phase === "preview" || view.phase === "question_open";
  return html`<details class="prompter" open=${isOpen} onToggle=${toggled}>
    <summary>Only you see this</summary>
    ${isOpen && html`<dl>
      ${isAsked && own && html`<div><dt>Correct answer</dt><dd>${keyOf(own).map((text) => html`<strong dir="auto">${text}</strong> `)}
        ${own.explanation && html`<p class="quiet" dir="auto">${own.explanation}</p>`}</dd></div>`}
      ${view.phase === "question_open" && html`<${Missing} session=${session} view=${view} />`}
      ${quiz && html`<div><dt>Next</dt><dd dir="auto">${next ? next.text : "The final result"}</dd></div>`}
    </dl>`}
  </details>`;
}

// The quiz's own fields are left out where they are empty.
function keyOf(question) {
  const { correct = [], accepted = [] } = question;
  return rightAnswers({ question: { choices: [], ...question }, reveal: { correct, accepted } });
}

function Missing({ session, view }) {
  const [found, setFound] = useState(null);
  const { sid } = session.claims;
  useEffect(() => {
    let isOver = false;
    const look = async () => {
      try {
        const query = new URLSearchParams({ only: "unanswered", limit: NAMES_SHOWN });
        const page = await call("GET", `/sessions/${sid}/roster?${query}`, { token: session.credentials.token });
        if (!isOver) setFound(page);
      } catch {
        // The count beside it is true all the same.
      }
    };
    const timer = setTimeout(look, LOOK_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [view.opening_no, view.answers_count, view.participants_count]);
  if (!found) return null;
  const hidden = found.matching - found.items.length;
  return html`<div><dt>Not answered yet</dt><dd class="missing">
    ${found.matching === 0 && "Everybody has answered"}
    ${found.items.map((person, index) => html`${index > 0 && ", "}<bdi key=${person.participant_id}>${person.nickname}</bdi>`)}
    ${hidden > 0 && ` and ${plural(hidden, "more", "more")}`}
  </dd></div>`;
}

// The quiz with its key, fetched when it is first looked at; null until then.
function useQuiz(session, isWanted) {
  const [quiz, setQuiz] = useState(null);
  useEffect(() => {
    if (!isWanted || quiz) return;
    const { token } = session.credentials;
    callUntilAnswered("GET", `/sessions/${session.claims.sid}/quiz`, { token }, () => {}).then(setQuiz, () => {});
  }, [isWanted]);
  return quiz;
}
