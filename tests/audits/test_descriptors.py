"""Global descriptors: names, weights from files only, one vector whatever the batch, a cache that mixes nothing up."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.audits.describing import Described, describe
from ethicclip.audits.description.learned import BATCH, LearnedDescriptor, load_descriptor
from ethicclip.audits.description.local import Recipe
from ethicclip.audits.description.names import parse_descriptors
from ethicclip.audits.embedding import EmbeddingCache, embed_pictures, with_embeddings
from ethicclip.audits.ladder import plant
from ethicclip.audits.likeness import CANDIDATES, LikenessSearch
from ethicclip.errors import BadInputError, UsageError
from ethicclip.imaging import Pixels
from ethicclip.progress import SILENT

from .eyes import Images, cohort_of, draw_eye

torch = pytest.importorskip("torch")


class Tiny(torch.nn.Module):
    """A user's own descriptor, made on the spot: coarse colours of a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(3 * 64, 48)
        torch.nn.init.orthogonal_(self.mix.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.mix(torch.nn.functional.adaptive_avg_pool2d(batch, 8).flatten(1))


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "own.pt"
    torch.jit.script(Tiny().eval()).save(str(path))
    return path


def one(text: str, **more: int) -> LearnedDescriptor:
    return load_descriptor(parse_descriptors(text)[0], **more)


@pytest.fixture(scope="module")
def eyes() -> list[Pixels]:
    return [draw_eye(i) for i in range(60)]


@pytest.mark.parametrize("text", ["", "local,local", "sift", "local:x", "timm:", "timm", "torchscript", "open_clip:@f"])
def test_names_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_descriptors(text)
    with pytest.raises(UsageError):
        AuditSettings.build({"descriptor": text})


def test_papers_carry_no_path() -> None:
    settings = AuditSettings.build({"descriptor": "local, timm:vit_tiny_patch16_224@/home/anna/dino.pth"})
    assert settings.descriptor == "local,timm:vit_tiny_patch16_224@/home/anna/dino.pth"
    assert settings.resolved()["descriptor"] == "local,timm:vit_tiny_patch16_224@dino.pth"


def test_the_shipped_descriptor_is_blind_to_mirrors_and_tells_eyes_apart(eyes: list[Pixels]) -> None:
    shipped = one("copy")
    assert shipped.orientations == 1
    plain = np.stack([shipped.prepare(eye) for eye in eyes[:24]])
    mirrored = np.stack([shipped.prepare(np.ascontiguousarray(eye[:, ::-1])) for eye in eyes[:24]])
    first, second = shipped.embed(plain)[:, 0], shipped.embed(mirrored)[:, 0]
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(24), abs=1e-2)
    likeness = first @ second.T
    assert (likeness.argmax(axis=1) == np.arange(24)).all()
    copies = np.stack(
        [shipped.prepare(plant("jpeg50", eye, np.random.default_rng(i))) for i, eye in enumerate(eyes[:24])]
    )
    assert ((shipped.embed(copies)[:, 0] @ first.T).argmax(axis=1) == np.arange(24)).mean() > 0.9


def test_a_vector_does_not_depend_on_its_batch(eyes: list[Pixels], script: Path) -> None:
    for descriptor in (one("copy"), one(f"torchscript:{script}", side=64)):
        inputs = np.stack([descriptor.prepare(eye) for eye in eyes[:BATCH]])
        together = descriptor.embed(inputs)
        alone = np.concatenate([descriptor.embed(inputs[i : i + 1]) for i in (0, 5, 31)])
        assert np.abs(together[[0, 5, 31]] - alone).max() < 2e-3


def test_a_users_own_torchscript_is_used_in_both_orientations(eyes: list[Pixels], script: Path) -> None:
    own = one(f"torchscript:{script}", side=64)
    vectors = own.embed(np.stack([own.prepare(eyes[0]), own.prepare(np.ascontiguousarray(eyes[0][:, ::-1]))]))
    assert vectors.shape == (2, 2, 48)
    assert vectors[0, 0] @ vectors[1, 1] > 0.999
    assert vectors[0, 0] @ vectors[0, 1] < 0.995
    assert own.digest != one(f"torchscript:{script}", side=96).digest


