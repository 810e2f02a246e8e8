"""The methods paragraph: what was done, with the exact n, tests, versions and fingerprints."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax import formatting


def describe(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, str]:
    """Returns the methods as paragraphs under their headings.

    Args:
        metrics: the content of metrics.json.
        provenance: what made the predictions, as their file says.
    """
    parts = {
        "Recordings": " ".join(_recordings(metrics)),
        "Classifier": " ".join(_classifier(metrics, provenance)),
        "Accuracy and its uncertainty": " ".join(_uncertainty(metrics)),
        "Calibration": " ".join(_calibration(metrics.get("calibration") or {})),
        "Course of pain": " ".join(_course(metrics["progression"])),
        "Drug test": " ".join(_drug(metrics["drug"])),
        "Software": " ".join(_software(metrics, provenance)),
    }
    return {heading: text for heading, text in parts.items() if text}


def _recordings(metrics: Mapping[str, Any]) -> Iterator[str]:
    n = metrics["n"]
    cages = f" in {formatting.count(n['cages'], 'cage')}" if n["cages"] else ""
    yield (
        f"{formatting.count(n['clips'], 'clip')} from "
        f"{formatting.count(n['recordings'], 'recording')} of "
        f"{formatting.count(n['animals'], 'animal')}{cages} were held out and evaluated."
    )
    if n["left_out_clips"]:
        yield (
            f"{formatting.count(n['left_out_clips'], 'held-out clip')} of classes that were not "
            f"trained "
            "are not counted."
        )
    if n["padded_clips"]:
        yield (
            f"{formatting.count(n['padded_clips'], 'evaluated clip was', 'evaluated clips were')} "
            "shorter than a clip and padded by repeating the last frame."
        )
    if metrics["exclude"]:
        yield f"Left out of training and of every figure: {formatting.join(metrics['exclude'])}."


def _classifier(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[str]:
    projector = provenance.get("projector", {})
    name = f" ({projector['name']})" if projector.get("name") else ""
    yield (
        f"Clips were turned into features by a frozen video network{name}; a classifier of "
        f"{len(metrics['fine']['classes'])} classes was trained on the features."
    )
    sides = {part["split"]: part for part in metrics["splits"] if part["fold"] is None}
    group = metrics["group"]
    if metrics["scheme"] == "fixed":
        trained = ", ".join(
            f"{name} {formatting.count(sides[name]['animals'], 'animal')}"
            for name in ("train", "val", "test")
            if name in sides
        )
        yield f"Every {group} lies on one side of one fixed split ({trained})."
    else:
        folds = sum(part["split"] == "test" for part in metrics["splits"])
        yield (
            f"{formatting.SCHEMES[metrics['scheme']].capitalize()} in {folds} folds: every "
            f"{group} was "
            f"predicted by a classifier that had seen no clip of it."
        )
    cages = f" and {metrics['leak']['groups']} cages" if group == "cage" else ""
    yield (
        f"Counted from the table of predictions, {metrics['leak']['animals']} animals{cages} lie "
        "on two sides."
    )
    if "coarse" in metrics:
        yield (
            "The probability of a group is the sum over its classes. A recording's probability is "
            "the mean over its clips; an animal's on a day, the mean over its recordings."
        )


def _uncertainty(metrics: Mapping[str, Any]) -> Iterator[str]:
    boot = metrics["bootstrap"]
    yield (
        f"Intervals are 95 % percentile intervals over {boot['resamples']:,} bootstrap resamples "
        f"of {formatting.count(boot['groups'], 'whole ' + boot['unit'])} (seed {boot['seed']})."
    )
    test = metrics["fine"]["recording"].get("permutation", {})
    if "p" in test:
        yield (
            f"Accuracy was tested against {test['permutations']:,} permutations of the classes "
            f"between {test['unit']}s (mean-class accuracy)."
        )


def _calibration(calibration: Mapping[str, Any]) -> Iterator[str]:
    temperature = calibration.get("temperature")
    if temperature is None:
        return
    if temperature.get("value") is None:
        yield f"Probabilities were not calibrated: {temperature.get('why')}."
        return
    yield (
        f"Probabilities were calibrated by temperature scaling (T = "
        f"{formatting.number(temperature['value'])}), fitted on {temperature['fitted_on']} "
        f"({formatting.count(temperature['animals'], 'animal')}, "
        f"{formatting.count(temperature['clips'], 'clip')}). ECE is the expected calibration "
        f"error in "
        "10 bins."
    )


def _course(progression: Mapping[str, Any]) -> Iterator[str]:
    if "why" in progression:
        return
    references = sorted(set((progression.get("reference") or {}).values()))
    if references:
        yield (
            f"The pain score of each {progression['unit']} on a day is the mean logit of the "
            "probability of pain (calibrated where that was possible); its excess is over "
            f"{formatting.join(references)}. Onset is the first recorded day with an excess "
            f"above 0 by "
            "a step-down max-t test over the days (two-sided 5 % per condition), the peak the day "
            "of the largest excess; the sets of days hold 95 % of the bootstrap resamples."
        )
    model = progression.get("mixed_model") or {}
    if "formula" in model:
        sizes = ", ".join(f"{n} {name}" for name, n in model["n"].items() if n)
        yield f"Mixed model: {model['formula']} ({sizes}; {model['method']})."


def _drug(drug: Mapping[str, Any]) -> Iterator[str]:
    if "outcome" not in drug:
        return
    outcome = drug["outcome"]
    yield f"Treated animals were never trained on. Scale: {outcome['scale']}."
    primary = str(outcome["primary"]).rstrip(".")
    yield f"Primary outcome: {primary}."
    yield from _animals(drug)
    contrasts = [row for rows in (drug.get("contrasts") or {}).values() for row in rows]
    tested = [row for row in contrasts if row["value"] is not None]
    tests = sorted({row["method"] for row in tested if row.get("method")})
    if tests:
        yield (
            f"{formatting.count(len(tested), 'contrast')} against vehicle, all reported "
            f"({formatting.join(tests)})."
        )
    if len(tested) < len(contrasts):
        missing = formatting.count(len(contrasts) - len(tested), "contrast")
        yield f"{missing} could not be estimated; the tables say why."
    if drug.get("interaction", {}).get("method"):
        yield f"Drug × pain-type interaction: {drug['interaction']['method']}."
    model = drug.get("mixed_model") or {}
    if "formula" in model:
        sizes = ", ".join(f"{n} {name}" for name, n in model["n"].items() if n)
        yield f"Mixed model: {model['formula']} ({sizes}; {model['method']})."
    elif model.get("why"):
        yield f"No mixed model: {model['why']}."
    yield (
        "Reversal is 100 × (pre − post) / (pre − baseline), minus vehicle's, of the probability of "
        "pain, averaged over all sessions after the dose. Hedges g has the interval of the "
        "noncentral t; the detectable effect is the smallest found with 80 % power at α = 0.05 "
        "with these n."
    )


def _animals(drug: Mapping[str, Any]) -> Iterator[str]:
    """Tells the animals with a session before and after, per condition and arm; the left out."""
    phases: dict[str, dict[str, dict[str, set[str]]]] = {}
    for row in drug.get("sessions") or []:
        arms = phases.setdefault(row["condition"], {})
        arms.setdefault(row["arm"], {}).setdefault(row["animal"], set()).add(row["phase"])
    if phases:
        listed = "; ".join(
            f"{condition}: "
            + ", ".join(
                f"{arm} {sum({'pre', 'post'} <= seen for seen in arms[arm].values())}"
                for arm in drug.get("arms", arms)
                if arm in arms
            )
            for condition, arms in phases.items()
        )
        yield f"Animals with a session before and after, per arm: {listed}."
    if left_out := formatting.left_out(drug):
        yield left_out
    if "unit" in drug:
        yield f"The unit of the tests is the {drug['unit']}."


def _software(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Iterator[str]:
    versions = provenance.get("versions", {})
    if versions:
        yield ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    yield f"Predictions {metrics['fingerprint']}, schema {metrics['schema']}."
