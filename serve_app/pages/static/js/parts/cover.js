// A cover for a quiz, made of its title: the same title always looks the same.

import { html } from "../../vendor/preact-htm.js";
import { CHOICES } from "./shapes.js";

const SHAPES = 5;

export function Cover({ title }) {
  const dice = diceOf(title);
  const colour = dice(CHOICES.length);
  const shapes = Array.from({ length: SHAPES }, () => {
    const size = 1.2 + dice(30) / 10;
    const place = `translate(${dice(160) - 20} ${dice(90) - 20}) rotate(${dice(360)} 12 12) scale(${size})`;
    return { path: CHOICES[dice(CHOICES.length)].path, place };
  });
  return html`<svg class="cover c${colour}" viewBox="0 0 160 80" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
    ${shapes.map(({ path, place }, index) => html`<path key=${index} d=${path} transform=${place} />`)}
  </svg>`;
}

// Numbers below a bound, always the same ones for the same text. Source: FNV-1a and xorshift32.
function diceOf(text) {
  let state = 0x811c9dc5;
  for (const char of text) state = Math.imul(state ^ char.codePointAt(0), 0x01000193);
  state ||= 1; // where the sequence would stand still
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}
