// localStorage that never throws: with storage blocked, things live as long as the page does.

const memory = new Map();

export function load(key) {
  try {
    const text = localStorage.getItem(key);
    if (text !== null) return JSON.parse(text);
  } catch {
    // Blocked, or not ours to read.
  }
  return memory.get(key) ?? null;
}

export function save(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Blocked or full.
  }
}

export function forget(key) {
  memory.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // Blocked.
  }
}
