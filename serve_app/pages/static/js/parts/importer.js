// Bringing a quiz in from a file, and saying item by item what was left out or changed.

import { html, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";
import { QUIZ_BYTES_MAX } from "../lib/facts.js";
import { plural } from "../lib/words.js";
import { Dialog } from "./dialog.js";

export function ImportDialog({ token, onImported, onClose }) {
  const [title, setTitle] = useState("");
  const [file, setFile] = useState(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [report, setReport] = useState(null);

  const choose = (event) => {
    setFile(event.target.files[0] ?? null);
    setReport(null);
    setProblem("");
  };
  const submit = async (event) => {
    event.preventDefault();
    if (!file || busy) return setProblem(file ? "" : "Choose a file first.");
    if (file.size > QUIZ_BYTES_MAX) return setProblem("That file is larger than the server takes.");
    setBusy(true);
    setProblem("");
    try {
      // The server finds out the format, and takes the file's name only where there is no title at all.
      const query = new URLSearchParams({ title: title.trim(), file_name: file.name.replace(/\.[^.]+$/, "") });
      const made = await call("POST", `/quizzes/import?${query}`, { token, body: file });
      setReport(made);
      onImported();
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };

  return html`<${Dialog} title="Import a quiz" onClose=${onClose} wide><form class="importer" onSubmit=${submit}>
    <label>File<input type="file" accept=".json,.txt,application/json,text/plain" onChange=${choose} /></label>
    <label>Title <small>(if it should differ from the file’s)</small><input class="text-input" value=${title} onInput=${(event) => setTitle(event.target.value)} /></label>
    <p class="quiet">From a Rayquiz file (JSON) or from OpenTriviaQA (text).</p>
    <p class="field-error" role="alert">${problem}</p>
    ${report && html`<${Report} report=${report} />`}
    <div class="dialog-actions">
      <button class="button primary" type="submit" aria-busy=${busy}>${busy ? "Importing…" : "Import"}</button>
      <button class="button" type="button" onClick=${onClose}>${report ? "Done" : "Cancel"}</button>
    </div>
  </form><//>`;
}

// What is wrong with the file, without the name of the field that it came in.
function problemOf(error) {
  if (!["malformed", "quiz_empty", "invalid_quiz"].includes(error.code)) return error.message;
  return `This file cannot be imported: ${error.detail.replace(/^file: /, "")}.`;
}

function Report({ report }) {
  const { skipped, warnings } = report;
  return html`<div class="import-report" role="status">
    <p><strong dir="auto">${report.title}</strong>: ${plural(report.question_count, "question")} imported${skipped.length > 0 && `, ${plural(skipped.length, "item")} left out`}.</p>
    <${Notes} title="Left out" notes=${skipped} />
    <${Notes} title="Imported with a change" notes=${warnings} />
  </div>`;
}

// A report may have twenty thousand lines, which no browser draws in one go.
const NOTES_SHOWN = 200;

function Notes({ title, notes }) {
  const [count, setCount] = useState(NOTES_SHOWN);
  if (notes.length === 0) return null;
  const more = Math.min(NOTES_SHOWN, notes.length - count);
  return html`<div class="notes" tabindex="0" role="region" aria-label=${title}><table>
    <caption>${title}</caption>
    <thead><tr><th>Line</th><th>Why</th><th>Item</th></tr></thead>
    <tbody>${notes.slice(0, count).map((note, index) => html`<tr key=${index}><td>${note.line}</td><td>${note.reason}</td><td dir="auto">${note.item}</td></tr>`)}</tbody>
  </table>
  ${more > 0 && html`<button class="button" type="button" onClick=${() => setCount(count + more)}>Show ${more} more of ${notes.length}</button>`}
  </div>`;
}
