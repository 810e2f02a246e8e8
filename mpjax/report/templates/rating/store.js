// Saves a rater's session on this device, twice: localStorage is available everywhere but may write
// seconds late; IndexedDB has written when it reports so, and survives a browser that is killed.
const store = (() => {
  const prefix = `mpjax-rating:${PACKAGE.id}:`;
  let database = null;
  let local = false;

  function request(made) {
    return new Promise((resolve, reject) => {
      made.onsuccess = () => resolve(made.result);
      made.onerror = made.onblocked = () => reject(made.error);
    });
  }

  async function open() {
    try {
      localStorage.setItem(prefix, "");
      localStorage.removeItem(prefix);
      local = true;
    } catch { local = false; }
    try {
      const opening = indexedDB.open("mpjax-rating", 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore("sessions");
      database = await request(opening);
    } catch { database = null; }
    return local || database !== null;
  }

  // Returns whether it is saved: immediately in one store, on disk in the other.
  async function save(session) {
    const name = prefix + session.rater.toLowerCase();
    let kept = false;
    if (local) {
      try { localStorage.setItem(name, JSON.stringify(session)); kept = true; } catch { kept = false; }
    }
    if (database) {
      try {
        const change = database.transaction("sessions", "readwrite", { durability: "strict" });
        change.objectStore("sessions").put(JSON.stringify(session), name);
        await new Promise((resolve, reject) => { change.oncomplete = resolve; change.onabort = change.onerror = reject; });
        kept = true;
      } catch { kept = kept || false; }
    }
    return kept;
  }

  // Returns the newest whole session of every rater of this package.
  async function list() {
    const texts = [];
    if (local) {
      for (let i = 0; i < localStorage.length; i++) {
        if (localStorage.key(i).startsWith(prefix)) texts.push(localStorage.getItem(localStorage.key(i)));
      }
    }
    if (database) {
      try {
        const sessions = database.transaction("sessions").objectStore("sessions");
        texts.push(...await request(sessions.getAll(IDBKeyRange.bound(prefix, `${prefix}\uffff`))));
      } catch { /* the other store has them, or neither does */ }
    }
    const newest = new Map();
    for (const text of texts) {
      const session = Session.parse(text);
      if (!session) continue;
      const name = session.rater.toLowerCase();
      if (!newest.has(name) || newest.get(name).version < session.version) newest.set(name, session);
    }
    return [...newest.values()];
  }

  return { open, save, list };
})();
