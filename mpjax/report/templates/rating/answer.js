// The questions of a trial: the choices, the active question, and the answer.
class AnswerForm {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.questions = [...root.querySelectorAll(".question")];
    this.choices = {};
    this.active = 0;
    this.questions.forEach((question, index) => {
      question.addEventListener("click", (event) => {
        const button = event.target.closest(".choice");
        if (button && button.getAttribute("aria-disabled") !== "true") this.choose(index, button);
      });
      question.addEventListener("focusin", () => { this.active = index; this.mark(); });
    });
  }

  id(index) {
    return this.questions[index].dataset.question;
  }

  buttons(index) {
    return [...this.questions[index].querySelectorAll(".choice")];
  }

  get complete() {
    return this.questions.every((_, index) => this.id(index) in this.choices);
  }

  set(choices) {
    this.choices = { ...choices };
    this.active = this.firstOpen();
    this.mark();
  }

  firstOpen() {
    const open = this.questions.findIndex((_, index) => !(this.id(index) in this.choices));
    return open < 0 ? this.questions.length - 1 : open;
  }

  choose(index, button) {
    const id = this.id(index);
    this.choices[id] = button.dataset.value;
    if (id === "condition" && !this.dayExists(this.choices.day)) delete this.choices.day;
    this.active = this.complete ? index : this.firstOpen();
    this.mark();
    this.changed();
    if (this.complete) announce("All answered. Enter saves.");
  }

  // Chooses by key in the active question; returns whether there is such a choice.
  press(key) {
    const button = this.buttons(this.active).find((each) => each.dataset.key === key);
    if (!button || button.getAttribute("aria-disabled") === "true") return false;
    this.choose(this.active, button);
    return true;
  }

  // Undoes the last choice; returns whether there was one.
  takeBack() {
    const chosen = this.questions.map((_, index) => index).filter((index) => this.id(index) in this.choices);
    if (!chosen.length) return false;
    this.active = chosen[chosen.length - 1];
    delete this.choices[this.id(this.active)];
    this.mark();
    this.changed();
    return true;
  }

  dayExists(day) {
    const { condition } = this.choices;
    return condition === undefined || PACKAGE.fine.includes(`${condition}@d${day}`);
  }

  mark() {
    this.questions.forEach((question, index) => {
      const id = this.id(index);
      question.classList.toggle("active", index === this.active && !this.complete);
      this.buttons(index).forEach((button) => {
        button.setAttribute("aria-pressed", String(this.choices[id] === button.dataset.value));
        if (id === "day") button.setAttribute("aria-disabled", String(!this.dayExists(button.dataset.value)));
      });
    });
  }

  // The answer as it is exported.
  get answer() {
    const { coarse = null, condition, day, confidence } = this.choices;
    const fine = condition === undefined ? this.choices.fine : `${condition}@d${day}`;
    return { coarse, fine, confidence: Number(confidence) };
  }

  // The choices that make up an answer.
  choicesOf({ coarse, fine, confidence }) {
    const choices = { confidence: String(confidence) };
    if (coarse !== null) choices.coarse = coarse;
    const [, condition, day] = PACKAGE.days ? fine.match(/^(.+)@d(-?\d+)$/s) : [];
    return PACKAGE.days ? { ...choices, condition, day } : { ...choices, fine };
  }
}
