// Connects the parts: the visible section, the clock of a trial, the keys.
const $ = (id) => document.getElementById(id);
const SECTIONS = ["start", "examples", "trial", "end"].map($).filter(Boolean);
const player = new Player($("player"));
const examplePlayer = $("example-player") ? new Player($("example-player")) : null;
let session = null;
let keeps = false; // whether this device saves answers
let clock = null; // since when the current clip is in view; null while it is not

function announce(text) {
  $("live").textContent = text;
}

function alarm(text) {
  $("alarm").hidden = !text;
  $("alarm").textContent = text;
}

function show(name) {
  stopClock();
  [player, examplePlayer].forEach((each) => each?.pause());
  SECTIONS.forEach((section) => { section.hidden = section.id !== name; });
  $("headway").hidden = name !== "trial";
  $("pause").hidden = name !== "trial";
  scrollTo(0, 0);
  $(`${name}-title`).focus({ preventScroll: true });
}

// The time for which a clip is in view, without hidden pages and pauses.
function startClock() {
  if (!document.hidden && clock === null) clock = performance.now();
}

function stopClock() {
  if (clock !== null && session) session.current.response_ms += performance.now() - clock;
  clock = null;
}

function tickClock() {
  if (clock === null) return;
  stopClock();
  startClock();
}

let writing = Promise.resolve(true);
function keep() {
  tickClock();
  session.version += 1;
  writing = store.save(session).then((kept) => {
    keeps = kept;
    showKept();
    return kept;
  });
  return writing;
}

function showKept() {
  $("saved").textContent = session && keeps ? "Saved on this device" : "";
  if (session && !keeps) alarm("This browser keeps nothing on this device. Before you close the page, choose Pause and download your answers; you can continue from that file.");
}

async function showTrial() {
  if (session.done) { showEnd(); return; }
  show("trial");
  const number = session.trials.length + 1;
  const total = session.order.length;
  $("trial-title").textContent = `Clip ${number} of ${total}`;
  $("counted").textContent = `${session.trials.length} of ${total}`;
  $("progress").max = total;
  $("progress").value = session.trials.length;
  $("undo").setAttribute("aria-disabled", String(number === 1 && !Object.keys(session.current.choices).length));
  form.set(session.current.choices);
  refresh();
  const clip = session.clip;
  const seen = await player.load(clip, `Clip ${number} of ${total}`);
  if (seen && session && session.clip === clip && !$("trial").hidden) {
    startClock();
    const following = PACKAGE.clips.find((each) => each.name === session.order[number]);
    if (following) loadSheets(following).catch(() => {});
  }
}

function refresh() {
  $("next").setAttribute("aria-disabled", String(!form.complete));
  const start = !session.trials.length && !Object.keys(form.choices).length;
  $("undo").setAttribute("aria-disabled", String(start));
}

const form = new AnswerForm($("answer"), () => {
  session.current.choices = form.choices;
  refresh();
  keep();
});

function saveAndNext() {
  if (!form.complete) {
    announce("Some questions are not answered yet.");
    return;
  }
  if (!player.clip) return; // it is not loaded yet
  stopClock();
  session.commit(form.answer);
  keep();
  announce(session.done ? "Saved. That was the last clip." : `Saved. Clip ${session.trials.length + 1} of ${session.order.length}.`);
  showTrial();
}

function undo() {
  if (form.takeBack()) return;
  stopClock();
  if (!session.undo((answer) => form.choicesOf(answer))) return;
  keep();
  announce(`Back to clip ${session.trials.length + 1}. Its choices are still set.`);
  showTrial();
}

function showEnd() {
  show("end");
  const [done, total] = [session.trials.length, session.order.length];
  const whole = done === total;
  $("end-title").textContent = whole ? `All ${total} clips are rated. Thank you!` : `Paused: ${done} of ${total} clips are rated`;
  $("end-text").textContent = whole
    ? "Please download your answers and send the file to whoever gave you this page."
    : keeps ? "Your answers are saved on this device: you can close the page and continue later. To continue on another device, download them first." : "Download your answers before you close the page; you can continue from that file.";
  $("go-on").textContent = whole ? "Undo the last answer" : "Continue";
  const download = whole || !keeps;
  $("export").classList.toggle("primary", download);
  $("go-on").classList.toggle("primary", !download);
  $(download ? "export" : "go-on").parentElement.prepend($(download ? "export" : "go-on"));
  $("file-name").textContent = session.fileName;
  $("text").value = session.export();
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([$("text").value], { type: "application/json" }));
  link.download = session.fileName;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  announce(`Downloaded as ${session.fileName}.`);
  session.exported = session.version;
}

