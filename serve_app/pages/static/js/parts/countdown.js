// Time left, as a ring with its number (projector, host) or as a bar (phones).

import { html, useEffect, useRef } from "../../vendor/preact-htm.js";
import { announce, useCountdown } from "../lib/hooks.js";

const RADIUS = 44;
const LENGTH = 2 * Math.PI * RADIUS;
const SOON_S = 5;
const TOLD_S = 10;

function useTimeLeft(clock, question) {
  const leftMs = useCountdown(clock, question.closes_ms) ?? 0;
  const totalMs = question.closes_ms - question.opened_ms;
  const seconds = Math.ceil(leftMs / 1000);
  const told = useRef(0);
  useEffect(() => {
    const isNow = seconds <= TOLD_S && seconds > TOLD_S - 3 && totalMs > (TOLD_S + 2) * 1000;
    if (!isNow || told.current === question.opening_no) return;
    told.current = question.opening_no;
    announce(`${seconds} seconds left`);
  }, [seconds, question.opening_no]);
  return { seconds, share: Math.min(1, leftMs / totalMs), isSoon: seconds <= SOON_S };
}

export function Ring({ clock, question }) {
  const { seconds, share, isSoon } = useTimeLeft(clock, question);
  return html`<div class="ring ${isSoon ? "soon" : ""}" translate="no" role="timer" aria-label="${seconds} seconds left">
    <svg viewBox="0 0 100 100" aria-hidden="true">
      <circle class="ring-track" cx="50" cy="50" r=${RADIUS} />
      <circle class="ring-left" cx="50" cy="50" r=${RADIUS} stroke-dasharray=${LENGTH} stroke-dashoffset=${LENGTH * (1 - share)} />
    </svg>
    <span aria-hidden="true">${seconds}</span>
  </div>`;
}

export function Bar({ clock, question }) {
  const { seconds, share, isSoon } = useTimeLeft(clock, question);
  return html`<div class="timebar ${isSoon ? "soon" : ""}" translate="no" role="timer" aria-label="${seconds} seconds left">
    <span class="timebar-track"><span class="timebar-left" style=${{ transform: `scaleX(${share})` }}></span></span>
    <span class="timebar-number" aria-hidden="true">${seconds}</span>
  </div>`;
}

// When self-paced play ends; nothing where no end is set.
export function Deadline({ clock, view }) {
  const seconds = Math.ceil((useCountdown(clock, view.closes_ms) ?? 0) / 1000);
  if (!view.closes_ms) return null;
  const minutes = Math.floor(seconds / 60);
  const left = `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
  return html`<p class="deadline" translate="no" role="timer" aria-label="${minutes} minutes left">Time left: <b>${left}</b></p>`;
}

// The time until answers open: no ring, it is not the answer's time.
export function OpensIn({ clock, question }) {
  const seconds = Math.ceil((useCountdown(clock, question.closes_ms) ?? 0) / 1000);
  return html`<p class="opens-in" translate="no">${seconds > 0 ? `Answers in ${seconds}` : "Here they come"}</p>`;
}

// The seconds alone, to be read out of the corner of an eye. The ring or the note beside the question tells
// them to screen readers.
export function BigTime({ clock, question }) {
  const seconds = Math.ceil((useCountdown(clock, question.closes_ms) ?? 0) / 1000);
  return html`<span class="big-time ${seconds <= SOON_S ? "soon" : ""}" translate="no" aria-hidden="true">${seconds}</span>`;
}
