// The quizzes that run now, with a way back for a host who has lost the link.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";
import { openWithToken } from "../lib/keys.js";
import { Confirm } from "./dialog.js";

export function Running({ token }) {
  const [sessions, setSessions] = useState([]);
  const [problem, setProblem] = useState("");
  const [ending, setEnding] = useState(null);
  const attempt = async (work) => {
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(error.message);
    }
  };
  useEffect(() => {
    attempt(async () => {
      const page = await call("GET", "/sessions", { token });
      setSessions(page.items.filter((session) => session.finished_at === null));
    });
  }, []);

  const host = ({ session_id: id }) =>
    attempt(async () => {
      const made = await call("POST", `/sessions/${id}/tokens`, { token, json: { role: "host" } });
      openWithToken("/host", made.token);
    });
  const endLinks = ({ session_id: id }) =>
    attempt(async () => {
      const json = { roles: ["host"] };
      const made = await call("POST", `/sessions/${id}/revocations`, { token, json });
      openWithToken("/host", made.host_token);
    });

  if (!sessions.length && !problem) return null;
  return html`<section class="running">
    <h2>Running now</h2>
    <p class="field-error" role="alert">${problem}</p>
    <ul>${sessions.map((session) => html`<li key=${session.session_id} class="running-row">
      <div><h3 dir="auto">${session.title}</h3><p class="quiet">PIN ${session.pin}</p></div>
      <button class="button small" aria-label="Host ${session.title}, PIN ${session.pin}" onClick=${() => host(session)}>Host</button>
      <a class="button small" href="/board?pin=${session.pin}" target="_blank" rel="noopener">Big screen</a>
      <button class="button small quiet-button" aria-label="End old host links of ${session.title}, PIN ${session.pin}" onClick=${() => setEnding(session)}>End old links</button>
    </li>`)}</ul>
    ${ending && html`<${Confirm} title="End all host links of ${ending.title}?"
      text="Whoever has one is out at once. You host it from here on; the players notice nothing."
      actions=${[{ label: "End them", kind: "danger", run: () => endLinks(ending) }, { label: "Keep" }]}
      onClose=${() => setEnding(null)} />`}
  </section>`;
}
