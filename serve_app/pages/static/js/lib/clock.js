// The server's clock, counted on by performance.now(): the client's own clock may be wrong by hours.

export class ServerClock {
  #aheadMs = null;

  // A frame can only come late, so the largest difference seen is the best one.
  observe(nowMs) {
    const ahead = nowMs - performance.now();
    if (this.#aheadMs === null || ahead > this.#aheadMs) this.#aheadMs = ahead;
  }

  // After a reconnect another machine may be telling the time.
  reset() {
    this.#aheadMs = null;
  }

  msUntil(deadlineMs) {
    if (this.#aheadMs === null) return 0;
    return Math.max(0, deadlineMs - (performance.now() + this.#aheadMs));
  }
}
