// Messages that must arrive: kept until they are settled, sent again under the same key.
// The server answers a repeat with the first one's receipt, so sending too often does no harm.

import { forget, load, save } from "./storage.js";

// No receipt for so long: say it again. Longer than the server itself keeps trying.
const UNANSWERED_MS = 15000;
// While the server is in trouble each try waits longer than the one before it, up to a bound.
const GROWTH = 1.5;
const GROWTH_MAX = 5;

export class Outbox {
  #entries = new Map();
  #storageKey = "";

  // Take up what an earlier page of the same place left, and keep it there from now on.
  persistAs(storageKey) {
    if (this.#storageKey === storageKey) return;
    this.#storageKey = storageKey;
    for (const [key, message] of Object.entries(load(storageKey) ?? {})) {
      if (!this.#entries.has(key)) this.#entries.set(key, { message, dueAt: 0 });
    }
  }

  // The first message under a key stands.
  add(key, message) {
    if (this.#entries.has(key)) return;
    this.#entries.set(key, { message, dueAt: 0 });
    this.#store();
  }

  get(key) {
    return this.#entries.get(key)?.message ?? null;
  }

  settle(key) {
    const known = this.#entries.delete(key);
    if (known) this.#store();
    return known;
  }

  retryAfter(key, delayMs) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    entry.growth = Math.min(GROWTH_MAX, (entry.growth ?? 1 / GROWTH) * GROWTH);
    // Jitter: everybody is told to come again in the same instant.
    entry.dueAt = performance.now() + delayMs * entry.growth * (0.8 + 0.4 * Math.random());
  }

  // After a cut nobody knows what had arrived.
  allDue() {
    for (const entry of this.#entries.values()) entry.dueAt = 0;
  }

  sendDue(send) {
    const now = performance.now();
    for (const entry of this.#entries.values()) {
      if (entry.dueAt <= now && send(entry.message)) entry.dueAt = now + UNANSWERED_MS;
    }
  }

  keys() {
    return [...this.#entries.keys()];
  }

  #store() {
    if (!this.#storageKey) return;
    if (this.#entries.size === 0) {
      forget(this.#storageKey);
      return;
    }
    const messages = [...this.#entries].map(([key, entry]) => [key, entry.message]);
    save(this.#storageKey, Object.fromEntries(messages));
  }
}
