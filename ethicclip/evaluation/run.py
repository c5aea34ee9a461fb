"""``evaluate``: zero-shot classification of a cohort, scored with intervals by patient, and written down.

What it does not ask itself: whether the model has seen the cohort; `ethicclip.evaluation.contamination` does.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ethicclip import __version__
from ethicclip.evaluation.bootstrap import FEW_PATIENTS, METHOD, Estimate, Resampler, patient_indices
from ethicclip.evaluation.few_shot import few_shot
from ethicclip.evaluation.figures import draw_figures
from ethicclip.evaluation.labels import LabelledRows, label_rows
from ethicclip.evaluation.linear_probe import probe
from ethicclip.evaluation.metrics import Array, Indices, confusion, threshold_at
from ethicclip.evaluation.probe_figures import draw_probes
from ethicclip.evaluation.scoring import Predictions, referable_score, score, to_json
from ethicclip.evaluation.settings import EvaluateSettings
from ethicclip.evaluation.single_statistics import NOTE, baselines, measure
from ethicclip.evaluation.subgroups import bands, subgroup_table
from ethicclip.evaluation.writing import Written, files_of, whole_folder, write_private_table
from ethicclip.evaluation.zero_shot import (
    ClassPrompts,
    ZeroShotModel,
    class_embeddings,
    class_prompts,
    encode_files,
    zero_shot_logits,
)
from ethicclip.files import canonical_json, require_empty_or_absent, sha256_bytes, write_json
from ethicclip.progress import SILENT, Progress
from ethicclip.terms.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort

SCHEMA = "ethicclip/metrics/1"
RUN_SCHEMA = "ethicclip/evaluation-run/1"


class EvaluateResult(Written):
    """What an evaluation found and wrote; the document is metrics.json."""

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return self.document

    def lines(self) -> list[str]:
        """A few lines for a person."""
        found = self.metrics
        counts = found["counts"]
        unit = "patients" if found["patients_known"] else "images taken as patients"
        lines = [f"{counts['images']} images of {counts['patients']} {unit}, {len(found['classes'])} classes"]
        for name in ("balanced_accuracy", "accuracy", "quadratic_kappa", "auroc"):
            if name in found:
                lines.append(f"{name.replace('_', ' ')}: {_shown(found[name])}")
        if found["positive"] is None:
            lines += [f"AUROC {name} against the rest: {_shown(v)}" for name, v in found["auroc_one_vs_rest"].items()]
        for name, single in found.get("single_statistics", {}).get("by_statistic", {}).items():
            lines.append(f"for comparison, balanced accuracy by {name}: {_shown(single['balanced_accuracy'])}")
        if "linear_probe" in found:
            lines.append(f"linear probe, balanced accuracy: {_shown(found['linear_probe']['balanced_accuracy'])}")
        for shots, few in found.get("few_shot", {}).get("shots", {}).items():
            shown = _shown(few["balanced_accuracy"]) if "balanced_accuracy" in few else few["reason"]
            lines.append(f"few-shot probe, {shots} patient(s) a class, balanced accuracy: {shown}")
        aside = {**found["skipped"], **found["left_out"]}
        if aside:
            lines.append("not scored: " + ", ".join(f"{label} {count}" for label, count in aside.items()))
        return lines + [f"note: {caveat}" for caveat in found["caveats"]]


def evaluate(
    settings: EvaluateSettings,
    model: ZeroShotModel,
    cohort: Cohort,
    out: Path,
    *,
    contamination: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Classify the eyes of a cohort by the nearest prompts, and score that against its labels.

    Writes metrics.json, run.json, figures (SVG and PNG) and predictions.csv (readable by its owner only, since it
    names real files) into `out`, all at once or nothing.

    Args:
        settings: What to score and how.
        model: See `ZeroShotModel`; `ethicclip.clip.load` gives one.
        cohort: See `ethicclip.cohorts.read_cohort`.
        out: A folder that is absent or empty.
        contamination: What was found of the model's training eyes in this cohort, for the record
            (`ethicclip.evaluation.contamination`); None where nobody looked.
        progress: Where to report.

    Raises:
        BadInputError: Unknown labels, a missing column, unreadable images, one class only, a folder in use.

    Example:
        >>> evaluate(EvaluateSettings(), load(Path("run")), read_cohort(Path("eyes")), Path("scores"))  # doctest: +SKIP
    """
    require_empty_or_absent(out)
    vocabulary = Vocabulary.read(settings.prompts)
    labels = cohort.column(settings.label_column)
    labelled = label_rows(
        labels, vocabulary, column=settings.label_column, classes=settings.classes, positive=settings.positive
    )
    parts = {
        name: bands([cohort.column(name)[row] for row in labelled.rows], column=name) for name in settings.subgroups
    }
    prompts = class_prompts(labelled.classes, kind=settings.prompt_kind, language=settings.language)
    with whole_folder(out, last="metrics.json") as folder:
        looks: list[Array] = []
        embeddings = encode_files(
            model,
            [cohort.files[row] for row in labelled.rows],
            what=cohort.alias,
            batch_size=settings.batch_size,
            max_side=settings.max_side,
            look=(lambda picture: looks.append(measure(picture))) if settings.single_statistics else None,
            progress=progress,
        )
        vectors = class_embeddings(model, prompts, ensemble=settings.ensemble)
        patients = cohort.patients()
        predictions = predictions_of(
            labelled,
            zero_shot_logits(embeddings, vectors, logit_scale=model.logit_scale),
            patient_indices([patients[row] for row in labelled.rows]),
        )
        resampler = Resampler(
            groups=predictions.groups, resamples=settings.bootstrap, seed=settings.seed, level=settings.confidence
        )
        progress.say(f"resampling {int(predictions.groups.max()) + 1} patients {settings.bootstrap} times")
        found = score(predictions, resampler, specificities=settings.specificities, bins=settings.bins)
        if looks:
            found["single_statistics"] = {
                "note": NOTE,
                "by_statistic": baselines(np.stack(looks), predictions, resampler, seed=settings.seed),
            }
        if settings.linear_probe:
            progress.say("fitting linear probes in patient-disjoint folds")
            found["linear_probe"] = probe(embeddings, predictions, resampler, seed=settings.seed)
        if settings.few_shot:
            progress.say(f"fitting few-shot probes, {settings.few_shot_draws} draws each")
            found["few_shot"] = few_shot(
                embeddings,
                predictions,
                resampler,
                shots=settings.few_shot,
                draws=settings.few_shot_draws,
                seed=settings.seed,
            )
        if parts:
            found["subgroups"] = {name: subgroup_table(predictions, part, resampler) for name, part in parts.items()}
        if settings.figures:
            names = [concept.name() for concept in labelled.classes]
            draw_figures(folder, predictions, found, resampler, names=names, bins=settings.bins)
            if settings.few_shot:
                draw_probes(folder, found, classes=len(names))
        document = _document(settings, model, cohort, labelled, prompts, predictions, found)
        document["contamination"] = None if contamination is None else dict(contamination)
        document["caveats"] += [str(text) for text in (contamination or {}).get("caveats", ())]
        write_json(folder / "metrics.json", document)
        write_json(folder / "run.json", _run(settings, model, cohort, labelled, prompts))
        _write_predictions(folder / "predictions.csv", cohort, labels, labelled, predictions)
    return EvaluateResult(out=out, document=document, files=files_of(out, first="metrics.json"))


