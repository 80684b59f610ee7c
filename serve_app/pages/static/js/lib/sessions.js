// The operator's sessions, and how a new one is opened.

import { call } from "./api.js";
import { openWithToken } from "./keys.js";
import { load, save } from "./storage.js";

const SETTINGS = "rayquiz.settings";

// One page of them, newest first: {items, next}.
export function pageOfSessions(token, cursor = "") {
  return call("GET", `/sessions${cursor ? `?${new URLSearchParams({ cursor })}` : ""}`, { token });
}

// Open a session and host it here. The settings are remembered for the next one.
export async function playQuiz(token, quizId, settings) {
  const opened = await call("POST", "/sessions", { token, json: { quiz_id: quizId, settings } });
  save(SETTINGS, settings);
  openWithToken("/host", opened.host_token);
}

// How the last one was played in this browser; {} when none was.
export function lastSettings() {
  return load(SETTINGS) ?? {};
}

export async function hostAgain(token, sessionId) {
  const json = { role: "host" };
  const made = await call("POST", `/sessions/${sessionId}/tokens`, { token, json });
  openWithToken("/host", made.token);
}
