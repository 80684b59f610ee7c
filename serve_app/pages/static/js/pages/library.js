// The operator's quizzes: list, import, start, delete.

import { html, render, useEffect, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";
import { signOut, tokenOfPage } from "../lib/keys.js";
import { playQuiz } from "../lib/sessions.js";
import { plural } from "../lib/words.js";
import { Brand } from "../parts/brand.js";
import { Cover } from "../parts/cover.js";
import { Confirm } from "../parts/dialog.js";
import { ImportDialog } from "../parts/importer.js";
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
  const [isImporting, setImporting] = useState(false);
  const [search, setSearch] = useState("");
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

  // A search looks through all of them, so those that are not here yet are fetched first.
  const look = async (text) => {
    setSearch(text);
    if (!text || !following) return;
    await attempt(async () => {
      const rest = [];
      for (let cursor = following; cursor; ) {
        const page = await call("GET", `/quizzes?${new URLSearchParams({ cursor })}`, { token });
        rest.push(...page.items);
        cursor = page.next;
      }
      setQuizzes((known) => [...known, ...rest.filter((quiz) => !known.some((other) => other.quiz_id === quiz.quiz_id))]);
      setFollowing(null);
    });
  };
  const wanted = search.trim().toLowerCase();
  const found = quizzes?.filter((quiz) => quiz.title.toLowerCase().includes(wanted));

  return html`<header class="host-head"><${Brand} /><span class="host-title">Quiz library</span>
      <button class="button small quiet-button" onClick=${signOut}>Sign out</button>
      <${ThemeSwitch} /></header>
    <main class="library">
      <${Running} token=${token} sessions=${sessions} />
      <section class="quizzes">
        <div class="quizzes-head">
          <h1>Quizzes</h1>
          <input class="text-input" type="search" aria-label="Search quizzes" placeholder="Search" value=${search} onInput=${(event) => look(event.target.value)} />
          <button class="button primary" onClick=${() => setImporting(true)}>Import a quiz</button>
        </div>
        ${!starting && html`<p class="field-error" role="alert">${problem}</p>`}
        ${quizzes === null && !problem && html`<p role="status">Loading…</p>`}
        ${quizzes?.length === 0 && html`<p class="nothing-yet">No quizzes yet. Import the first one.</p>`}
        ${found?.length === 0 && quizzes.length > 0 && html`<p class="nothing-yet" role="status">No quiz is called that.</p>`}
        <ul class="cards">${found?.map((quiz) => html`<li key=${quiz.quiz_id} class="card">
          <${Cover} title=${quiz.title} />
          <div class="card-text"><h2 dir="auto">${quiz.title}</h2>
            <p class="quiet">${plural(quiz.question_count, "question")} · ${new Date(quiz.created_at).toLocaleDateString([], { dateStyle: "medium" })}</p></div>
          <div class="card-actions">
            <button class="button primary" aria-label="Play ${quiz.title}" onClick=${() => setStarting(quiz)}>Play</button>
            <button class="button quiet-button" aria-label="Delete ${quiz.title}" onClick=${() => setDeleting(quiz)}>Delete</button>
          </div>
        </li>`)}</ul>
        ${following && html`<button class="button" onClick=${() => load(following)}>Show more</button>`}
      </section>
      <${Past} token=${token} sessions=${sessions} />
    </main>
    ${isImporting && html`<${ImportDialog} token=${token} onImported=${() => load()} onClose=${() => setImporting(false)} />`}
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
