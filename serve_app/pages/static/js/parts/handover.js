// Hosting on a phone: a code that opens this console there. It lets in whoever scans it, so it is shown
// here alone, and only after it was asked for.

import { html, useState } from "../../vendor/preact-htm.js";
import { call } from "../lib/api.js";
import { Dialog } from "./dialog.js";

export function Handover({ session, onClose }) {
  const [code, setCode] = useState(null);
  const [problem, setProblem] = useState("");
  const show = async () => {
    setProblem("");
    try {
      setCode(await call("POST", `/sessions/${session.claims.sid}/host_codes`, { token: session.credentials.token }));
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<${Dialog} title="Host on your phone" onClose=${onClose}>
    ${code
      ? html`<p>Scan this with your phone’s camera. Both devices can host.</p>
        <svg class="host-code" viewBox="0 0 ${code.size} ${code.size}" role="img" aria-label="QR code that opens the host console">
          <path class="light" d="M0 0h${code.size}v${code.size}H0z" /><path d=${code.path} />
        </svg>`
      : html`<p>Whoever scans the code can host this quiz. Show it only when nobody else sees your screen.</p>`}
    <p class="field-error" role="alert">${problem}</p>
    <div class="dialog-actions">
      ${!code && html`<button class="button primary" onClick=${show}>Show the code</button>`}
      <button class="button" autofocus onClick=${onClose}>${code ? "Done" : "Cancel"}</button>
    </div>
  <//>`;
}
