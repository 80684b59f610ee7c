// What components need from a session and from the browser.

import { useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact-htm.js";

export function useSession(session) {
  const [state, setState] = useState(session.state);
  useEffect(() => session.subscribe(setState), [session]);
  return state;
}

// Milliseconds until a deadline of the server's clock, a few times a second; null without one.
export function useCountdown(clock, deadlineMs) {
  const [, redraw] = useState(0);
  useEffect(() => {
    if (!deadlineMs) return undefined;
    const timer = setInterval(() => redraw((n) => n + 1), 200);
    return () => clearInterval(timer);
  }, [deadlineMs]);
  return deadlineMs ? clock.msUntil(deadlineMs) : null;
}

export function usePrefersStill() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// Size the text of an element so that its content just fits: question and choices of any length
// must be seen whole on a projector, where nobody can scroll. The style sheet asks for it with
// `--fit-max`: how large the text may get.
export function useFit(deps) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return undefined;
    const largest = Number(getComputedStyle(box).getPropertyValue("--fit-max"));
    if (!largest) return undefined;
    const fit = () => {
      let scale = largest;
      do {
        box.style.setProperty("--fit", String(scale));
        scale *= 0.94;
      } while (scale > 0.3 && (box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1));
    };
    fit();
    const observer = new ResizeObserver(fit);
    observer.observe(box);
    document.fonts?.ready.then(fit);
    return () => observer.disconnect();
  }, deps);
  return ref;
}

let shown = false;

// Say something to screen readers. The same words twice are told apart by a space.
export function announce(text) {
  const region = document.getElementById("announcer");
  shown = !shown;
  region.textContent = shown ? text : `${text}\u00a0`;
}

// Move the focus to the heading of a new screen, so that the keyboard goes on from there.
export function useFocusOn(key) {
  const ref = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) ref.current?.focus({ preventScroll: true });
    first.current = false;
  }, [key]);
  return ref;
}
