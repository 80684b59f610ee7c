// The host's way to the results of a finished session.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered, fetchUntilAnswered } from "../lib/api.js";
import { number, plural } from "../lib/words.js";

const NAMES_SHOWN = 5;
const TYPES = { csv: "text/csv", json: "application/json" };

export function ResultsDownload({ sessionId, title, token }) {
  const [note, setNote] = useState("");
  const [fast, setFast] = useState(null);
  const [leavesOut, setLeavesOut] = useState(false);
  useEffect(() => {
    // The end is noted a moment after it is seen. Without this the results are there all the same.
    callUntilAnswered("GET", `/sessions/${sessionId}/too_fast`, { token }).then(setFast, () => {});
  }, [sessionId, token]);
  const save = async (format) => {
    setNote("Fetching…");
    try {
      const path = `/sessions/${sessionId}/results?format=${format}${leavesOut ? "&leave_out_too_fast=true" : ""}`;
      const file = await fetchUntilAnswered(path, TYPES[format], { token }, (error) => setNote(error.message));
      download(`${title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-results.${format}`, file);
      setNote("");
    } catch (error) {
      setNote(error.message);
    }
  };
  return html`<div class="results-download">
    ${fast?.items.length > 0 && html`<${TooFast} fast=${fast} leavesOut=${leavesOut} onChange=${setLeavesOut} />`}
    <button class="button primary" onClick=${() => save("csv")}>Download results (CSV)</button>
    <button class="button" onClick=${() => save("json")}>As JSON</button>
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

function download(name, file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
