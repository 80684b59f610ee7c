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
  if (response.ok) return parse(text);
  throw refusal(response, text);
}

// A file of any length, as a Blob. It may take its time as long as something of it arrives.
async function fetchFile(path, type, { token }) {
  const stop = new AbortController();
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
  };
  const watch = new TransformStream({
    transform(part, file) {
      wait();
      file.enqueue(part);
    },
  });
  let response;
  let file;
  wait();
  try {
    response = await fetch(`/api${path}`, { headers: { authorization: `Bearer ${token}` }, signal: stop.signal });
    file = await new Response(response.body.pipeThrough(watch)).blob(); // fails when it does not come whole
  } catch {
    throw new ApiError("", "The server cannot be reached.", true);
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) throw refusal(response, await file.text());
  if (!response.headers.get("content-type").startsWith(type)) {
    // While the server is being updated, one of the version before may answer.
    throw new ApiError("", "The server is being updated.", true);
  }
  return new Blob([file], { type });
}

function refusal(response, text) {
  const data = parse(text);
  const retryable = data?.retryable ?? response.status >= 502;
  return new ApiError(data?.code ?? "", data?.detail ?? `The server said ${response.status}.`, retryable, retryAfterMs(response));
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
export function callUntilAnswered(method, path, options, onWait) {
  return untilAnswered(() => call(method, path, options), onWait);
}

export function fetchUntilAnswered(path, type, options, onWait) {
  return untilAnswered(() => fetchFile(path, type, options), onWait);
}

async function untilAnswered(ask, onWait) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
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
