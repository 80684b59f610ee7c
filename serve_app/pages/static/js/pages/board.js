// The big screen: nobody touches it, everybody reads it from afar.

import { html, render, useEffect, useMemo, useRef, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered, waitingText } from "../lib/api.js";
import { announce, screenOf, useAwake, useSession, useTitle, useTopOn } from "../lib/hooks.js";
import { tokenOfPage } from "../lib/keys.js";
import { groupPin, readPin } from "../lib/pins.js";
import { Session } from "../lib/session.js";
import { useSound } from "../lib/sound.js";
import { canShow, ConnectionBanner, NoView } from "../parts/banner.js";
import { Brand, joinAddress } from "../parts/brand.js";
import { Highlights } from "../parts/highlights.js";
import { JoinCard, Roster } from "../parts/lobby.js";
import { Podium } from "../parts/podium.js";
import { Progress } from "../parts/progress.js";
import { QuestionStage, rightAnswers } from "../parts/question.js";
import { Scoreboard } from "../parts/scoreboard.js";
import { FullScreenButton, SoundSwitch, ThemeSwitch } from "../parts/switches.js";

// Above so many players the names get more of the screen.
const MANY = 24;

function Board({ pin, givenToken }) {
  const [token, setToken] = useState(givenToken);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (token) return;
    setProblem("");
    const wait = (error) => setProblem(waitingText(error));
    callUntilAnswered("POST", `/pins/${pin}/viewers`, {}, wait).then(
      (viewer) => setToken(viewer.token),
      (error) => setProblem(error.code === "not_found" ? `No quiz is running under ${groupPin(pin)}.` : error.message),
    );
  }, [token]);
  if (token) return html`<${Watching} key=${token} token=${token} onLost=${pin ? () => setToken("") : null} />`;
  return html`<main class="center-page"><h1>${problem || "Looking for the quiz…"}</h1></main>`;
}

// `onLost` fetches another token, where the PIN is known.
function Watching({ token, onLost }) {
  const session = useMemo(() => new Session(token), [token]);
  useEffect(() => session.start(), [session]);
  const state = useSession(session);
  useAwake(!state.ended);
  useTitle(state.view);
  const { view } = state;
  useAnnouncements(view);
  useTopOn(view && screenOf(view));
  const sound = useSound("board", view, session.clock);
  // A token that was good and was ended is no reason to leave the screen empty: the PIN gives another.
  // One that never was good is not asked for again and again.
  const isLost = state.ended?.name === "unauthorized" && view && onLost;
  useEffect(() => {
    if (isLost) onLost();
  }, [isLost]);
  if (!canShow(state)) return html`<${NoView} session=${session} state=${state} />`;
  const { pin = "" } = session.claims;
  return html`
    <${ConnectionBanner} state=${state} kept="The quiz goes on." />
    <header class="board-head"><${Brand} /><span class="board-title" dir="auto">${view.title}</span><span class="switches"><${SoundSwitch} sound=${sound} /><${FullScreenButton} /><${ThemeSwitch} /></span></header>
    <main class="board-main phase-${view.phase}"><${BoardPhase} view=${view} clock=${session.clock} pin=${pin} /></main>
    <${Foot} view=${view} pin=${pin} />`;
}

// For those who follow the big screen on a device of their own.
function useAnnouncements(view) {
  const told = useRef(0);
  useEffect(() => {
    if (view?.phase === "preview" || view?.phase === "question_open") {
      announce(told.current === view.opening_no ? "Answers are open" : view.question.text);
      told.current = view.opening_no;
    } else if (view?.phase === "question_closed") {
      announce(`The correct answer: ${rightAnswers(view).join(", ")}`);
    }
  }, [view?.phase, view?.opening_no]);
}

function BoardPhase({ view, clock, pin }) {
  switch (view.phase) {
    case "lobby":
      return html`<div class="lobby ${view.participants_count > MANY ? "many" : ""}"><${JoinCard} pin=${pin} view=${view} /><${Roster} view=${view} /></div>`;
    case "preview":
    case "question_open":
    case "question_closed":
      return html`<${QuestionStage} view=${view} clock=${clock} />`;
    case "scoreboard":
    case "self_paced_open":
      return html`<section class="board-scores">
        <h1>${view.phase === "scoreboard" ? "Scoreboard" : "At your own pace"}</h1>
        ${view.phase === "self_paced_open" && html`<${Progress} view=${view} clock=${clock} />`}
        <${Scoreboard} key=${view.opening_no} rows=${view.scoreboard} opening=${view.opening_no} />
        ${view.phase === "scoreboard" && html`<${Highlights} view=${view} />`}
      </section>`;
    case "finished":
      return html`<${Podium} rows=${view.scoreboard} title=${view.title} />`;
    default:
      return html`<section class="center-page"><h1>The host has ended this quiz</h1></section>`;
  }
}

function Foot({ view, pin }) {
  const { phase } = view;
  const isOver = phase === "finished" || phase === "cancelled";
  const counts = phase === "question_open" || phase === "question_closed";
  if (phase === "lobby") {
    return html`<footer class="board-foot"><span class="attribution" dir="auto">${view.attribution}</span></footer>`;
  }
  return html`<footer class="board-foot">
    ${isOver ? html`<span class="attribution" dir="auto">${view.attribution}</span>` : html`<span>${joinAddress()} · PIN <b>${groupPin(pin)}</b></span>`}
    ${counts && html`<span class="answer-count"><b>${view.answers_count}</b> of ${view.participants_count} answered</span>`}
  </footer>`;
}

const pin = readPin(new URLSearchParams(location.search).get("pin") ?? "");
const token = tokenOfPage();
if (pin || token) {
  render(html`<${Board} pin=${pin} givenToken=${token} />`, document.getElementById("app"));
} else {
  location.replace("/");
}
