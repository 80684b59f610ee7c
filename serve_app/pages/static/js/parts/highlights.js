// What was remarkable about the last question: who was fastest, who climbed, who is on a streak.

import { html } from "../../vendor/preact-htm.js";
import { plural } from "../lib/words.js";

const STREAK_MIN = 3;
const ICONS = {
  fast: "M13.500 1 4 13.500h6L8.500 23 20 9.500h-7z",
  climb: "M12 2 3.500 11H8.500v11h7V11h5z",
  streak: "M12.500 1c.8 3.800 5.800 6.600 5.800 12.600A6.300 6.300 0 0 1 12 20.500a6.300 6.300 0 0 1-6.300-6.900c0-3 1.700-4.700 2.600-7.100 1 .9 1.600 2 1.800 3.300C12 7.600 13 4.500 12.500 1z",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;
}

export function hasStreak(row) {
  return row.streak >= STREAK_MIN;
}

// Among the rows that are shown: nobody else's rank before is known here.
function highlightsOf({ scoreboard: rows, reveal, opening_no: opening }) {
  const found = [];
  if (reveal?.fastest) {
    const [name, ms] = reveal.fastest;
    found.push({ icon: "fast", title: "Fastest correct answer", name, text: `${(ms / 1000).toFixed(1)} s` });
  }
  const most = (value) => rows.reduce((best, row) => (value(row) > value(best) ? row : best), rows[0]);
  const climbOf = (row) => (row.rank_before ? row.rank_before - row.rank : 0);
  const climber = opening > 1 && rows.length ? most(climbOf) : null;
  if (climber && climbOf(climber) > 0) {
    found.push({ icon: "climb", title: "Climber", name: climber.nickname, text: `up ${plural(climbOf(climber), "place")}` });
  }
  const steady = rows.length ? most((row) => row.streak ?? 0) : null;
  if (steady && hasStreak(steady)) {
    found.push({ icon: "streak", title: "On a streak", name: steady.nickname, text: `${steady.streak} in a row` });
  }
  return found;
}

export function Highlights({ view }) {
  const found = highlightsOf(view);
  if (found.length === 0) return null;
  return html`<ul class="highlights">${found.map(({ icon, title, name, text }) => html`<li key=${icon} class="highlight ${icon}">
    <${Icon} name=${icon} />
    <p class="highlight-title">${title}</p>
    <p class="highlight-name"><bdi>${name}</bdi></p>
    <p class="highlight-text">${text}</p>
  </li>`)}</ul>`;
}
