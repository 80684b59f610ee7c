// An answer that is ticked or typed and not sent yet. The page sends what stands there when time is up;
// what a host closed before that is told as not sent.

import { useEffect, useState } from "../../vendor/preact-htm.js";

// Before the deadline, so that it still arrives in time over a slow network.
const SENT_BEFORE_MS = 1000;

export function isEmptyAnswer({ choices = [], text = "" }) {
  return choices.length === 0 && !text.trim();
}

// The draft of an opening, and how to change it.
export function useDraft(session, question, isOpen) {
  const { opening_no: opening, closes_ms: closesMs } = question;
  const [draft, setDraft] = useState(session.drafts.get(opening) ?? {});
  const keep = (changed) => {
    session.drafts.set(opening, changed);
    setDraft(changed);
  };
  useEffect(() => {
    if (!isOpen || !closesMs || isEmptyAnswer(draft)) return undefined;
    const sendNow = () => {
      session.sentAtEnd.add(opening);
      session.answer(opening, draft);
    };
    const timer = setTimeout(sendNow, session.clock.msUntil(closesMs) - SENT_BEFORE_MS);
    return () => clearTimeout(timer);
  }, [isOpen, closesMs, draft]);
  return [draft, keep];
}
