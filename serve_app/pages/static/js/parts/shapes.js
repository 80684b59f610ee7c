// Eight answers, each told by shape, letter and text; colour only helps.

import { html } from "../../vendor/preact-htm.js";

export const CHOICES = [
  { letter: "A", name: "triangle", path: "M12 3 22.500 21H1.500z" },
  { letter: "B", name: "diamond", path: "M12 1 23 12 12 23 1 12z" },
  { letter: "C", name: "circle", path: "M12 1.500a10.500 10.500 0 1 1 0 21 10.500 10.500 0 0 1 0-21z" },
  { letter: "D", name: "square", path: "M2.500 2.500h19v19h-19z" },
  { letter: "E", name: "star", path: "m12 1 3.300 7.300 7.900.9-5.900 5.300 1.600 7.800L12 18.400l-6.900 3.900 1.600-7.800L.8 9.200l7.900-.9z" },
  { letter: "F", name: "hexagon", path: "M6.500 2.500h11L23 12l-5.500 9.500h-11L1 12z" },
  { letter: "G", name: "cross", path: "M8.500 1.500h7v7h7v7h-7v7h-7v-7h-7v-7h7z" },
  { letter: "H", name: "half moon", path: "M16.500 1.800A10.500 10.500 0 1 0 22 16.800 9 9 0 0 1 16.500 1.800z" },
];

export function Shape({ index }) {
  const { path } = CHOICES[index];
  return html`<svg class="shape" viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg>`;
}

// The mark in front of a choice. Screen readers hear the letter.
export function ChoiceMark({ index }) {
  return html`<span class="mark"><${Shape} index=${index} /><b>${CHOICES[index].letter}</b></span>`;
}
