// The results of a finished session: at once after the podium, and later from the library.

import { html, render, useEffect, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered, fetchUntilAnswered } from "../lib/api.js";
import { download } from "../lib/download.js";
import { libraryToken, tokenOfPage } from "../lib/keys.js";
import { number, percent, plural } from "../lib/words.js";
import { PlayAgain } from "../parts/again.js";
import { Brand } from "../parts/brand.js";
import { People, Questions, TooFast } from "../parts/results.js";
import { ThemeSwitch } from "../parts/switches.js";

// The end of a session is noted a moment after everybody has seen it.
const NOTED_TRIES = 20;
const NOTED_MS = 500;

const TYPES = {
  csv: "text/csv",
  json: "application/json",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
};

async function whenNoted(ask) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (error.code !== "wrong_phase" || tries >= NOTED_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, NOTED_MS));
    }
  }
}

function Results({ sessionId, token }) {
  const [results, setResults] = useState(null);
  const [fast, setFast] = useState(null);
  const [leavesOut, setLeavesOut] = useState(false);
  const [problem, setProblem] = useState("");
  const [note, setNote] = useState("");
  const file = (format) => {
    const query = `format=${format}${leavesOut ? "&leave_out_too_fast=true" : ""}`;
    const path = `/sessions/${sessionId}/results?${query}`;
    return whenNoted(() => fetchUntilAnswered(path, TYPES[format], { token }, (error) => setNote(error.message)));
  };
  useEffect(() => {
    const show = async () => setResults(JSON.parse(await (await file("json")).text()));
    show().catch((error) =>
      setProblem(error.code === "wrong_phase" ? "This quiz is still being played." : error.message),
    );
  }, [leavesOut]);
  useEffect(() => {
    // Without this the results are there all the same.
    whenNoted(() => callUntilAnswered("GET", `/sessions/${sessionId}/too_fast`, { token })).then(setFast, () => {});
  }, []);
  useEffect(() => {
    if (results) document.title = `Results: ${results.title}`;
  }, [results]);
  if (!results) {
    return html`<main class="center-page"><h1>${problem || "Fetching the results…"}</h1>
      ${libraryToken() && html`<p><a href="/library">Library</a></p>`}</main>`;
  }
  const save = async (format) => {
    setNote("Fetching…");
    try {
      download(`${results.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-results.${format}`, await file(format));
      setNote("");
    } catch (error) {
      setNote(error.message);
    }
  };
  return html`<header class="host-head">
      <${Brand} /><span class="host-title" dir="auto">Results</span>
      ${libraryToken() && html`<a class="button small" href="/library">Library</a>`}
      <${ThemeSwitch} />
    </header>
    <main class="results">
      <h1 dir="auto">${results.title}</h1>
      <${Summary} results=${results} />
      <div class="results-actions">
        <button class="button primary" onClick=${() => save("csv")}>Download table (CSV)</button>
        <button class="button" onClick=${() => save("xlsx")}>Download Excel (XLSX)</button>
        <button class="button" onClick=${() => save("json")}>As JSON</button>
        <button class="button" onClick=${() => print()}>Print</button>
        ${libraryToken() && html`<${PlayAgain} token=${libraryToken()} sessionId=${sessionId} />`}
      </div>
      <p class="quiet" role="status">${note}</p>
      ${fast?.items.length > 0 && html`<${TooFast} fast=${fast} leavesOut=${leavesOut} onChange=${setLeavesOut} />`}
      <div class="results-parts"><${Questions} results=${results} /><${People} results=${results} /></div>
    </main>`;
}

function Summary({ results }) {
  const sum = (name) => results.openings.reduce((total, opening) => total + opening[name], 0);
  const played = new Date(results.created_at).toLocaleString([], { dateStyle: "long", timeStyle: "short" });
  return html`<p class="quiet">${played}${results.cancelled && " · cancelled before its end"}</p>
    <dl class="results-summary">
      <div><dt>${plural(results.scoreboard.length, "player").replace(/^\S+ /, "")}</dt><dd>${number(results.scoreboard.length)}</dd></div>
      <div><dt>questions answered</dt><dd>${results.openings.length} <small>of ${results.quiz.questions.length}</small></dd></div>
      <div><dt>correct answers</dt><dd>${percent(sum("correct"), sum("answered"))}</dd></div>
    </dl>`;
}

const sessionId = new URLSearchParams(location.search).get("session") ?? "";
const token = tokenOfPage() || libraryToken();
render(
  sessionId && token
    ? html`<${Results} sessionId=${sessionId} token=${token} />`
    : html`<main class="center-page"><h1>This link is incomplete</h1><p>Open the results from the <a href="/library">library</a>.</p></main>`,
  document.getElementById("app"),
);
