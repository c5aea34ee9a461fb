"""Everything that can be drawn on purpose, in one list: rows of the contact sheet and of docs/conditions.md alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ethicclip.generation.captions import example_signs, grammar, write_captions
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.settings import GenerateSettings
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.terms import Condition, dr_grade_name, name

_EYES = 60
"""Eyes of an entry whose signs are counted."""
_LEAST_SHARE = 0.05
"""Signs in fewer of them are left out of the table."""

_STAGES = {
    "early": ("early", "早期"),
    "intermediate": ("intermediate", "中期"),
    "atrophic": ("geographic atrophy", "地图样萎缩"),
    "neovascular": ("neovascular", "湿性"),
}
_OCCLUSIONS = {"branch": ("branch", "分支"), "central": ("central", "中央")}
_DEFECTS = {
    "defocus": ("defocus", "对焦不准"),
    "haze": ("haze", "雾状模糊"),
    "uneven_light": ("uneven light", "光照不均"),
    "dark": ("underexposure", "曝光不足"),
    "unreadable": ("unreadable", "不可判读"),
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to draw: its names and the recipe that asks for it."""

    title: str
    title_zh: str
    recipe: FindingsRecipe
    defect: str = ""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What an entry looks like in words.

    Attributes:
        signs: Wordings of its signs, the commonest first, with the share of eyes that have them; of a defect, its
            wordings.
        caption, caption_zh: Of its first eye.
    """

    entry: Entry
    signs: tuple[str, ...]
    caption: str
    caption_zh: str


def entries() -> tuple[Entry, ...]:
    """All conditions, by grade, stage or type where they have them, then the defects of quality on healthy eyes."""
    both = (Condition.DIABETIC_RETINOPATHY, Condition.DIABETIC_MACULAR_OEDEMA)
    found = [_plain(Condition.NORMAL)]
    found += [
        Entry(
            title=dr_grade_name(grade, "en"),
            title_zh=dr_grade_name(grade, "zh"),
            recipe=FindingsRecipe(conditions=both[:1], dr_grade=grade),
        )
        for grade in range(1, 5)
    ]
    found.append(Entry(title=name(both[1], "en"), title_zh=name(both[1], "zh"), recipe=FindingsRecipe(conditions=both)))
    for condition in Condition:
        if condition is Condition.AGE_RELATED_MACULAR_DEGENERATION:
            found += [_typed(condition, "amd_stage", stage, words) for stage, words in _STAGES.items()]
        elif condition is Condition.RETINAL_VEIN_OCCLUSION:
            found += [_typed(condition, "vein_occlusion", kind, words) for kind, words in _OCCLUSIONS.items()]
        elif condition not in (Condition.NORMAL, *both):
            found.append(_plain(condition))
    normal = {"conditions": [Condition.NORMAL]}
    found += [
        Entry(
            title=f"quality: {words[0]}",
            title_zh=f"图像质量：{words[1]}",
            recipe=FindingsRecipe.build({**normal, "quality": defect}),
            defect=defect,
        )
        for defect, words in _DEFECTS.items()
    ]
    return tuple(found)


def _plain(condition: Condition) -> Entry:
    return Entry(
        title=name(condition, "en"),
        title_zh=name(condition, "zh"),
        recipe=FindingsRecipe(conditions=(condition,)),
    )


def _typed(condition: Condition, field: str, value: str, words: tuple[str, str]) -> Entry:
    return Entry(
        title=f"{name(condition, 'en')}, {words[0]}",
        title_zh=f"{name(condition, 'zh')}（{words[1]}）",
        recipe=FindingsRecipe.build({"conditions": [condition], field: value}),
    )


def describe(entry: Entry, seed: int = 0) -> Described:
    """Count an entry's signs over some of its eyes, and caption the first one; nothing is rendered."""
    good = entry.recipe.quality if entry.recipe.quality != "any" else "good"
    recipe = entry.recipe.model_copy(update={"quality": good})
    engine = PhantomEngine(GenerateSettings(count=_EYES, seed=seed, findings=recipe))
    counts: Counter[str] = Counter()
    wording: dict[str, str] = {}
    captions: dict[str, str] = {}
    for index in range(_EYES):
        eye, photograph = engine.case(index)
        key = (GENERATED, seed, index, Stream.CAPTION)
        for sign, text in example_signs(eye, photograph, "en", stream(*key)).items():
            counts[sign] += 1
            wording.setdefault(sign, text)
        for language in ("en", "zh"):
            if language not in captions:
                texts = write_captions(eye, photograph, language, stream(*key, len(captions)), count=3)
                # The fullest of three: short ones say the diagnosis and no sign.
                captions[language] = max(texts, key=len)
    shares = [(wording[sign], count / _EYES) for sign, count in counts.most_common()]
    shown = [f"{text} ({100 * share:.0f} %)" for text, share in shares if share >= _LEAST_SHARE]
    return Described(
        entry=entry,
        signs=tuple(grammar("en")["quality"][entry.defect] if entry.defect else shown),
        caption=captions["en"],
        caption_zh=captions["zh"],
    )
