"""``compare``: two models, or two languages, on the same eyes: paired differences and how alike they see.

Both models answer for the same images, and every difference is estimated on the same resampled patients. What it does
not say: which model is better anywhere else than on this cohort.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ethicclip import __version__
from ethicclip.errors import BadInputError
from ethicclip.evaluation.bootstrap import METHOD, Estimate, Resampler, patient_indices
from ethicclip.evaluation.compare_figures import draw_comparison
from ethicclip.evaluation.labels import LabelledRows, label_rows
from ethicclip.evaluation.paired import DIFFERENCE, SIDES, paired_scores
from ethicclip.evaluation.representations import METHOD as JACKKNIFE
from ethicclip.evaluation.representations import Reference, compare_representations
from ethicclip.evaluation.run import caveats_of, predictions_of
from ethicclip.evaluation.scoring import Predictions
from ethicclip.evaluation.settings import CompareSettings
from ethicclip.evaluation.writing import Written, files_of, whole_folder, write_private_table
from ethicclip.evaluation.zero_shot import (
    Embeddings,
    ZeroShotModel,
    class_embeddings,
    class_prompts,
    encode_files,
    zero_shot_logits,
)
from ethicclip.files import require_empty_or_absent, write_json
from ethicclip.progress import SILENT, Progress
from ethicclip.terms.conditions import LANGUAGES, Language
from ethicclip.terms.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ethicclip.cohorts import Cohort

SCHEMA = "ethicclip/comparison/1"
MAIN_SCORES = ("balanced_accuracy", "accuracy", "macro_f1", "quadratic_kappa", "auroc")


class CompareResult(Written):
    """What a comparison found and wrote; the document is comparison.json."""

    def lines(self) -> list[str]:
        """A table for a person."""
        found = self.document
        counts, names = found["counts"], found["models"]
        unit = "patients" if found["patients_known"] else "images taken as patients"
        lines = [
            f"a: {names['a']['name']}, b: {names['b']['name']}",
            f"{counts['images']} images of {counts['patients']} {unit}, {len(found['classes'])} classes",
            *_rows(found["scores"]),
        ]
        same = found["agreement"]["same_prediction"]
        lines.append(f"same prediction: {_shown(same)}")
        alike = found["representations"]
        if "reason" in alike:
            lines.append(f"representations: {alike['reason']}")
        else:
            for name, title in (("cka", "CKA"), ("neighbour_overlap", "neighbour overlap")):
                lines.append(f"{title}: {_shown(alike[name]['value'])}{_beside(alike[name])}")
        for side, one in found["languages"].items():
            if "reason" in one:
                lines.append(f"languages of {side}: {one['reason']}")
                continue
            lines.append(f"languages of {side}, en against zh:")
            lines += [f"  {row}" for row in _rows(one["scores"], sides=("en", "zh"), difference="zh_minus_en")]
        return lines + [f"note: {caveat}" for caveat in found["caveats"]]


def compare(
    settings: CompareSettings,
    first: ZeroShotModel,
    second: ZeroShotModel,
    cohort: Cohort,
    out: Path,
    *,
    names: tuple[str, str] | None = None,
    contamination: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> CompareResult:
    """Classify the eyes of a cohort by both models and compare what they say and how they see.

    Writes comparison.json, figures (SVG and PNG) and predictions.csv (readable by its owner only) into `out`, all at
    once or nothing.

    Args:
        settings: What to score and how.
        first: Called a.
        second: Called b; the same model may be given twice, to compare the languages of its prompts.
        cohort: See `ethicclip.cohorts.read_cohort`.
        out: A folder that is absent or empty.
        names: What to call a and b; the models' own names by default, which two runs of one config share.
        contamination: By side, what was found of the model's training eyes in this cohort, for the record
            (`ethicclip.evaluation.contamination`).
        progress: Where to report.

    Raises:
        BadInputError: Unknown labels, a missing column, unreadable images, one class only, a folder in use.

    Example:
        >>> compare(
        ...     CompareSettings(), load(Path("run-real")), load(Path("run-phantoms")), read_cohort(Path("eyes")),
        ...     Path("comparison"),
        ... )  # doctest: +SKIP
    """
    require_empty_or_absent(out)
    labels = cohort.column(settings.label_column)
    labelled = label_rows(
        labels,
        Vocabulary.read(settings.prompts),
        column=settings.label_column,
        classes=settings.classes,
        positive=settings.positive,
    )
    patients = cohort.patients()
    groups = patient_indices([patients[row] for row in labelled.rows])
    resampler = Resampler(groups=groups, resamples=settings.bootstrap, seed=settings.seed, level=settings.confidence)
    models = dict(zip(SIDES, (first, second), strict=True))
    called = dict(zip(SIDES, names or (first.name, second.name), strict=True))
    seen = {
        side: encode_files(
            model,
            [cohort.files[row] for row in labelled.rows],
            what=cohort.alias,
            batch_size=settings.batch_size,
            max_side=settings.max_side,
            progress=progress,
        )
        for side, model in (models.items() if first is not second else (("a", first),))
    }
    seen.setdefault("b", seen["a"])

    def asked(side: str, language: Language) -> tuple[Predictions, Any]:
        prompts = class_prompts(labelled.classes, kind=settings.prompt_kind, language=language)
        vectors = class_embeddings(models[side], prompts, ensemble=settings.ensemble)
        logits = zero_shot_logits(seen[side], vectors, logit_scale=models[side].logit_scale)
        return predictions_of(labelled, logits, groups), vectors

    spoken = class_prompts(labelled.classes, kind=settings.prompt_kind, language=settings.language)
    progress.say(f"resampling {int(groups.max()) + 1} patients {settings.bootstrap} times")
    said = {side: asked(side, settings.language)[0] for side in SIDES}
    scores = paired_scores(said["a"], said["b"], resampler)
    agreement = scores.pop("agreement")
    progress.say(f"comparing representations, {settings.permutations} permutations each")
    alike = compare_representations(
        seen["a"],
        seen["b"],
        groups,
        labelled.truth,
        count=settings.neighbours,
        permutations=settings.permutations,
        seed=settings.seed,
        level=settings.confidence,
    )
    languages: dict[str, Any] = {}
    if settings.languages:
        for side in SIDES if first is not second else ("a",):
            languages[side] = _languages(asked, side, labelled, resampler)
    known = cohort.patient_ids is not None
    found = {"scores": scores, "agreement": agreement, "representations": alike, "languages": languages}
    document = {
        "schema": SCHEMA,
        "cohort": cohort.alias,
        "models": {
            side: {
                "name": called[side],
                "config": model.name,
                "logit_scale": model.logit_scale,
                "embed_dim": int(seen[side].shape[1]),
            }
            for side, model in models.items()
        },
        "label_column": settings.label_column,
        "classes": [concept.id for concept in labelled.classes],
        "class_names": {concept.id: concept.name(settings.language) for concept in labelled.classes},
        "positive": None if labelled.positive is None else labelled.classes[labelled.positive].id,
        "counts": {
            "images": len(groups),
            "patients": int(groups.max()) + 1,
            "cohort_images": len(cohort),
            "by_class": {
                concept.id: {
                    "images": int((labelled.truth == index).sum()),
                    "patients": int(said["a"].patients_of[index]),
                }
                for index, concept in enumerate(labelled.classes)
            },
        },
        "prompts": {c.id: list(texts) for c, texts in zip(spoken.classes, spoken.texts, strict=True)},
        "skipped": dict(labelled.skipped),
        "left_out": dict(labelled.left_out),
        "unit": "patient" if known else "image",
        "patients_known": known,
        "simulated": cohort.simulated,
        **{name: _plain(value) for name, value in found.items()},
        "methods": {"scores": METHOD, "representations": JACKKNIFE},
        "bootstrap": {
            "resamples": settings.bootstrap,
            "seed": settings.seed,
            "confidence": settings.confidence,
        },
        "contamination": None if contamination is None else dict(contamination),
        "settings": settings.resolved(),
        "settings_sha256": settings.digest(),
        "versions": {"ethicclip": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "caveats": _caveats(said, seen, known=known, simulated=cohort.simulated, contamination=contamination),
    }
    with whole_folder(out, last="comparison.json") as folder:
        if settings.figures:
            draw_comparison(
                folder,
                found,
                names=called,
                classes={concept.id: concept.name() for concept in labelled.classes},
                positive=labelled.positive is not None,
            )
        write_json(folder / "comparison.json", document)
        _write_predictions(folder / "predictions.csv", cohort, labels, labelled, said)
    return CompareResult(out=out, document=document, files=files_of(out, first="comparison.json"))


def _languages(asked: Any, side: str, labelled: LabelledRows, resampler: Resampler) -> dict[str, Any]:
    """One model asked in English and in Chinese: paired scores, and how near each class's two vectors lie."""
    answers: dict[Literal["en", "zh"], Any] = {}
    for language in LANGUAGES:
        try:
            answers[language] = asked(side, language)
        except BadInputError as error:
            # A prompts file may speak one language; that is a reason, not a failure.
            return {"reason": error.what}
    scores = paired_scores(answers["en"][0], answers["zh"][0], resampler)
    agreement = scores.pop("agreement")
    vectors = [answers[language][1] for language in LANGUAGES]
    cosines = (vectors[0] * vectors[1]).sum(axis=1) / np.prod([np.linalg.norm(v, axis=1) for v in vectors], axis=0)
    return {
        "scores": _renamed(scores, {"a": "en", "b": "zh", DIFFERENCE: "zh_minus_en"}),
        "agreement": _renamed(agreement, {"only_a_right": "only_en_right", "only_b_right": "only_zh_right"}),
        "cosine_of_class_vectors": {
            concept.id: float(cosine) for concept, cosine in zip(labelled.classes, cosines, strict=True)
        },
    }


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {names.get(key, key): _renamed(item, names) for key, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate | Reference):
        return value.to_json()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _caveats(
    said: Mapping[str, Predictions],
    seen: Mapping[str, Embeddings],
    *,
    known: bool,
    simulated: bool,
    contamination: Mapping[str, Any] | None,
) -> list[str]:
    caveats = caveats_of(said["a"], known=known, simulated=simulated)
    if seen["a"].shape == seen["b"].shape and np.array_equal(seen["a"], seen["b"]):
        caveats.append("both models embed these images alike: they differ in words at most")
    for side, one in (contamination or {}).items():
        caveats += [f"{side}: {text}" for text in one["caveats"]]
    return caveats


