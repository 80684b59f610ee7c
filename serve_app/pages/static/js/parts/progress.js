// How far everybody is in self-paced play.

import { html } from "../../vendor/preact-htm.js";
import { number } from "../lib/words.js";
import { Deadline } from "./countdown.js";

export function Progress({ view, clock }) {
  const all = view.participants_count * view.question_count;
  const text = `${number(view.answers_count)} of ${number(all)} answers given`;
  return html`<p class="progress">
    <progress max=${Math.max(1, all)} value=${view.answers_count} aria-label="Answers given"></progress>
    <span>${text}</span>
  </p>
  <${Deadline} clock=${clock} view=${view} />`;
}
