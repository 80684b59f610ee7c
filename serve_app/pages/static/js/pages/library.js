// The operator's quizzes: list, import, start, delete.

import { html, render, useEffect, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";
import { signOut, tokenOfPage } from "../lib/keys.js";
import { playQuiz } from "../lib/sessions.js";
import { plural } from "../lib/words.js";
import { Brand } from "../parts/brand.js";
import { Confirm } from "../parts/dialog.js";
import { Importer } from "../parts/importer.js";
import { Past, Running, useSessions } from "../parts/running.js";
import { StartDialog } from "../parts/settings.js";
import { ThemeSwitch } from "../parts/switches.js";

function Library({ token }) {
  const [quizzes, setQuizzes] = useState(null);
  const [following, setFollowing] = useState(null);
  const [problem, setProblem] = useState("");
  const [starting, setStarting] = useState(null);
  const [deleting, setDeleting] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const sessions = useSessions(token);

  const attempt = async (work) => {
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(error.message);
    }
  };
  const load = (cursor) =>
    attempt(async () => {
      const page = await call("GET", `/quizzes${cursor ? `?${new URLSearchParams({ cursor })}` : ""}`, { token });
      setQuizzes((known) => (cursor ? [...known, ...page.items] : page.items));
      setFollowing(page.next);
    });
  useEffect(() => void load(), []);

  const start = async (settings) => {
    if (isBusy) return;
    setBusy(true);
    await attempt(() => playQuiz(token, starting.quiz_id, settings));
    setBusy(false);
  };
  const remove = (quiz) =>
    attempt(async () => {
      await call("DELETE", `/quizzes/${quiz.quiz_id}`, { token });
      await load();
    });

  return html`<header class="host-head"><${Brand} /><span class="host-title">Quiz library</span>
      <button class="button small quiet-button" onClick=${signOut}>Sign out</button>
      <${ThemeSwitch} /></header>
    <main class="library">
      <div class="library-main">
      <${Running} token=${token} sessions=${sessions} />
      <section class="quizzes">
        <h1>Quizzes</h1>
        ${!starting && html`<p class="field-error" role="alert">${problem}</p>`}
        ${quizzes === null && !problem && html`<p role="status">Loading…</p>`}
        ${quizzes?.length === 0 && html`<p class="quiet">None yet. Import the first one.</p>`}
        <ul>${quizzes?.map((quiz) => html`<li key=${quiz.quiz_id} class="quiz-row">
          <div><h2 dir="auto">${quiz.title}</h2>
            <p class="quiet">${plural(quiz.question_count, "question")} · ${new Date(quiz.created_at).toLocaleDateString()}</p></div>
          <button class="button quiet-button" aria-label="Delete ${quiz.title}" onClick=${() => setDeleting(quiz)}>Delete</button>
          <button class="button primary" aria-label="Play ${quiz.title}" onClick=${() => setStarting(quiz)}>Play</button>
        </li>`)}</ul>
        ${following && html`<button class="button" onClick=${() => load(following)}>Show more</button>`}
      </section>
      <${Past} token=${token} sessions=${sessions} />
      </div>
      <aside class="library-side"><${Importer} token=${token} onImported=${() => load()} /></aside>
    </main>
    ${starting && html`<${StartDialog} quiz=${starting} problem=${problem} isBusy=${isBusy} onStart=${start} onClose=${() => setStarting(null)} />`}
    ${deleting && html`<${Confirm} title="Delete ${deleting.title}?" text="Sessions that are open keep their copy."
      actions=${[{ label: "Delete", kind: "danger", run: () => remove(deleting) }, { label: "Keep" }]}
      onClose=${() => setDeleting(null)} />`}`;
}

const token = tokenOfPage();
render(
  token
    ? html`<${Library} token=${token} />`
    : html`<main class="center-page"><h1>This page needs the operator’s link</h1>
        <p>It was printed when the server started, and ends in <code>#token=…</code></p></main>`,
  document.getElementById("app"),
);
