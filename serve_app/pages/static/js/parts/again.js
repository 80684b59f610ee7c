// The same quiz once more, for the same settings and whoever is there.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { lastSettings, pageOfSessions, playQuiz } from "../lib/sessions.js";

// `token` is the operator's.
export function PlayAgain({ token, sessionId }) {
  const [quizId, setQuizId] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const find = async () => {
      const { items } = await pageOfSessions(token);
      setQuizId(items.find((session) => session.session_id === sessionId)?.quiz_id ?? "");
    };
    find().catch(() => {}); // the library, which has a button of its own, says what is wrong
  }, []);
  const play = async () => {
    if (isBusy) return;
    setBusy(true);
    try {
      await playQuiz(token, quizId, lastSettings());
    } catch (error) {
      setProblem(error.code === "not_found" ? "This quiz is no longer in the library." : error.message);
      setBusy(false);
    }
  };
  if (!quizId) return null;
  return html`<button class="button" aria-busy=${isBusy} onClick=${play}>Play again</button>
    ${problem && html`<p class="field-error" role="alert">${problem}</p>`}`;
}
