// The host's way to the results of a finished session.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered } from "../lib/api.js";
import { csvOf, download } from "../lib/csv.js";
import { number, plural } from "../lib/words.js";

const NAMES_SHOWN = 5;

export function ResultsDownload({ sessionId, token }) {
  const [note, setNote] = useState("");
  const [fast, setFast] = useState(null);
  const [leavesOut, setLeavesOut] = useState(false);
  useEffect(() => {
    // The end is noted a moment after it is seen. Without this the results are there all the same.
    callUntilAnswered("GET", `/sessions/${sessionId}/too_fast`, { token }).then(setFast, () => {});
  }, [sessionId, token]);
  const fetchThen = async (use) => {
    setNote("Fetching…");
    try {
      const path = `/sessions/${sessionId}/results${leavesOut ? "?leave_out_too_fast=true" : ""}`;
      use(await callUntilAnswered("GET", path, { token }, (error) => setNote(error.message)));
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
    ${fast?.items.length > 0 && html`<${TooFast} fast=${fast} leavesOut=${leavesOut} onChange=${setLeavesOut} />`}
    <button class="button primary" onClick=${csv}>Download results (CSV)</button>
    <button class="button" onClick=${json}>As JSON</button>
    <p role="status">${note}</p>
  </div>`;
}

function TooFast({ fast, leavesOut, onChange }) {
  const { items, elapsed_ms_below: belowMs } = fast;
  const count = items.reduce((sum, person) => sum + person.answers, 0);
  const hidden = items.length - NAMES_SHOWN;
  return html`<div class="too-fast">
    <p>${plural(count, "answer")} came faster than anybody can read the choices (under ${belowMs / 1000} s):${" "}
      ${items.slice(0, NAMES_SHOWN).map((person, index) => html`${index > 0 && ", "}<bdi>${person.nickname}</bdi> (${number(person.answers)})`)}
      ${hidden > 0 && `, and ${plural(hidden, "player")} more`}.</p>
    <label class="too-fast-choice">
      <input type="checkbox" checked=${leavesOut} onChange=${(event) => onChange(event.target.checked)} />
      <span>Leave these answers out of the download</span>
    </label>
  </div>`;
}