def predictions_of(labelled: LabelledRows, logits: Array, groups: Indices) -> Predictions:
    """What a model said about labelled rows.

    Args:
        labelled: The rows and their classes.
        logits: float64 (n, classes).
        groups: Patient index of each row, int64 (n,).
    """
    return Predictions(
        truth=labelled.truth,
        logits=logits,
        groups=groups,
        classes=tuple(concept.id for concept in labelled.classes),
        positive=labelled.positive,
        grades=tuple(int(concept.grade or 0) for concept in labelled.classes) if labelled.graded else None,
        normal=next((place for place, concept in enumerate(labelled.classes) if concept.is_normal), None),
    )


def _document(
    settings: EvaluateSettings,
    model: ZeroShotModel,
    cohort: Cohort,
    labelled: LabelledRows,
    prompts: ClassPrompts,
    predictions: Predictions,
    found: dict[str, Any],
) -> dict[str, Any]:
    classes = predictions.classes
    known = cohort.patient_ids is not None
    counts = confusion(predictions.truth, predictions.predicted, len(classes)).astype(int)
    document = to_json(found)
    document["confusion"] = {
        "rows": "truth",
        "classes": list(classes),
        "counts": counts.tolist(),
        **document["confusion"],
    }
    document["operating_points"] = {
        name: {
            f"{level:g}": {
                "threshold_log_odds": _finite(
                    threshold_at(predictions.truth == index, predictions.margins[:, index], level)
                ),
                "sensitivity": document["sensitivity_at_specificity"][name][f"{level:g}"],
            }
            for level in settings.specificities
        }
        for index, name in enumerate(classes)
    }
    del document["sensitivity_at_specificity"]
    if predictions.referred is not None:
        truth, scores = predictions.referred[predictions.truth], referable_score(predictions)
        document["referable"]["classes"] = [
            name for name, sent in zip(classes, predictions.referred, strict=True) if sent
        ]
        document["referable"]["threshold_log_odds"] = {
            f"{level:g}": _finite(threshold_at(truth, scores, level)) for level in settings.specificities
        }
    return {
        **document,
        "schema": SCHEMA,
        "task": "dr_grades" if labelled.graded else "conditions",
        "cohort": cohort.alias,
        "model": {"name": model.name, "logit_scale": model.logit_scale},
        "label_column": settings.label_column,
        "classes": list(classes),
        "class_names": {concept.id: concept.name(settings.language) for concept in labelled.classes},
        "positive": None if predictions.positive is None else classes[predictions.positive],
        "counts": {
            "images": len(predictions.truth),
            "patients": len(np.unique(predictions.groups)),
            "cohort_images": len(cohort),
            "by_class": {
                name: {"images": int(counts[index].sum()), "patients": int(predictions.patients_of[index])}
                for index, name in enumerate(classes)
            },
        },
        "skipped": dict(labelled.skipped),
        "left_out": dict(labelled.left_out),
        "unit": "patient" if known else "image",
        "patients_known": known,
        "simulated": cohort.simulated,
        "bootstrap": {
            "method": METHOD,
            "resamples": settings.bootstrap,
            "seed": settings.seed,
            "confidence": settings.confidence,
        },
        "prompts_per_class": {c.id: len(texts) for c, texts in zip(prompts.classes, prompts.texts, strict=True)},
        "settings": settings.resolved(),
        "settings_sha256": settings.digest(),
        "caveats": caveats_of(predictions, known=known, simulated=cohort.simulated),
    }


