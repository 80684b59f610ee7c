// A modal dialog; the browser's own, which keeps the focus inside and gives it back.

import { html, useEffect, useRef } from "../../vendor/preact-htm.js";

export function Dialog({ title, onClose, wide, children }) {
  const ref = useRef(null);
  useEffect(() => {
    ref.current.showModal();
  }, []);
  return html`<dialog ref=${ref} class="dialog ${wide ? "wide" : ""}" aria-label=${title} onClose=${onClose}>
    <h2 dir="auto">${title}</h2>
    ${children}
  </dialog>`;
}

// `actions`: [{label, kind, run}]. Every one closes the dialog. The last one is the way back; it has the
// focus first, so that a key that slipped destroys nothing.
export function Confirm({ title, text, actions, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${text}</p>
    <div class="dialog-actions">
      ${actions.map(({ label, kind, run }, index) => html`<button key=${label} autofocus=${index === actions.length - 1} class="button ${kind ?? ""}" onClick=${() => {
        onClose();
        run?.();
      }}>${label}</button>`)}
    </div>
  <//>`;
}
