// The host's console: what everybody sees, and the controls.

import { html, render, useEffect, useMemo, useState } from "../../vendor/preact-htm.js";
import { announce, screenOf, useAwake, useSession, useTitle, useTopOn } from "../lib/hooks.js";
import { keepToken, libraryToken, openResults, tokenOfPage } from "../lib/keys.js";
import { groupPin } from "../lib/pins.js";
import { Session } from "../lib/session.js";
import { useSound } from "../lib/sound.js";
import { plural } from "../lib/words.js";
import { canShow, ConnectionBanner, NoView } from "../parts/banner.js";
import { Brand } from "../parts/brand.js";
import { Controls } from "../parts/controls.js";
import { Confirm } from "../parts/dialog.js";
import { Handover } from "../parts/handover.js";
import { Highlights } from "../parts/highlights.js";
import { JoinCard, Roster } from "../parts/lobby.js";
import { FloodBanner, LockButton } from "../parts/lock.js";
import { PlayAgain } from "../parts/again.js";
import { Progress } from "../parts/progress.js";
import { Players } from "../parts/players.js";
import { Podium } from "../parts/podium.js";
import { Connected } from "../parts/presence.js";
import { Prompter } from "../parts/prompter.js";
import { QuestionStage } from "../parts/question.js";
import { Scoreboard } from "../parts/scoreboard.js";
import { FullScreenButton, SoundSwitch, ThemeSwitch } from "../parts/switches.js";

function Host({ token }) {
  const session = useMemo(() => new Session(token, { onToken: (renewed) => keepToken("/host", renewed) }), [token]);
  useEffect(() => session.start(), [session]);
  const state = useSession(session);
  useAwake(!state.ended);
  useTitle(state.view);
  const [leaving, setLeaving] = useState(null);
  const [isMoving, setMoving] = useState(false);
  // Whom the list of players shows at first; null while it is closed.
  const [listed, setListed] = useState(null);
  const { view } = state;
  useEffect(() => {
    if (view) announce(PHASE_NAMES[view.phase] ?? "");
  }, [view?.phase, view?.opening_no]);
  useTopOn(view && screenOf(view));
  const sound = useSound("host", view, session.clock);
  if (!canShow(state)) return html`<${NoView} session=${session} state=${state} hint=${hintFor(session, state)} />`;
  const { pin = "", sid } = session.claims;
  return html`
    <${ConnectionBanner} state=${state} kept="What you press is kept." />
    <${FloodBanner} session=${session} view=${view} onLook=${() => setListed("never_connected")} />
    <header class="host-head">
      <${Brand} />
      <span class="host-title" dir="auto">${view.title}</span>
      <span class="host-pin">PIN <b>${groupPin(pin)}</b></span>
      ${!isOver(view) && html`<${Connected} sessionId=${sid} token=${session.credentials.token} players=${view.participants_count} />`}
      ${!isOver(view) && html`<button class="button small" onClick=${() => setListed("all")}>Players</button>
        <${LockButton} session=${session} view=${view} />`}
      ${!isOver(view) && html`<button class="button small for-laptops" onClick=${() => setMoving(true)}>Use a phone</button>`}
      ${!isOver(view) && html`<a class="button small for-laptops" href="/board?pin=${pin}" target="_blank" rel="noopener">Big screen</a>`}
      ${libraryToken() && html`<a class="button small quiet-button" href="/library">Library</a>`}
      <span class="switches"><${SoundSwitch} sound=${sound} /><${FullScreenButton} /><${ThemeSwitch} /></span>
    </header>
    <main class="host-main phase-${view.phase}">
      <${HostPhase} session=${session} view=${view} pin=${pin} onRemove=${setLeaving} onMore=${() => setListed("all")} />
    </main>
    <${Controls} session=${session} state=${state} />
    ${leaving && html`<${Confirm}
      title="Remove ${leaving.nickname}?"
      text="This player leaves the quiz and cannot come back from the same device."
      actions=${[
        { label: "Remove", kind: "danger", run: () => session.move("remove", { participant: leaving.participant_id }) },
        { label: "Keep" },
      ]}
      onClose=${() => setLeaving(null)}
    />`}
    ${isMoving && html`<${Handover} session=${session} onClose=${() => setMoving(false)} />`}
    ${listed && html`<${Players} session=${session} state=${state} sessionId=${sid} token=${session.credentials.token} first=${listed}
      onClose=${() => setListed(null)} />`}`;
}

const LOST = html`<p>Whoever runs this server can open the quiz again from the <a href="/library">library</a>.</p>`;

// Where to go from a page that has ended.
function hintFor(session, { ended }) {
  if (ended?.name === "session_over") return html`<${Afterwards} session=${session} />`;
  return ended?.name === "unauthorized" && LOST;
}

// What there is to do with a quiz that is over.
function Afterwards({ session }) {
  const { sid } = session.claims;
  return html`<div class="afterwards">
    <button class="button primary" onClick=${() => openResults(sid, session.credentials.token)}>See the results</button>
    ${libraryToken() && html`<${PlayAgain} token=${libraryToken()} sessionId=${sid} /> <a class="button" href="/library">Library</a>`}
  </div>`;
}

function isOver(view) {
  return view.phase === "finished" || view.phase === "cancelled";
}

const PHASE_NAMES = {
  lobby: "Lobby",
  preview: "The question is shown",
  question_open: "Answers are open",
  question_closed: "The question is closed",
  scoreboard: "Scoreboard",
  self_paced_open: "Everybody plays at their own pace",
  finished: "Final result",
  cancelled: "The quiz is cancelled",
};

function HostPhase({ session, view, pin, onRemove, onMore }) {
  const { clock } = session;
  const players = html`<details class="players">
    <summary>${plural(view.participants_count, "player")}</summary>
    <${Roster} view=${view} onRemove=${onRemove} onMore=${onMore} />
  </details>`;
  switch (view.phase) {
    case "lobby":
      return html`<div class="lobby"><${JoinCard} pin=${pin} view=${view} /><${Roster} view=${view} onRemove=${onRemove} onMore=${onMore} /></div>`;
    case "preview":
    case "question_open":
    case "question_closed":
      return html`<${QuestionStage} view=${view} clock=${clock} />
        <${Prompter} session=${session} view=${view} />
        <div class="host-side">
          ${view.phase !== "preview" && html`<p class="answer-count"><b>${view.answers_count}</b> of ${view.participants_count} answered</p>`}
          ${players}
        </div>`;
    case "scoreboard":
    case "self_paced_open":
      return html`<section class="board-scores">
          <h1>${PHASE_NAMES[view.phase]}</h1>
          ${view.phase === "self_paced_open" && html`<${Progress} view=${view} clock=${clock} />`}
          <${Scoreboard} key=${view.opening_no} rows=${view.scoreboard} opening=${view.opening_no} />
        ${view.phase === "scoreboard" && html`<${Highlights} view=${view} />`}
        </section>
        ${view.phase === "scoreboard" && html`<${Prompter} session=${session} view=${view} />`}
        <div class="host-side">${players}</div>`;
    case "finished":
      return html`<${Podium} rows=${view.scoreboard} title=${view.title} />
        <${Afterwards} session=${session} />`;
    default:
      return html`<section class="center-page"><h1>This quiz was cancelled</h1><${Afterwards} session=${session} /></section>`;
  }
}

const token = tokenOfPage();
if (token) {
  render(html`<${Host} token=${token} />`, document.getElementById("app"));
} else {
  render(
    html`<main class="center-page"><h1>This link is incomplete</h1><p>Open a session from the <a href="/library">library</a>.</p></main>`,
    document.getElementById("app"),
  );
}
