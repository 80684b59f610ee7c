// What lets this page in: a token for HTTP, which lives for hours and is renewed here, and tickets for
// websockets, which live for moments: the next one comes with a pong, so that coming back after a cut
// takes no request.

import { call } from "./api.js";
import { claimsOf } from "./keys.js";
import { TICKET_LIFE_S, TOKEN_RENEW_S } from "./facts.js";

// A ticket is taken for good only while it has so much of its life left.
const TICKET_SPARE_MS = 15_000;
// The server waits for a hello; the page must not wait longer for a ticket.
const TICKET_WAIT_MS = 3000;

export class Credentials {
  #ticket = "";
  #ticketEnds = 0;
  #onToken;

  // `onToken` is told a token that was renewed, so that it can be kept.
  constructor(token, { ticket = "", onToken } = {}) {
    this.token = token;
    this.claims = claimsOf(token);
    this.#onToken = onToken;
    if (ticket) this.keepTicket(ticket);
  }

  keepTicket(ticket) {
    this.#ticket = ticket;
    this.#ticketEnds = performance.now() + TICKET_LIFE_S * 1000;
  }

  // What a hello is said with. Where no ticket can be got the token itself will do: the websocket may
  // be there while the rest is away.
  async forHello() {
    if (this.#ticket && performance.now() < this.#ticketEnds - TICKET_SPARE_MS) return this.#ticket;
    try {
      const options = { token: this.token, timeoutMs: TICKET_WAIT_MS };
      this.keepTicket((await call("POST", `/sessions/${this.claims.sid}/tickets`, options)).ticket);
      return this.#ticket;
    } catch {
      return this.token;
    }
  }

  // Renew the token when half of its life is over, by the server's clock.
  async renewAtNeed(clock) {
    const { exp, sid } = this.claims;
    if (!exp || clock.msUntil((exp - TOKEN_RENEW_S) * 1000)) return;
    try {
      const { token } = await call("POST", `/sessions/${sid}/tokens`, { token: this.token, json: {} });
      if (token === this.token) return;
      this.token = token;
      this.claims = claimsOf(token);
      this.#onToken?.(token);
    } catch {
      // Later again; a token that has ended is told by the websocket.
    }
  }
}
