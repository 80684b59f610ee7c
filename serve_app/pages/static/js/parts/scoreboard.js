// The first ranks. Rows start where they stood before the question and move to where they stand now.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { usePrefersStill } from "../lib/hooks.js";
import { number } from "../lib/words.js";
import { hasStreak, Icon } from "./highlights.js";

const WAIT_MS = 700;
const MOVE_MS = 900;
// Few rows get larger letters on a projector, but not without end.
const ROWS_MIN = 5;

export function Scoreboard({ rows, opening }) {
  const list = useRef(null);
  const still = usePrefersStill();
  const moved = useMoved(opening, still);
  useLayoutEffect(() => {
    if (!still) playMoves(list.current, rows);
  }, [opening]);
  return html`<div class="scores-box"><ol class="scoreboard ${moved ? "moved" : ""}" style=${{ "--rows": Math.max(ROWS_MIN, rows.length) }} ref=${list}>
    ${rows.map((row) => html`<${Row} key=${row.participant_id} row=${row} moved=${moved} />`)}
  </ol></div>`;
}

function Row({ row, moved }) {
  const climbed = row.rank_before ? row.rank_before - row.rank : 0;
  const points = moved ? row.points : row.points - row.gained;
  return html`<li class="score-row ${row.rank <= 3 && row.points > 0 ? `medal-${row.rank}` : ""}" value=${row.rank}>
    <span class="rank">${row.rank}</span>
    <bdi class="nickname">${row.nickname}</bdi>
    ${hasStreak(row) && html`<span class="on-streak" aria-label="${row.streak} correct in a row"><${Icon} name="streak" />${row.streak}</span>`}
    ${row.gained > 0 && html`<span class="gained">+${number(row.gained)}</span>`}
    ${climbed > 0 && html`<span class="climbed" aria-label="${climbed} up">▲ ${climbed}</span>`}
    <${CountUp} value=${points} />
  </li>`;
}

// False until the rows start to move.
function useMoved(opening, still) {
  const [movedFor, setMovedFor] = useState(still ? opening : -1);
  useEffect(() => {
    const timer = setTimeout(() => setMovedFor(opening), still ? 0 : WAIT_MS);
    return () => clearTimeout(timer);
  }, [opening]);
  return movedFor === opening;
}

function playMoves(list, rows) {
  const elements = [...list.children];
  const tops = elements.map((element) => element.offsetTop);
  const below = list.offsetHeight;
  const before = rows
    .map((row, index) => ({ index, rank: row.rank_before || rows.length }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index);
  before.forEach(({ index, rank }, place) => {
    const start = rank > rows.length ? below : tops[place];
    const shift = start - tops[index];
    if (!shift) return;
    const from = { transform: `translateY(${shift}px)`, opacity: rank > rows.length ? 0 : 1 };
    elements[index].animate([from, { transform: "none", opacity: 1 }], {
      duration: MOVE_MS,
      delay: WAIT_MS,
      easing: "cubic-bezier(.3, 1.2, .4, 1)",
      fill: "backwards",
    });
  });
}

// A number that runs up to its value.
function CountUp({ value }) {
  const [shown, setShown] = useState(value);
  const from = useRef(value);
  const still = usePrefersStill();
  useEffect(() => {
    const start = performance.now();
    const first = from.current;
    from.current = value;
    if (still || first === value) {
      setShown(value);
      return undefined;
    }
    let frame = 0;
    const step = (now) => {
      const share = Math.max(0, Math.min(1, (now - start) / MOVE_MS));
      setShown(Math.round(first + (value - first) * share));
      if (share < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [value]);
  return html`<span class="points">${number(shown)}</span>`;
}
