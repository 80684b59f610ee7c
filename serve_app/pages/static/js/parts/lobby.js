// Before the start: how to join, and who has.

import { html } from "../../vendor/preact-htm.js";
import { useFit } from "../lib/hooks.js";
import { groupPin } from "../lib/pins.js";
import { number, plural } from "../lib/words.js";
import { joinAddress } from "./brand.js";
import { isLocked } from "./lock.js";

export function JoinCard({ pin, view }) {
  if (isLocked(view)) {
    return html`<section class="join-card" aria-label="How to join">
      <h1 class="unseen" dir="auto">${view.title}</h1>
      <p class="join-step"><strong>The game is locked.</strong><br />Nobody new can join now.</p>
    </section>`;
  }
  const [first, second] = groupPin(pin).split(" ");
  const isWide = !/^\d{6}$/.test(pin);
  return html`<section class="join-card" aria-label="How to join">
    <h1 class="unseen" dir="auto">${view.title}</h1>
    <div class="join-text">
      <p class="join-step">Join at <strong>${joinAddress()}</strong></p>
      <p class="join-step">with the PIN</p>
      <p class="pin ${isWide ? "wide" : ""}" aria-label="PIN ${[...pin].join(" ")}">${first}<span> </span>${second}</p>
    </div>
    <img class="qr" src="/qr/${pin}.svg" alt="QR code of the address to join" width="300" height="300" />
  </section>`;
}

// `onRemove` makes every name a button, `onMore` the count of those who are not shown (host).
export function Roster({ view, onRemove, onMore }) {
  const { roster, participants_count: count } = view;
  const hidden = count - roster.length;
  const fit = useFit([roster]);
  return html`<section class="roster-box" ref=${fit}>
    <h2 class="roster-title"><b>${number(count)}</b> ${count === 1 ? "player" : "players"}</h2>
    ${count === 0 && html`<p class="waiting-players">Waiting for players…</p>`}
    <ul class="roster">
      ${roster.map((person) => html`<li key=${person.participant_id} class="name-chip">
        <bdi>${person.nickname}</bdi>
        ${onRemove && html`<button class="remove" aria-label="Remove ${person.nickname}" onClick=${() => onRemove(person)}>×</button>`}
      </li>`)}
      ${hidden > 0 && html`<li key="hidden" class="name-chip more">
        ${onMore ? html`<button class="more-names" onClick=${onMore}>+ ${plural(hidden, "more", "more")}</button>` : `+ ${plural(hidden, "more", "more")}`}
      </li>`}
    </ul>
  </section>`;
}
