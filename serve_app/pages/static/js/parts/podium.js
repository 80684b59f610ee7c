// The end: third, second, first. Equal ranks share one step.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { useFit, usePrefersStill } from "../lib/hooks.js";
import { pauseBefore, stepsOf } from "../lib/reveal.js";
import { number } from "../lib/words.js";
import { Confetti } from "./confetti.js";

const NAMES_MAX = 4;
const PLACES = { 1: "1st", 2: "2nd", 3: "3rd" };

export function Podium({ rows, title }) {
  const steps = stepsOf(rows);
  const order = [...steps.keys()].sort((a, b) => b - a);
  const shown = useReveal(order.length);
  const fit = useFit([rows]);
  const rest = rows.filter((row) => !steps.get(row.rank)?.includes(row));
  if (rows.length === 0) {
    return html`<section class="podium-stage"><h1>Nobody played</h1></section>`;
  }
  return html`<section class="podium-stage" ref=${fit}>
    <p class="eyebrow">Final result</p>
    <h1 class="podium-title" dir="auto">${title}</h1>
    ${order.length === 0
      ? html`<p class="podium-nobody">Nobody scored this time</p>`
      : html`<ol class="podium steps-${order.length}">
          ${order.map((rank, place) => html`<${PodiumStep} key=${rank} rank=${rank} rows=${steps.get(rank)} isShown=${place < shown} />`)}
        </ol>`}
    ${rest.length > 0 && html`<ol class="runners-up ${shown >= order.length ? "shown" : ""}">
      ${rest.map((row) => html`<li key=${row.participant_id} value=${row.rank}>
        ${row.points > 0 && html`<span class="rank">${row.rank}</span>`}
        <bdi class="nickname">${row.nickname}</bdi>
        <span class="points">${number(row.points)}</span>
      </li>`)}
    </ol>`}
    ${order.length > 0 && shown >= order.length && html`<${Confetti} />`}
  </section>`;
}

function PodiumStep({ rank, rows, isShown }) {
  const more = rows.length - NAMES_MAX;
  return html`<li class="step step-${rank} ${isShown ? "shown" : ""}" value=${rank}>
    <div class="step-names">
      ${rows.slice(0, NAMES_MAX).map((row) => html`<bdi key=${row.participant_id} class="nickname">${row.nickname}</bdi>`)}
      ${more > 0 && html`<span class="quiet">and ${more} more</span>`}
    </div>
    <div class="step-block"><b class="medal">${rank}<span>${PLACES[rank].slice(1)}</span></b><span>${number(rows[0].points)} points</span></div>
  </li>`;
}

function useReveal(count) {
  const still = usePrefersStill();
  const [shown, setShown] = useState(still ? count : 0);
  useEffect(() => {
    if (shown >= count) return undefined;
    const timer = setTimeout(() => setShown(shown + 1), pauseBefore(shown));
    return () => clearTimeout(timer);
  }, [shown, count]);
  return shown;
}
