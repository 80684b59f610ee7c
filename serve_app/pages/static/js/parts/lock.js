// Letting nobody new in: by the host's hand, or by the game itself when it is flooded.

import { html } from "../../vendor/preact-htm.js";

export function isLocked(view) {
  return Boolean(view.lock) && view.lock !== "open";
}

export function LockButton({ session, view }) {
  const locked = isLocked(view);
  return html`<button class="button small ${locked ? "primary" : ""}" onClick=${() => session.move(locked ? "unlock" : "lock")}>
    ${locked ? "Unlock the game" : "Lock the game"}
  </button>`;
}

export function FloodBanner({ session, view, onLook }) {
  if (view.lock !== "flood") return null;
  return html`<div class="banner flood-banner" role="alert">
    <p><strong>Someone is flooding your game. We locked it.</strong> Nobody new can join; everybody who is in plays on.</p>
    <div class="flood-actions">
      <button class="button small" onClick=${onLook}>See who joined</button>
      <button class="button small primary" onClick=${() => session.move("unlock")}>Unlock</button>
    </div>
  </div>`;
}
