// At the end: one's own answers, and what was right.

import { html } from "../../vendor/preact-htm.js";
import { reviewOf } from "../lib/review.js";
import { plural } from "../lib/words.js";

export function OwnReview({ claims }) {
  const entries = reviewOf(claims);
  if (entries.length === 0) return null;
  return html`<details class="own-review">
    <summary>Your answers</summary>
    <ol>${entries.map(({ opening, text, said, right, correct, points }) => html`<li key=${opening} class=${correct ? "is-right" : ""}>
      <p dir="auto">${text}</p>
      <p><b aria-hidden="true">${correct ? "✓" : "✕"}</b> <span dir="auto">${said || "No answer"}</span>${correct && html` <span class="quiet">${plural(points, "point")}</span>`}</p>
      ${!correct && html`<p class="quiet">Correct: <span dir="auto">${right}</span></p>`}
    </li>`)}</ol>
  </details>`;
}