def caveats_of(predictions: Predictions, *, known: bool, simulated: bool) -> list[str]:
    """What a reader of any score on these images has to know."""
    caveats = ["the eyes of this cohort are simulated: no score here speaks of real eyes"] if simulated else []
    if not known:
        caveats.append(
            "patients could not be told apart: every image counts as a patient, so intervals may be too narrow"
        )
    total = len(np.unique(predictions.groups))
    if total < FEW_PATIENTS:
        caveats.append(f"only {total} patient(s): the intervals say little")
    weak = [
        f"{name} ({count})"
        for name, count in zip(predictions.classes, predictions.patients_of, strict=True)
        if count < FEW_PATIENTS
    ]
    if weak:
        caveats.append(f"classes of fewer than {FEW_PATIENTS} patients: {', '.join(weak)}")
    return caveats


def _run(
    settings: EvaluateSettings, model: ZeroShotModel, cohort: Cohort, labelled: LabelledRows, prompts: ClassPrompts
) -> dict[str, Any]:
    return {
        "schema": RUN_SCHEMA,
        "settings": settings.resolved(),
        "settings_sha256": settings.digest(),
        "seed": settings.seed,
        "model": model.name,
        "cohort": cohort.alias,
        "images_sha256": sha256_bytes(canonical_json(list(cohort.subset(labelled.rows).content_hashes()))),
        "prompts": {c.id: list(texts) for c, texts in zip(prompts.classes, prompts.texts, strict=True)},
        "versions": {"ethicclip": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }


def _write_predictions(
    path: Path, cohort: Cohort, labels: list[str], labelled: LabelledRows, predictions: Predictions
) -> None:
    heading = ["file", "label", "class", "prediction", *(f"score_{name}" for name in predictions.classes)]
    rows = [
        [
            str(cohort.files[row]),
            labels[row],
            predictions.classes[predictions.truth[place]],
            predictions.classes[predictions.predicted[place]],
            *(f"{value:.9g}" for value in predictions.probabilities[place]),
        ]
        for place, row in enumerate(labelled.rows)
    ]
    write_private_table(path, heading, rows)


def _finite(value: float) -> float | None:
    # The first threshold of a curve is infinity: no score is high enough.
    return value if np.isfinite(value) else None


def _shown(value: dict[str, Any]) -> str:
    known = ("estimate", "low", "high", "reason")
    return str(Estimate(**{name: value[name] for name in known if name in value}))
