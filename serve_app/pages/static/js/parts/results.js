// The host's way to the results of a finished session.

import { html, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered } from "../lib/api.js";
import { csvOf, download } from "../lib/csv.js";

export function ResultsDownload({ sessionId, token }) {
  const [note, setNote] = useState("");
  const fetchThen = async (use) => {
    setNote("Fetching…");
    try {
      use(await callUntilAnswered("GET", `/sessions/${sessionId}/results`, { token }, (error) => setNote(error.message)));
      setNote("");
    } catch (error) {
      setNote(error.message);
    }
  };
  const name = (results, ending) => `${results.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-results.${ending}`;
  const csv = () => fetchThen((results) => download(name(results, "csv"), "text/csv", csvOf(results)));
  const json = () =>
    fetchThen((results) => download(name(results, "json"), "application/json", JSON.stringify(results, null, 2)));
  return html`<div class="results-download">
    <button class="button primary" onClick=${csv}>Download results (CSV)</button>
    <button class="button" onClick=${json}>As JSON</button>
    <p role="status">${note}</p>
  </div>`;
}
