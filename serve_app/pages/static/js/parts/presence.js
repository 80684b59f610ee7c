// How many of the players are connected, for the host.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";

const INTERVAL_MS = 2000;
// Who has just joined is told of a moment later.
const SOON_MS = 900;

export function Connected({ sessionId, token, players }) {
  const [count, setCount] = useState(null);
  useEffect(() => {
    const look = async () => {
      if (document.hidden) return;
      try {
        setCount((await call("GET", `/sessions/${sessionId}/presence`, { token })).participants);
      } catch {
        setCount(null); // nobody knows for the moment, and nothing else depends on it
      }
    };
    const soon = setTimeout(look, count === null ? 0 : SOON_MS);
    const timer = setInterval(look, INTERVAL_MS);
    return () => {
      clearTimeout(soon);
      clearInterval(timer);
    };
  }, [sessionId, token, players]);
  if (count === null || !players) return null;
  // Who has joined a moment ago is in the view before it is counted, who was removed the other way round.
  return html`<span class="host-connected"><b>${Math.min(count, players)}</b> of ${players} connected</span>`;
}