def _write_predictions(
    path: Path, cohort: Cohort, labels: list[str], labelled: LabelledRows, said: Mapping[str, Predictions]
) -> None:
    classes = [concept.id for concept in labelled.classes]
    heading = ["file", "label", "class"]
    for side in SIDES:
        heading += [f"prediction_{side}", *(f"score_{side}_{name}" for name in classes)]
    rows = []
    for place, row in enumerate(labelled.rows):
        cells = [str(cohort.files[row]), labels[row], classes[labelled.truth[place]]]
        for side in SIDES:
            cells.append(classes[said[side].predicted[place]])
            cells += [f"{value:.9g}" for value in said[side].probabilities[place]]
        rows.append(cells)
    write_private_table(path, heading, rows)


def _rows(scores: Mapping[str, Any], *, sides: tuple[str, str] = SIDES, difference: str = DIFFERENCE) -> list[str]:
    chosen = [(name.replace("_", " "), scores[name]) for name in MAIN_SCORES if name in scores]
    if "auroc" not in scores:
        chosen += [(f"AUROC {name}", value) for name, value in scores["auroc_one_vs_rest"].items()]
    return [
        f"{title}: {_shown(value[sides[0]])} {sides[0]}, {_shown(value[sides[1]])} {sides[1]}; "
        f"difference {_shown(value[difference])}"
        for title, value in chosen
    ]


def _beside(measure: Mapping[str, Any]) -> str:
    words = []
    for name, title in (("unrelated", "unrelated"), ("same_label", "by labels alone")):
        reference = measure[name]
        if reference is not None:
            words.append(f"{title} {reference['mean']:.3f} (p {reference['p_value']:.3g})")
    return f"; {', '.join(words)}" if words else ""


def _shown(value: Mapping[str, Any]) -> str:
    known = ("estimate", "low", "high", "reason")
    return str(Estimate(**{name: value[name] for name in known if name in value}))
