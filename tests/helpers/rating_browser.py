"""A browser that a test drives, on a rating page opened as a file."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

ABSENT = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
needs_browser = pytest.mark.skipif(bool(ABSENT), reason=f"{' and '.join(ABSENT)} not installed")

# Returns controls below the size of a fingertip (WCAG 2.5.5), texts with too little contrast
# (WCAG 1.4.3), and what of the page does not fit the window, px.
MEASURE = r"""
const all = (selector) => [...document.querySelectorAll(selector)].filter(
  (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length);
const told = (e) => e.outerHTML.slice(0, 90);
const colour = (e, name) => (getComputedStyle(e)[name].match(/[\d.]+/g) ?? []).map(Number);
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) =>
  0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
function behind(e) {
  for (; e; e = e.parentElement) {
    const found = colour(e, "backgroundColor");
    if (found.length === 3 || found[3] > 0) return found;
  }
  return [255, 255, 255];
}
function contrast(e) {
  const pair = [light(colour(e, "color")), light(behind(e))];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}
const text = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
const page = document.documentElement;
return {
  small: all("button, input:not([type=checkbox]), summary, .check, textarea")
    .filter((e) => e.offsetHeight < 44 || e.offsetWidth < 44).map(told),
  pale: all("body *").filter((e) => text(e) && contrast(e) < 4.5).map(told),
  wide: page.scrollWidth - page.clientWidth,
  tall: page.scrollHeight - page.clientHeight,
};"""


class Rater:
    """Headless Chromium with a profile of its own; everything is done by keyboard."""

    def __init__(self, profile, *, width=1200, height=800):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", f"--user-data-dir={profile}",
        ):  # fmt: skip
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.profile = Path(profile)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.resize(width, height)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, folder):
        self.driver.get((folder / "index.html").as_uri())
        self.until("return !document.getElementById('start').hidden")

    def js(self, script):
        return self.driver.execute_script(script)

    def measure(self):
        """Returns what `MEASURE` finds wrong on the screen."""
        # A button that has just been pressed still changes its colour.
        self.until("return document.getAnimations().every((each) => each.playState === 'finished')")
        return self.js(MEASURE)

    def until(self, script, seconds=10):
        """Waits until the script returns something true, and returns it."""
        end = time.monotonic() + seconds
        while not (value := self.js(script)):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.02)
        return value

    def keys(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def tab_to(self, selector):
        """Presses Tab until an element of the selector has the focus."""
        for _ in range(80):
            if self.js(f"return document.activeElement.matches({selector!r})"):
                return
            self.keys("\ue004")
        raise AssertionError(f"Tab does not reach {selector}")

    def shown(self):
        """Waits until the clip at hand can be seen; returns its name and number."""
        self.until(
            "return !document.getElementById('trial').hidden && player.clip === session.clip"
        )
        return self.js("return [session.clip.name, session.trials.length + 1]")

    def answer(self, keys, *, save=True):
        """Types the choices of a trial, and Enter."""
        done = self.js("return session.trials.length")
        self.keys(keys)
        if save:
            self.keys("\ue007")
            self.until(f"return session.trials.length === {done + 1}")

    def kill(self):
        """Ends the browser as a crash would, at once."""
        self.driver.execute_async_script("writing.then(arguments[0])")
        os.kill(int(os.readlink(self.profile / "SingletonLock").rpartition("-")[2]), signal.SIGKILL)
        self.driver.service.stop()

    def complaints(self):
        """Returns what the console tells."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def close(self):
        self.driver.quit()