def test_a_users_own_timm_checkpoint_is_used_and_a_wrong_one_refused(eyes: list[Pixels], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False, num_classes=7)
    wrapped = {"state_dict": {f"backbone.{name}": value for name, value in model.state_dict().items()}}
    torch.save(wrapped, tmp_path / "own.pth")
    own = one(f"timm:test_vit@{tmp_path / 'own.pth'}")
    vectors = own.embed(np.stack([own.prepare(eye) for eye in eyes[:2]]))
    assert vectors.shape[:2] == (2, 2)
    torch.save({"head.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(BadInputError, match="do not fit"):
        one(f"timm:test_vit@{tmp_path / 'other.pth'}")
    with pytest.raises(BadInputError, match="no model"):
        one("timm:no_such_net@x")


def test_an_open_clip_folder_is_used(eyes: list[Pixels], tmp_path: Path) -> None:
    from ethicclip.clip import create, save

    save(create("tiny", image_size=64), tmp_path / "run")
    own = one(f"open_clip:{tmp_path / 'run'}")
    assert own.embed(np.stack([own.prepare(eyes[0])])).shape[:2] == (1, 2)


def test_broken_files_and_networks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for text in (f"torchscript:{tmp_path / 'junk.pt'}", f"torchscript:{tmp_path / 'none.pt'}", "open_clip:none"):
        with pytest.raises(BadInputError):
            one(text)
    torch.jit.script(torch.nn.Identity()).save(str(tmp_path / "same.pt"))
    own = one(f"torchscript:{tmp_path / 'same.pt'}", side=32)
    with pytest.raises(BadInputError, match="not one vector"):
        own.embed(np.zeros((1, 3, 32, 32), dtype=np.float32))


def test_the_cache_is_restricted_and_reused_and_never_mixes_pictures_up(
    eyes: list[Pixels], script: Path, tmp_path: Path
) -> None:
    own = one(f"torchscript:{script}", side=64)
    hashes = [f"{i:064x}" for i in range(10)]
    cache = EmbeddingCache(tmp_path / "a")

    def embedded(pictures: list[Pixels], names: list[str], into: EmbeddingCache) -> np.ndarray:
        return embed_pictures(Images(pictures), own, hashes=names, cache=into, what="eyes", workers=2, progress=SILENT)

    first = embedded(eyes[:10], hashes, cache)
    assert (cache.made, cache.reused) == (10, 0)
    file = next((tmp_path / "a").iterdir())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    later = EmbeddingCache(tmp_path / "b", tmp_path / "a")
    again = embedded(eyes[9::-1] + eyes[20:22], [*hashes[9::-1], "a" * 64, "b" * 64], later)
    assert (later.made, later.reused) == (2, 10)
    assert (again[:10] == first[::-1]).all()
    other = EmbeddingCache(tmp_path / "a")
    embed_pictures(
        Images(eyes[:2]), one(f"torchscript:{script}", side=96), hashes=hashes[:2], cache=other, what="e", workers=1,
        progress=SILENT,
    )  # fmt: skip
    assert other.made == 2
    file.write_bytes(b"torn")
    with pytest.raises(BadInputError, match="cannot be read"):
        embedded(eyes[:1], hashes[:1], EmbeddingCache(tmp_path / "a"))


def described(pictures: list[Pixels], own: LearnedDescriptor) -> Described:
    plain = describe(Images(pictures), Recipe(side=128, keypoints=50), what="eyes", workers=1, progress=SILENT)
    return with_embeddings(plain, Images(pictures), [own], what="eyes", workers=1, progress=SILENT)


def test_candidates_come_with_calibrated_evidence(eyes: list[Pixels], script: Path) -> None:
    own = one(f"torchscript:{script}", side=64)
    search = LikenessSearch(own.name, described(eyes, own), np.arange(60), seed=0)
    copies = [np.ascontiguousarray(eyes[3][:, ::-1]), plant("jpeg50", eyes[7], np.random.default_rng(0)), draw_eye(900)]
    queries = described(copies, own)
    barred = np.zeros((3, 60), dtype=np.bool_)
    found = search.propose(queries, barred, mirror=True)
    assert max(found[0], key=found[0].__getitem__) == 3
    assert max(found[1], key=found[1].__getitem__) == 7
    assert min(found[0][3], found[1][7]) > 2
    assert max(found[2].values()) < 2
    assert all(CANDIDATES <= len(row) <= 2 * CANDIDATES for row in found)
    assert 3 not in search.propose(queries, barred, mirror=False)[0] or found[0][3] > search.propose(
        queries, barred, mirror=False
    )[0].get(3, 0.0)
    barred[:, [3, 7]] = True
    hidden = search.propose(queries, barred, mirror=True)
    assert not any(3 in row or 7 in row for row in hidden)


def test_evidence_is_rarity_among_strangers() -> None:
    """Points in eight dimensions: a stranger's nearest distance is worth k decimal orders at most once in 10**k."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1500, 1, 8)).astype(np.float32)
    empty = np.zeros(1500, dtype=np.bool_)
    real = SimpleNamespace(empty=empty, embeddings={"p": points})
    search = LikenessSearch("p", real, np.arange(1500), seed=0)
    fresh = rng.normal(size=(4000, 8)).astype(np.float32)
    from ethicclip.audits.search import nearest

    distances, _ = nearest(search.centred(fresh), search.centred(points[:, 0]), 1)
    worth = np.array([search.evidence(float(distance)) for distance in distances[:, 0]])
    # The tail's upper limits make it cautious: rarer than it says, never more frequent.
    assert 0.005 <= (worth >= 1).mean() <= 0.1
    assert (worth >= 2).mean() <= 0.01
    assert (worth >= 3).mean() <= 0.002


def test_a_learned_descriptor_carries_a_whole_audit_and_its_cache_a_second_one(
    eyes: list[Pixels], script: Path, tmp_path: Path
) -> None:
    reference = cohort_of(tmp_path / "r", eyes[:20], [f"R{i}" for i in range(20)], "reference")
    control = cohort_of(tmp_path / "c", eyes[20:40], [f"C{i}" for i in range(20)], "control")
    synthetic = Images([*eyes[40:50], plant("flip", eyes[2], np.random.default_rng(0))])
    settings = AuditSettings.build(
        {
            "descriptor": f"torchscript:{script}",
            "torchscript_side": 64,
            "side": 192,
            "keypoints": 200,
            "impostor_pictures": 40,
            "required_kinds": ["flip"],
            "power_copies": 4,
            "power_repetitions": 59,
        }
    )
    first = audit_leakage(settings, synthetic, reference, control, tmp_path / "one")
    assert first.verdict == "LEAK"
    ran = {attack["name"]: attack["ran"] for attack in first.document["attacks"]}
    assert ran["global descriptor torchscript:own.pt"]
    assert not ran["votes of local features, upright and mirrored"]
    assert str(tmp_path) not in str(first.document)
    second = audit_leakage(settings, synthetic, reference, control, tmp_path / "two", reuse=tmp_path / "one")
    assert not (tmp_path / "two" / "embeddings").exists()
    assert {**second.document, "files": 0} == {**first.document, "files": 0}
