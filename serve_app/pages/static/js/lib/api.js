// HTTP calls of the pages. Every failure is an ApiError whose `message` can be shown.

import { ERROR_TEXTS } from "./facts.js";

const RETRY_MS = 1000;
const RETRY_MS_MAX = 8000;
const TIMEOUT_MS = 15000;

export class ApiError extends Error {
  constructor(code, detail, retryable, retryAfterMs = 0) {
    super(ERROR_TEXTS[code] ?? detail);
    this.retryAfterMs = retryAfterMs;
    this.code = code;
    this.detail = detail;
    this.retryable = retryable;
  }
}

export async function call(method, path, { token = "", json, body, timeoutMs = TIMEOUT_MS } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (json !== undefined) headers["content-type"] = "application/json";
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), timeoutMs);
  let response;
  let text;
  try {
    response = await fetch(`/api${path}`, {
      method,
      headers,
      body: json === undefined ? body : JSON.stringify(json),
      signal: stop.signal,
    });
    text = await response.text();
  } catch {
    throw new ApiError("", "The server cannot be reached.", true);
  } finally {
    clearTimeout(timer);
  }
  const data = parse(text);
  if (response.ok) return data;
  const retryable = data?.retryable ?? response.status >= 502;
  throw new ApiError(data?.code ?? "", data?.detail ?? `The server said ${response.status}.`, retryable, retryAfterMs(response));
}

function retryAfterMs(response) {
  return 1000 * (Number.parseInt(response.headers.get("retry-after"), 10) || 0);
}

// What a person is told while the page tries again by itself.
export function waitingText(error) {
  if (error.code === "too_many") return "Many people are joining. Trying again…";
  return error.message.includes("Trying again") ? error.message : `${error.message} Trying again…`;
}

// How long to wait before the next try: what the server asks for, and some more, so that those who were
// refused together do not come back together; longer the more often it was refused.
function pauseMs(error, tries) {
  const spread = Math.min(RETRY_MS * 1.5 ** tries, RETRY_MS_MAX);
  return error.retryAfterMs + spread * (0.3 + 0.7 * Math.random());
}

// Repeat until there is a final word. For requests that may safely arrive twice only.
export async function callUntilAnswered(method, path, options, onWait) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await call(method, path, options);
    } catch (error) {
      if (!error.retryable) throw error;
      onWait?.(error);
      await new Promise((resolve) => setTimeout(resolve, pauseMs(error, tries)));
    }
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
