// A rater's session: their own order of the clips, the answers so far, and the current one.
class Session {
  constructor(rater) {
    Object.assign(this, {
      format: "mpjax.rating_session/1", package: PACKAGE.id, rater, started: new Date().toISOString(),
      order: Session.order(rater), trials: [], current: Session.blank(), undone: 0, sessions: 0,
      examples_seen: 0, version: 0,
    });
  }

  static blank() {
    return { choices: {}, response_ms: 0, revised: 0 };
  }

  // The order depends on the package and the rater's name alone.
  static order(rater) {
    const names = PACKAGE.clips.map((clip) => clip.name);
    return names
      .map((name) => [sha256(`${PACKAGE.id}\n${rater.toLowerCase()}\n${name}`), name])
      .sort((a, b) => (a[0] < b[0] ? -1 : 1))
      .map((pair) => pair[1]);
  }

  // Restores a saved session; null if it is damaged or belongs to another package.
  static parse(text) {
    try {
      const read = JSON.parse(text);
      const whole = read.format === "mpjax.rating_session/1" && read.package === PACKAGE.id
        && read.rater && Array.isArray(read.trials) && read.current && Number.isInteger(read.version);
      return whole ? Object.assign(Object.create(Session.prototype), read) : null;
    } catch { return null; }
  }

  // Continues from an exported file; throws an error that says what is wrong with it.
  static import(text) {
    let read;
    try { read = JSON.parse(text); } catch { throw new Error("This is not an answer file."); }
    if (!read || read.format !== "mpjax.answers/1") throw new Error("This is not an answer file.");
    if (read.package !== PACKAGE.id) throw new Error("These answers belong to another set of clips.");
    const { sha256: sum, ...body } = read;
    if (sha256(canonical(body)) !== sum) throw new Error("This file was changed since it was downloaded.");
    const session = new Session(read.rater);
    for (const name of ["started", "order", "trials", "undone", "sessions", "examples_seen"]) session[name] = read[name];
    session.version = read.trials.length + read.undone;
    return session;
  }

  get done() {
    return this.trials.length === this.order.length;
  }

  get clip() {
    const name = this.order[this.trials.length];
    return PACKAGE.clips.find((clip) => clip.name === name);
  }

  // Adds the current answer to the answers given.
  commit(answer) {
    const { response_ms: ms, revised } = this.current;
    this.trials.push({ clip: this.clip.name, ...answer, response_ms: Math.round(ms), revised });
    this.current = Session.blank();
  }

  // Undoes the last answer and restores its choices. Returns whether there was one.
  undo(choicesOf) {
    const last = this.trials.pop();
    if (!last) return false;
    this.undone += 1;
    this.current = { choices: choicesOf(last), response_ms: last.response_ms, revised: last.revised + 1 };
    return true;
  }

  export() {
    const { package: id, rater, started, order, trials, undone, sessions, examples_seen } = this;
    const body = { format: "mpjax.answers/1", package: id, rater, started, order, trials, undone, sessions, examples_seen };
    body.exported = new Date().toISOString();
    return `${JSON.stringify({ ...body, sha256: sha256(canonical(body)) }, null, 1)}\n`;
  }

  get fileName() {
    const plain = this.rater.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "rater";
    return `answers-${plain}-${this.package.slice(0, 6)}.json`;
  }
}
