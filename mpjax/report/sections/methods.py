"""The methods paragraph: what was done, with the exact n, tests, versions and fingerprints."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax.data.splits import FIXED
from mpjax.formatting import count, join, number
from mpjax.report.sections.answers import SCHEMES, describe_task, incomplete, left_out, mixed_model


def describe(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, str]:
    """Returns paragraphs by heading; `provenance` is what made the predictions, as they note it."""
    parts = {
        "Recordings": _recordings(metrics),
        "Classifier": _classifier(metrics, provenance),
        "Accuracy and its uncertainty": _uncertainty(metrics),
        "Calibration": _calibration((metrics.get("calibration") or {}).get("temperature")),
        "Course of pain": _course(metrics["progression"]),
        "Drug test": _drug(metrics["drug"]),
        "Software": _software(metrics, provenance.get("versions", {})),
    }
    paragraphs = {heading: " ".join(sentences) for heading, sentences in parts.items()}
    return {heading: text for heading, text in paragraphs.items() if text}


def _recordings(metrics: Mapping[str, Any]) -> Iterator[str]:
    n = metrics["n"]
    cages = f" in {count(n['cages'], 'cage')}" if n["cages"] else ""
    yield (
        f"{count(n['clips'], 'clip')} from {count(n['recordings'], 'recording')} of "
        f"{count(n['animals'], 'animal')}{cages} were held out and evaluated."
    )
    yield from incomplete(metrics)


def _classifier(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[str]:
    projector = provenance.get("projector", {})
    name = f" ({projector['name']})" if projector.get("name") else ""
    yield (
        f"A frozen video network{name} computed an embedding of every clip; a classifier (head) "
        f"of {describe_task(metrics['fine'], 'fine')} was trained on the embeddings."
    )
    sides = {part["split"]: part for part in metrics["splits"] if part["fold"] is None}
    group = metrics["group"]
    if metrics["scheme"] == FIXED:
        trained = ", ".join(
            f"{name} {count(sides[name]['animals'], 'animal')}"
            for name in ("train", "val", "test")
            if name in sides
        )
        yield f"Every {group} lies on one side of one fixed split ({trained})."
    else:
        folds = sum(part["split"] == "test" for part in metrics["splits"])
        yield (
            f"{SCHEMES[metrics['scheme']].capitalize()} in {folds} folds: every {group} was "
            f"predicted by a classifier that was trained on none of its clips."
        )
    cages = f" and {metrics['leak']['groups']} cages" if group == "cage" else ""
    yield (
        f"Counted from the table of predictions, {metrics['leak']['animals']} animals{cages} lie "
        "on two sides."
    )
    if "coarse" in metrics:
        yield (
            f"The probability of each of {describe_task(metrics['coarse'], 'coarse')} is the sum "
            "over its classes. A recording's probability is the mean over its clips; an animal's "
            "on a day, the mean over its recordings."
        )


def _uncertainty(metrics: Mapping[str, Any]) -> Iterator[str]:
    boot = metrics["bootstrap"]
    yield (
        f"Intervals are 95 % percentile intervals over {boot['resamples']:,} bootstrap resamples "
        f"of {count(boot['groups'], 'whole ' + boot['unit'])} (seed {boot['seed']})."
    )
    test = metrics["fine"]["recording"].get("permutation", {})
    if "p" in test:
        yield (
            f"Mean-class accuracy was tested by {test['permutations']:,} permutations of the "
            f"classes between {test['unit']}s."
        )


def _calibration(temperature: Mapping[str, Any] | None) -> Iterator[str]:
    if temperature is None:
        return
    if temperature.get("value") is None:
        yield f"Probabilities were not calibrated: {temperature.get('why')}."
        return
    yield (
        "Probabilities were calibrated by temperature scaling (T = "
        f"{number(temperature['value'])}), fitted on {temperature['fitted_on']} "
        f"({count(temperature['animals'], 'animal')}, {count(temperature['clips'], 'clip')}). The "
        "expected calibration error (ECE) is over 10 bins."
    )


def _course(progression: Mapping[str, Any]) -> Iterator[str]:
    if "why" in progression:
        return
    references = sorted(set((progression.get("reference") or {}).values()))
    if references:
        yield (
            f"The pain score of each {progression['unit']} on a day is the mean logit of the "
            "probability of pain (calibrated where that was possible); its excess is over "
            f"{join(references)}. Onset is the first recorded day with an excess above 0 by a "
            "step-down max-t test over the days (two-sided 5 % per condition), the peak the day "
            "of the largest excess; the sets of days cover 95 % of the bootstrap resamples."
        )
    model = progression.get("mixed_model") or {}
    if "formula" in model:
        yield mixed_model(model)


def _drug(drug: Mapping[str, Any]) -> Iterator[str]:
    if "outcome" not in drug:
        return
    outcome = drug["outcome"]
    yield f"Treated animals were never trained on. Scale: {outcome['scale']}."
    yield f"Primary outcome: {str(outcome['primary']).rstrip('.')}."
    yield from _animals(drug)
    contrasts = [row for rows in (drug.get("contrasts") or {}).values() for row in rows]
    tested = [row for row in contrasts if row["value"] is not None]
    tests = sorted({row["method"] for row in tested if row.get("method")})
    if tests:
        yield (f"{count(len(tested), 'contrast')} with vehicle, all reported ({join(tests)}).")
    if missing := len(contrasts) - len(tested):
        yield f"{count(missing, 'contrast')} could not be estimated; the tables give the reasons."
    if drug.get("interaction", {}).get("method"):
        yield f"Drug × pain-type interaction: {drug['interaction']['method']}."
    model = drug.get("mixed_model") or {}
    if "formula" in model:
        yield mixed_model(model)
    elif model.get("why"):
        yield f"No mixed model: {model['why']}."
    yield (
        "Reversal is 100 × (pre − post) / (pre − baseline), minus vehicle's, of the probability of "
        "pain, averaged over all sessions after the dose. Hedges g has the interval of the "
        "noncentral t; the detectable effect is the smallest found with 80 % power at α = 0.05 "
        "with these n."
    )


def _animals(drug: Mapping[str, Any]) -> Iterator[str]:
    """Counts the animals with a session before and after, per condition and arm; the left out."""
    phases: dict[tuple[str, str, str], set[str]] = {}
    for row in drug.get("sessions") or []:
        key = (row["condition"], row["arm"], row["animal"])
        phases.setdefault(key, set()).add(row["phase"])
    sizes: dict[str, dict[str, int]] = {}
    for (condition, arm, _), seen in phases.items():
        arms = sizes.setdefault(condition, {})
        arms[arm] = arms.get(arm, 0) + ({"pre", "post"} <= seen)
    if sizes:
        listed = "; ".join(
            f"{condition}: "
            + ", ".join(f"{arm} {arms[arm]}" for arm in drug.get("arms", arms) if arm in arms)
            for condition, arms in sizes.items()
        )
        yield f"Animals with a session before and after, per arm: {listed}."
    if missing := left_out(drug):
        yield missing
    if "unit" in drug:
        yield f"The unit of the tests is the {drug['unit']}."


def _software(metrics: Mapping[str, Any], versions: Mapping[str, str]) -> Iterator[str]:
    if versions:
        yield ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    yield f"Predictions {metrics['fingerprint']}, schema {metrics['schema']}."
