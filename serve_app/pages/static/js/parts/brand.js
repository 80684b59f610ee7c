// Name and sign of the project, and the frame that every page stands in.

import { html } from "../../vendor/preact-htm.js";

const RAYS = "M32 11V8M32 56v-3M11 32H8M56 32h-3M17.200 17.200l-2.200-2.200M17.200 46.800 15 49M46.800 17.200 49 15M36 36l14 14";

export function Brand() {
  return html`<span class="brand">
    <svg viewBox="4 4 56 56" aria-hidden="true"><circle cx="32" cy="32" r="12" /><path d=${RAYS} /></svg>
    Rayquiz
  </span>`;
}

// The address that phones type, without the part nobody needs to type.
export function joinAddress() {
  const url = document.querySelector('meta[name="rayquiz-public-url"]').content;
  return (url || location.origin).replace(/^https?:\/\//, "");
}
