// HTTP calls of the pages. Every failure is an ApiError whose `message` can be shown.

import { ERROR_TEXTS } from "./facts.js";

const RETRY_MS = 1500;
const TIMEOUT_MS = 15000;

export class ApiError extends Error {
  constructor(code, detail, retryable) {
    super(ERROR_TEXTS[code] ?? detail);
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
  throw new ApiError(data?.code ?? "", data?.detail ?? `The server said ${response.status}.`, retryable);
}

// Repeat until there is a final word. For requests that may safely arrive twice only.
export async function callUntilAnswered(method, path, options, onWait) {
  for (;;) {
    try {
      return await call(method, path, options);
    } catch (error) {
      if (!error.retryable) throw error;
      onWait?.(error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS * (0.6 + 0.8 * Math.random())));
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
