// What the connection is doing, when that matters.

import { html } from "../../vendor/preact-htm.js";

// `kept` is what the person need not worry about.
export function ConnectionBanner({ state, kept }) {
  if (state.connection === "cut") {
    return html`<div class="banner banner-cut" role="alert">
      <span class="spinner" aria-hidden="true"></span>
      <p><strong>Disconnected</strong> ${kept} Reconnecting…</p>
    </div>`;
  }
  if (state.isOutdated) {
    return html`<div class="banner" role="alert">
      <p>A newer version of this page is there.</p>
      <button class="button small" onClick=${() => location.reload()}>Reload</button>
    </div>`;
  }
  return null;
}

// The whole page when there is no way back, or nothing has been heard yet. `hint` says where a new link
// is to be had.
export function NoView({ session, state, hint }) {
  if (!state.ended) {
    const text = state.connection === "cut" ? "No connection. Trying again…" : "Connecting…";
    return html`<main class="center-page" aria-busy="true">
      <span class="spinner large" aria-hidden="true"></span>
      <p role="status">${text}</p>
    </main>`;
  }
  return html`<main class="center-page">
    <h1>${state.ended.text}</h1>
    ${state.ended.again &&
    html`<button class="button primary" onClick=${() => session.sayHelloAgain()}>${state.ended.again}</button>`}
    ${hint}
    <p><a href="/">To the start</a></p>
  </main>`;
}

const OVER = ["finished", "cancelled"];

// Whether the page has something better to show than NoView: a quiz that is over stays on the screen.
// Whoever has missed its last frame is told in NoView that it is over.
export function canShow(state) {
  if (!state.view) return false;
  return !state.ended || (state.ended.name === "session_over" && OVER.includes(state.view.phase));
}
