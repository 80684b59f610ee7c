// A modal dialog; the browser's own, which keeps the focus inside. It goes back to what opened it.

import { html, useEffect, useRef } from "../../vendor/preact-htm.js";

export function Dialog({ title, onClose, wide, children }) {
  const ref = useRef(null);
  useEffect(() => {
    const opener = document.activeElement;
    const dialog = ref.current;
    dialog.showModal();
    return () => {
      dialog.close(); // as long as it is open, nothing behind it takes the focus
      focusAgain(opener);
    };
  }, []);
  return html`<dialog ref=${ref} class="dialog ${wide ? "wide" : ""}" aria-label=${title} onClose=${onClose}>
    <h2 dir="auto">${title}</h2>
    ${children}
  </dialog>`;
}

// The opener may be gone: whoever was removed has no button any more.
function focusAgain(opener) {
  const isThere = opener?.isConnected && opener !== document.body;
  (isThere ? opener : document.querySelector(".controls button, main button, main a"))?.focus();
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