async function showStart() {
  session = null;
  alarm("");
  showKept();
  const kept = await store.list();
  $("rater").value = "";
  $("kept").hidden = !kept.length;
  $("begin-title").textContent = kept.length ? "Or begin as another rater" : "Begin";
  $("kept-list").replaceChildren(...kept.map((one) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "primary";
    button.textContent = one.done ? `Open the answers of ${one.rater} (all ${one.order.length} rated)`
      : `Continue as ${one.rater} (${one.trials.length} of ${one.order.length} rated)`;
    button.addEventListener("click", () => enter(one));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  show("start");
}

function enter(entered) {
  session = entered;
  session.sessions += 1;
  alarm("");
  keep();
  if (examplePlayer && !session.examples_seen && !session.trials.length) showExamples(); else showTrial();
}

function showExamples() {
  show("examples");
  showExample(0);
}

function showExample(index) {
  const example = PACKAGE.examples[index];
  document.querySelectorAll(".example").forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
  session.examples_seen += 1;
  examplePlayer.load(example, `Example: ${example.shown}`);
}

async function begin(event) {
  event.preventDefault();
  const rater = $("rater").value.replace(/\s+/g, " ").trim();
  if (!rater) return;
  const kept = await store.list();
  enter(kept.find((one) => one.rater.toLowerCase() === rater.toLowerCase()) ?? new Session(rater));
}

async function resume(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  let read;
  try { read = Session.import(await file.text()); } catch (error) { alarm(error.message); return; }
  const kept = (await store.list()).find((one) => one.rater.toLowerCase() === read.rater.toLowerCase());
  const newer = kept && kept.trials.length > read.trials.length;
  enter(newer ? kept : read);
  if (newer) alarm(`This device has more answers of ${kept.rater} than the file. Continuing with the answers on this device.`);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !$("shortcuts").checked || !session) return;
  const target = event.target;
  if (target.matches("input, textarea, select, summary, a")) return;
  const at = !$("trial").hidden ? player : $("examples") && !$("examples").hidden ? examplePlayer : null;
  if (!at) return;
  if (onPlayerKey(event, at) || (at === player && onAnswerKey(event))) event.preventDefault();
}

function onPlayerKey(event, at) {
  const button = event.target.closest("button");
  if (event.key === " ") {
    if (button) return false; // it presses the button
    if (!event.repeat) at.toggle();
  } else if (event.key === "ArrowLeft") at.step(-1);
  else if (event.key === "ArrowRight") at.step(1);
  else if (event.key === "-") at.changeSpeed(-1);
  else if (event.key === "+" || event.key === "=") at.changeSpeed(1);
  else return false;
  return true;
}

function onAnswerKey(event) {
  const button = event.target.closest("button");
  if (event.repeat) return event.key === "Enter" || event.key === "Backspace";
  if (event.key === "Enter") {
    // Enter presses a button; on a choice that is already made, it saves.
    if (button && !(button.matches(".choice[aria-pressed=true]") && form.complete)) return false;
    saveAndNext();
    return true;
  }
  if (event.key === "Backspace") { undo(); return true; }
  return form.press(event.key.toLowerCase());
}

$("begin").addEventListener("submit", begin);
$("resume").addEventListener("change", resume);
$("answer").addEventListener("submit", (event) => { event.preventDefault(); saveAndNext(); });
$("undo").addEventListener("click", undo);
$("pause").addEventListener("click", () => { keep(); showEnd(); });
$("go-on").addEventListener("click", () => { if (session.done) undoLast(); else showTrial(); });
$("leave").addEventListener("click", showStart);
$("export").addEventListener("click", download);
$("again")?.addEventListener("click", showExamples);
$("examples-done")?.addEventListener("click", () => { keep(); showTrial(); });
document.querySelectorAll(".example").forEach((button, index) => button.addEventListener("click", () => showExample(index)));
document.addEventListener("keydown", onKey);
// After a tap or a click, keys go to the page and not to the button.
document.addEventListener("click", (event) => { if (event.detail) event.target.closest("#trial button, #trial .scrub")?.blur(); });
document.addEventListener("visibilitychange", () => {
  if (!session || $("trial").hidden) return;
  if (document.hidden) { stopClock(); keep(); } else if (player.clip) startClock();
});
addEventListener("pagehide", () => { if (session) keep(); });
addEventListener("beforeunload", (event) => {
  if (session && !keeps && session.trials.length && session.exported !== session.version) event.preventDefault();
});
setInterval(() => { if (session && clock !== null) keep(); }, 5000);

function undoLast() {
  form.set({});
  undo();
}

store.open().then((can) => { keeps = can; return showStart(); });
