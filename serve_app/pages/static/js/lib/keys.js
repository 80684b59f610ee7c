// Random keys and tokens.

const LIBRARY = "/library";

// crypto.randomUUID exists on https and localhost only; phones in a LAN come over plain http.
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// The token of this page. It comes in the address's fragment, which browsers send to no server, and
// leaves the address bar at once: whoever sees the screen must not read it. The tab keeps it, so that
// the page can be reloaded.
export function tokenOfPage() {
  const name = location.pathname + location.search;
  const given = takeFragment();
  if (given) keepToken(name, given);
  // A link that is opened while its page is shown loads nothing by itself.
  addEventListener("hashchange", () => {
    const another = takeFragment();
    if (!another) return;
    keepToken(name, another);
    location.reload();
  });
  return given || keptToken(name);
}

// Open a page of ours with a token, without writing it into an address.
export function openWithToken(path, token) {
  keepToken(path, token);
  location.href = path;
}

export function keepToken(path, token) {
  try {
    storeOf(path).setItem(`rayquiz.token.${path}`, token);
  } catch {
    // Blocked: a reload will ask for the link again.
  }
}

function keptToken(path) {
  try {
    return storeOf(path).getItem(`rayquiz.token.${path}`) ?? "";
  } catch {
    return "";
  }
}

// The operator's token stays in the browser until they sign out or it expires: whoever has closed the
// host's tab in mid-quiz must find the way back. All others live as long as their tab.
function storeOf(path) {
  return path === LIBRARY ? localStorage : sessionStorage;
}

// The operator's token where this browser has one, else "".
export function libraryToken() {
  return keptToken(LIBRARY);
}

export function signOut() {
  try {
    localStorage.removeItem(`rayquiz.token.${LIBRARY}`);
  } catch {
    // Blocked: nothing was kept either.
  }
  location.href = "/";
}

// The page of a finished session's results.
export function openResults(sessionId, token) {
  openWithToken(`/results?session=${sessionId}`, token);
}

function takeFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (token) history.replaceState(history.state, "", location.pathname + location.search);
  return token;
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
