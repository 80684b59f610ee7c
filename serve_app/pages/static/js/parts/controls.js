// What the host can do now. One main action at any time, which the keyboard reaches as well.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { EXTEND_MS, ERROR_TEXTS } from "../lib/facts.js";
import { BigTime } from "./countdown.js";
import { plural } from "../lib/words.js";
import { Confirm } from "./dialog.js";

const NEXT_KEYS = [" ", "Enter", "ArrowRight"];
// Right after the phase has changed a key press was meant for the last one.
const KEY_PAUSE_MS = 600;
// Where a key belongs to what has the focus: every key in a field, those that press it on a button.
const IS_FIELD = "input, select, textarea, dialog";
const IS_PRESSED = "button, a, summary";
// Minutes from now that a host may choose as the end of self-paced play.
const DEADLINES_MIN = [1, 5, 10, 20, 45, 90];

// The main action of a phase: {label, step}, or null where there is none without a question.
export function mainAction(view) {
  const isLast = view.question && view.question.question_index + 1 >= view.question_count;
  switch (view.phase) {
    case "lobby":
      return { label: "Start", step: "start" };
    case "preview":
      return { label: "Show answers now", step: "next" };
    case "question_open":
      return { label: "Close now", step: "close" };
    case "question_closed":
      return { label: isLast ? "Final result" : "Scoreboard", step: "next" };
    case "scoreboard":
      return { label: "Next question", step: "next" };
    default:
      return null;
  }
}

export function Controls({ session, state }) {
  const { view, fault } = state;
  const [asks, setAsks] = useState(false);
  const action = mainAction(view);
  const isMoving = state.sending.length > 0;
  const moveOn = () => action && session.move(action.step);
  // The second click of a double click was meant for the phase that the first one has ended.
  const press = (event) => event.detail < 2 && moveOn();
  // Nobody is there to play: a start by a key that slipped would only have to be undone.
  const isEmpty = view.phase === "lobby" && view.participants_count === 0;
  useNextKeys(`${view.phase}:${view.opening_no}`, isEmpty ? () => {} : moveOn);
  const isOver = view.phase === "finished" || view.phase === "cancelled";
  if (isOver) return null;
  return html`<footer class="controls">
    <div class="controls-left">
      <p class="controls-note" role="status">${isMoving ? "Sending…" : fault && (ERROR_TEXTS[fault.code] ?? fault.detail)}</p>
      ${action && !isMoving && !fault && !isEmpty && html`<p class="key-hint">Space, Enter or → moves on</p>`}
    </div>
    ${(view.phase === "preview" || view.phase === "question_open") && html`<${BigTime} clock=${session.clock} question=${view.question} />`}
    <button class="button quiet-button" onClick=${() => setAsks(true)}>End…</button>
    ${view.phase === "self_paced_open" && html`<${DeadlineChoice} session=${session} view=${view} />`}
    ${view.phase === "question_open" &&
    html`<button class="button" onClick=${() => session.move("extend", { extra_ms: EXTEND_MS })}>+${EXTEND_MS / 1000} s</button>`}
    ${action && html`<button class="button primary main-action" aria-busy=${isMoving} onClick=${press}>${action.label}</button>`}
    ${asks && html`<${EndDialog} session=${session} phase=${view.phase} onClose=${() => setAsks(false)} />`}
  </footer>`;
}

// Everybody at their own pace, until then.
function DeadlineChoice({ session, view }) {
  const choose = (event) => session.move("deadline", { extra_ms: Number(event.target.value) * 60_000 });
  return html`<label class="deadline-choice">
    <span class="unseen">Deadline</span>
    <select value="" onChange=${choose}>
      <option value="" disabled>${view.closes_ms ? "Change the deadline" : "Set a deadline"}</option>
      ${DEADLINES_MIN.map((minutes) => html`<option key=${minutes} value=${minutes}>in ${plural(minutes, "minute")}</option>`)}
    </select>
  </label>`;
}

function EndDialog({ session, phase, onClose }) {
  const isLobby = phase === "lobby";
  const finish = { label: "Finish and show the result", kind: "primary", run: () => session.move("finish") };
  const cancel = { label: "Cancel the quiz", kind: "danger", run: () => session.move("cancel") };
  return html`<${Confirm}
    title="End this quiz?"
    text=${isLobby ? "Everybody is sent away." : "Finishing shows the podium with the points so far. Cancelling ends it without a result."}
    actions=${[...(isLobby ? [] : [finish]), cancel, { label: "Go on" }]}
    onClose=${onClose}
  />`;
}

function useNextKeys(moment, moveOn) {
  const since = useRef(0);
  const latest = useRef(moveOn);
  latest.current = moveOn;
  useEffect(() => {
    since.current = performance.now();
  }, [moment]);
  useEffect(() => {
    const press = (event) => {
      if (!NEXT_KEYS.includes(event.key) || event.repeat) return;
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const isPress = event.key !== "ArrowRight" && event.target.closest?.(IS_PRESSED);
      if (isPress || event.target.closest?.(IS_FIELD)) return;
      event.preventDefault();
      if (performance.now() - since.current > KEY_PAUSE_MS) latest.current();
    };
    // A click leaves the focus where it was, so that the next key is not a second press of the same.
    const keepFocus = (event) => {
      const isButton = event.target.closest?.(IS_PRESSED) && !event.target.closest(IS_FIELD);
      if (isButton) event.preventDefault();
    };
    addEventListener("keydown", press);
    addEventListener("mousedown", keepFocus);
    return () => {
      removeEventListener("keydown", press);
      removeEventListener("mousedown", keepFocus);
    };
  }, []);
}
