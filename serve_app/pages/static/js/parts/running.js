// The sessions: those that run now, with a way back for a host who has closed the page, and past ones.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";
import { openResults, openWithToken } from "../lib/keys.js";
import { groupPin } from "../lib/pins.js";
import { hostAgain, pageOfSessions } from "../lib/sessions.js";
import { Cover } from "./cover.js";
import { Confirm } from "./dialog.js";

// What the operator's sessions are, and how to get more: {running, past, problem, attempt, more}.
export function useSessions(token) {
  const [found, setFound] = useState({ items: [], next: null });
  const [problem, setProblem] = useState("");
  const attempt = async (work) => {
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(error.message);
    }
  };
  useEffect(() => {
    const look = () => document.hidden || attempt(async () => setFound(await pageOfSessions(token)));
    look();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  const more = () =>
    attempt(async () => {
      const { items, next } = await pageOfSessions(token, found.next);
      setFound({ items: [...found.items, ...items], next });
    });
  return {
    running: found.items.filter(isRunning),
    past: found.items.filter((session) => !isRunning(session)),
    problem,
    attempt,
    more: found.next && more,
  };
}

function isRunning(session) {
  return session.finished_at === null && session.ended_at === null;
}

export function Running({ token, sessions }) {
  const { running, problem, attempt } = sessions;
  const [ending, setEnding] = useState(null);
  const host = ({ session_id: id }) => attempt(() => hostAgain(token, id));
  const endLinks = ({ session_id: id }) =>
    attempt(async () => {
      const json = { roles: ["host"] };
      const made = await call("POST", `/sessions/${id}/revocations`, { token, json });
      openWithToken("/host", made.host_token);
    });
  if (!running.length && !problem) return null;
  return html`<section class="running">
    <h2>Running now</h2>
    <p class="field-error" role="alert">${problem}</p>
    <ul>${running.map((session) => html`<li key=${session.session_id} class="running-row">
      <div><h3 dir="auto">${session.title}</h3><p class="quiet">PIN ${groupPin(session.pin)}</p></div>
      <button class="button small primary" aria-label="Host ${session.title}, PIN ${session.pin}" onClick=${() => host(session)}>Host</button>
      <a class="button small" href="/board?pin=${session.pin}" target="_blank" rel="noopener">Big screen</a>
      <button class="button small quiet-button" aria-label="End old host links of ${session.title}, PIN ${session.pin}" onClick=${() => setEnding(session)}>End old links</button>
    </li>`)}</ul>
    ${ending && html`<${Confirm} title="End all host links of ${ending.title}?"
      text="Whoever has one is out at once. You host it from here on; the players notice nothing."
      actions=${[{ label: "End them", kind: "danger", run: () => endLinks(ending) }, { label: "Keep" }]}
      onClose=${() => setEnding(null)} />`}
  </section>`;
}

export function Past({ token, sessions }) {
  const { past, more } = sessions;
  if (!past.length) return null;
  return html`<section class="past">
    <h2>Recent sessions</h2>
    <ul>${past.map((session) => html`<li key=${session.session_id} class="quiz-row">
      <${Cover} title=${session.title} />
      <div><h3 dir="auto">${session.title}</h3><p class="quiet">${dayOf(session)}</p></div>
      <button class="button small" aria-label="Results of ${session.title}, ${dayOf(session)}" onClick=${() => openResults(session.session_id, token)}>Results</button>
    </li>`)}</ul>
    ${more && html`<button class="button" onClick=${more}>Show more</button>`}
  </section>`;
}

function dayOf({ created_at: createdAt }) {
  return new Date(createdAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
