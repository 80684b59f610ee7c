// One's place in a quiz, kept by PIN: the join key is made before joining, so that a join whose
// answer was lost can be sent again and is still one participant.

import { claimsOf, randomKey } from "./keys.js";
import { load, save } from "./storage.js";

const keyOf = (pin) => `rayquiz.place.${pin}`;

// The place kept for this PIN. PINs are used again: a place of another session is not ours.
export function placeOf(pin, sessionId) {
  const kept = load(keyOf(pin));
  if (kept && (!kept.sessionId || !sessionId || kept.sessionId === sessionId)) return kept;
  return { joinKey: randomKey(), sessionId: sessionId ?? "", nickname: "", token: "" };
}

export function keepPlace(pin, place) {
  const sessionId = place.token ? claimsOf(place.token).sid : place.sessionId;
  save(keyOf(pin), { ...place, sessionId });
}
