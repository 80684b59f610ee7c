// Random keys and tokens.

// crypto.randomUUID exists on https and localhost only; phones in a LAN come over plain http.
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// The token in the address's fragment, which browsers send to no server.
export function tokenOfFragment() {
  return new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
}

// What a token says about itself. Only the server can tell whether it is true.
export function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(payload));
  } catch {
    return {};
  }
}
