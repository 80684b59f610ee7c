// One websocket that comes back by itself. A cut is ordinary: the server cuts sockets whenever its
// replicas come or go, phones change networks, laptops sleep.
//
// States: connecting -> live (welcome has come) -> cut -> live ... -> ended (a close code that says
// not to come back).

import { CLOSE_CODES } from "./facts.js";

const PING_EVERY_MS = 5000;
const SILENCE_MS = 12000;
// Until welcome, from the first byte of the connection.
const WELCOME_MS = 8000;
// After a sign of trouble (offline, wake-up) an answer to a ping must come within this.
const PROBE_MS = 2500;
const TICK_MS = 1000;
const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 5000;
const RETRY_GROWTH = 1.6;
const FULL = 4006;
const FULL_WAIT_MS = 4000;

export class Connection {
  #credentials;
  #lastSeen;
  #onMessage;
  #onState;
  #socket = null;
  #state = "connecting";
  #tries = 0;
  #heardAt = 0;
  #pingedAt = 0;
  #tickedAt = 0;
  #retryTimer = 0;

  // `lastSeen()` gives {epoch, version} of the view held, zeros when there is none.
  constructor({ credentials, lastSeen, onMessage, onState }) {
    this.#credentials = credentials;
    this.#lastSeen = lastSeen;
    this.#onMessage = onMessage;
    this.#onState = onState;
  }

  start() {
    setInterval(() => this.#tick(), TICK_MS);
    addEventListener("offline", () => this.#probe());
    addEventListener("online", () => this.#hurry());
    addEventListener("pageshow", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    this.#open();
  }

  // Whether it was handed to a living socket; arrival is known by its reply only.
  send(message) {
    if (this.#state !== "live") return false;
    this.#write(message);
    return true;
  }

  // Leave this socket and say hello on a new one.
  restart() {
    this.#setState("connecting");
    this.#drop();
    this.#open();
  }

  #open() {
    clearTimeout(this.#retryTimer);
    const now = performance.now();
    this.#heardAt = this.#pingedAt = this.#tickedAt = now;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.#socket = socket;
    // Asked for while the socket opens, if it must be asked for.
    const credential = this.#credentials.forHello();
    socket.onopen = async () => {
      const token = await credential;
      if (this.#socket === socket) this.#write({ type: "hello", token, ...this.#lastSeen() });
    };
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onclose = (event) => this.#closed(event.code);
  }

  #write(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #hear(data) {
    this.#heardAt = performance.now();
    const message = JSON.parse(data);
    if (message.type === "pong") {
      if (message.ticket) this.#credentials.keepTicket(message.ticket);
      return;
    }
    if (message.type === "welcome") {
      this.#tries = 0;
      this.#setState("live");
    }
    // Before welcome there is only the error why hello is refused; the close code says it better.
    if (this.#state === "live") this.#onMessage(message);
  }

  #closed(code) {
    this.#drop();
    const known = CLOSE_CODES[code];
    if (known && !known.reconnect) {
      this.#setState("ended", known);
      return;
    }
    this.#setState("cut");
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * RETRY_GROWTH ** this.#tries);
    this.#tries += 1;
    const wait = code === FULL ? FULL_WAIT_MS : 0;
    // Jitter: after a restart everybody is cut in the same instant.
    this.#retryTimer = setTimeout(() => this.#open(), wait + ceiling * (0.2 + 0.8 * Math.random()));
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #tick() {
    const now = performance.now();
    const held = now - this.#tickedAt > 3 * TICK_MS;
    this.#tickedAt = now;
    if (!this.#socket) return;
    if (held) {
      // The browser held our timers back (a hidden tab, sleep): silence means nothing yet.
      this.#probe();
    } else if (now - this.#heardAt > (this.#state === "live" ? SILENCE_MS : WELCOME_MS)) {
      this.#closed(0);
    } else if (now - this.#pingedAt >= PING_EVERY_MS) {
      this.#ping();
    }
  }

  #ping() {
    this.#pingedAt = performance.now();
    this.#write({ type: "ping", n: Math.floor(this.#pingedAt) });
  }

  #probe() {
    if (this.#state !== "live") return;
    this.#heardAt = performance.now() - SILENCE_MS + PROBE_MS;
    this.#ping();
  }

  // Something says that the network may be back: wait neither for the timer nor for a socket that
  // was opened while it was away.
  #hurry() {
    if (this.#state === "cut") {
      this.#drop();
      this.#open();
    } else {
      this.#probe();
    }
  }

  #setState(state, ended = null) {
    if (state === this.#state) return;
    this.#state = state;
    this.#onState(state, ended);
  }
}
