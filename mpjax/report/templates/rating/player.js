// Shows a clip frame by frame on a canvas, from sheets that hold its frames side by side.
const REDUCED = matchMedia("(prefers-reduced-motion: reduce)");
const SPEEDS = [0.25, 0.5, 1, 2];

function loadSheets(clip) {
  return Promise.all(clip.sheets.map((source) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(source));
    image.src = source;
  })));
}

class Player {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.find = (name) => root.querySelector(`.${name}`);
    this.label = this.canvas.getAttribute("aria-label");
    this.clip = null;
    this.frame = 0;
    this.speed = 1;
    this.looping = true;
    this.playing = false;
    this.find("play").addEventListener("click", () => this.toggle());
    this.find("back").addEventListener("click", () => this.step(-1));
    this.find("on").addEventListener("click", () => this.step(1));
    this.find("scrub").addEventListener("input", (event) => { this.pause(); this.show(event.target.valueAsNumber - 1); });
    this.find("loop").addEventListener("click", () => this.setLooping(!this.looping));
    root.querySelectorAll(".speed").forEach((button) => button.addEventListener("click", () => this.setSpeed(Number(button.dataset.speed))));
  }

  // Shows a clip from its first frame; resolves when it is visible.
  async load(clip, name) {
    this.pause();
    this.clip = null;
    this.label = name;
    this.root.classList.remove("failed");
    this.root.classList.add("loading");
    this.find("wait").textContent = "Loading the clip …";
    const wanted = this.wanted = clip;
    let sheets;
    try {
      sheets = await loadSheets(clip);
    } catch (error) {
      if (wanted !== this.wanted) return false;
      this.root.classList.add("failed");
      this.find("wait").textContent = `The clip cannot be opened (${error.message.slice(0, 60)}). The folder “clips” must be in the same folder as index.html: unpack and copy the whole folder.`;
      return false;
    }
    if (wanted !== this.wanted) return false; // another clip was requested meanwhile
    this.clip = clip;
    this.sheets = sheets;
    this.canvas.width = clip.width;
    this.canvas.height = clip.height;
    this.canvas.style.aspectRatio = `${clip.width} / ${clip.height}`;
    this.canvas.style.setProperty("--ratio", clip.width / clip.height);
    this.find("scrub").max = clip.frames;
    this.root.classList.remove("loading");
    this.show(0);
    if (!REDUCED.matches) this.play();
    return true;
  }

  show(frame) {
    if (!this.clip) return;
    const clip = this.clip;
    this.frame = ((frame % clip.frames) + clip.frames) % clip.frames;
    const place = this.frame % clip.per_sheet;
    const x = (place % clip.columns) * clip.cell[0];
    const y = Math.floor(place / clip.columns) * clip.cell[1];
    const sheet = this.sheets[Math.floor(this.frame / clip.per_sheet)];
    this.canvas.getContext("2d").drawImage(sheet, x, y, clip.width, clip.height, 0, 0, clip.width, clip.height);
    this.find("scrub").value = this.frame + 1;
    this.find("frame").textContent = `Frame ${this.frame + 1} of ${clip.frames}`;
  }

  play() {
    if (!this.clip || this.playing) return;
    if (!this.looping && this.frame === this.clip.frames - 1) this.show(0);
    this.playing = true;
    this.from = this.frame;
    this.since = null;
    this.request = requestAnimationFrame((now) => this.tick(now));
    this.describe();
  }

  tick(now) {
    if (!this.playing) return;
    this.since ??= now;
    const passed = this.from + Math.floor(((now - this.since) / 1000) * this.clip.fps * this.speed);
    if (!this.looping && passed >= this.clip.frames) {
      this.show(this.clip.frames - 1);
      this.pause();
      return;
    }
    if (passed % this.clip.frames !== this.frame) this.show(passed);
    this.request = requestAnimationFrame((next) => this.tick(next));
  }

  pause() {
    cancelAnimationFrame(this.request);
    this.playing = false;
    this.describe();
  }

  toggle() {
    if (this.playing) this.pause(); else this.play();
  }

  step(by) {
    if (!this.clip) return;
    this.pause();
    this.show(this.frame + by);
    announce(`Frame ${this.frame + 1} of ${this.clip.frames}`);
  }

  setSpeed(speed) {
    const playing = this.playing;
    if (playing) this.pause();
    this.speed = speed;
    this.root.querySelectorAll(".speed").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.speed) === speed)));
    if (playing) this.play();
  }

  changeSpeed(by) {
    const place = SPEEDS.indexOf(this.speed) + by;
    if (place < 0 || place >= SPEEDS.length) return;
    this.setSpeed(SPEEDS[place]);
    announce(`Speed ${this.speed}`);
  }

  setLooping(looping) {
    const playing = this.playing;
    if (playing) this.pause();
    this.looping = looping;
    this.find("loop").setAttribute("aria-pressed", String(looping));
    if (playing) this.play();
  }

  describe() {
    this.root.classList.toggle("playing", this.playing);
    this.find("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.find("play").title = this.playing ? "Pause" : "Play";
    this.canvas.setAttribute("aria-label", `${this.label}, ${this.playing ? "playing" : "paused"}`);
  }
}
