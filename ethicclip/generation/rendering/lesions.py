"""Paints lesions, deepest layer first: atrophy and drusen, exudate, blood, membranes, blood before the retina."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ethicclip.generation.findings import Eye, Lesion, Process
from ethicclip.generation.findings import LesionKind as Kind
from ethicclip.generation.rendering.background import Reflectance, blend, tint
from ethicclip.generation.rendering.shapes import flames, region, spots, tangles
from ethicclip.generation.rendering.view import Canvas, Plane, View, norm, smoothstep


@dataclass
class LesionPainter:
    """Holds what all lesions of one picture share; `masks` collects the coverage of each kind, 0 to 1."""

    image: Reflectance
    eye: Eye
    view: View
    random: np.random.Generator
    bands: Plane
    masks: dict[Kind, Plane] = field(default_factory=dict)

    def _note(self, kind: Kind, cover: Plane) -> Plane:
        known = self.masks.get(kind)
        self.masks[kind] = cover if known is None else np.maximum(known, cover)
        return cover

    def under_vessels(self) -> None:
        """What lies in or below the pigment epithelium and the outer retina."""
        for lesion in self.eye.of(Kind.GEOGRAPHIC_ATROPHY, Kind.PATCHY_ATROPHY):
            self._atrophy(lesion)
        for lesion in self.eye.of(Kind.SUBRETINAL_FLUID, Kind.MACULAR_THICKENING):
            cover = self._note(lesion.kind, region(self.view, lesion, self.random, rough=0.12, soft_um=260))
            tint(self.image, cover * np.float32(lesion.strength), (0.03, 0.10, 0.12))
        for lesion in self.eye.of(Kind.NEOVASCULAR_MEMBRANE):
            cover = self._note(lesion.kind, region(self.view, lesion, self.random, rough=0.22, soft_um=220))
            tint(self.image, cover * np.float32(lesion.strength), (-0.24, -0.06, -0.08))
            self._fibrous(cover, 0.6 * lesion.strength)
        for lesion in self.eye.of(Kind.DISCIFORM_SCAR):
            cover = self._note(lesion.kind, region(self.view, lesion, self.random, rough=0.28, soft_um=180))
            self._fibrous(cover, lesion.strength)
            self._clumps(cover, grain_um=330, share=self.random.uniform(-0.2, 0.3))
        self._drusen()
        self._pigment()
        for lesion in self.eye.of(Kind.LACQUER_CRACK):
            self._crack(lesion)
        for lesion in self.eye.of(Kind.SUBRETINAL_HAEMORRHAGE):
            cover = self._note(lesion.kind, region(self.view, lesion, self.random, rough=0.24, soft_um=280))
            cloudy = np.clip(0.75 + 0.22 * self.view.noise(self.random, 500), 0.25, 1.1)
            tint(self.image, cover * cloudy * np.float32(lesion.strength), (-0.46, -0.80, -0.45))

    def over_vessels(self) -> None:
        """What lies in the inner retina and before it."""
        self._laser()
        self._exudates()
        self._cotton_wool()
        self._blood()
        self._hole()
        for lesion in self.eye.of(Kind.EPIRETINAL_MEMBRANE):
            self._membrane(lesion)
        self._new_vessels()
        for lesion in self.eye.of(Kind.PRERETINAL_HAEMORRHAGE):
            self._boat(lesion)
        for lesion in self.eye.of(Kind.VITREOUS_HAEMORRHAGE):
            cover = region(self.view, lesion, self.random, rough=0.4, soft_um=lesion.diameter_um * 0.35)
            cloud = np.clip(0.55 + 0.4 * self.view.noise(self.random, 2200), 0.0, 1.2) * cover
            self._note(lesion.kind, np.clip(cloud, 0, 1))
            tint(self.image, cloud * np.float32(lesion.strength), (-0.40, -0.85, -0.62))

    def _fibrous(self, cover: Plane, strength: float) -> None:
        """Yellowish tissue in granules and flecks, denser inside than at its ragged border."""
        view, random = self.view, self.random
        flecks = np.clip(0.55 + 0.45 * view.noise(random, 420) + 0.3 * view.noise(random, 160), 0, 1.2)
        tissue = smoothstep(0.25, 0.95, cover * flecks)
        target = (random.uniform(0.08, 0.30), random.uniform(0.34, 0.60), random.uniform(0.0, 0.35))
        blend(self.image, tissue * np.float32(0.85 * strength), target)

    def _clumps(self, cover: Plane, *, grain_um: float, share: float) -> None:
        """Black clumps of pigment, here and there within a cover; `share` of it at most."""
        view, random = self.view, self.random
        grains = view.noise(random, grain_um) + np.float32(0.7) * view.noise(random, 2.7 * grain_um)
        grains = grains + np.float32(0.4) * view.noise(random, 0.4 * grain_um)
        limit = 1.3 - 1.6 * share
        black = smoothstep(limit, limit + 0.9, grains) * np.clip(cover, 0, 1)
        tint(self.image, black * np.float32(random.uniform(0.5, 1.0)), (-1.1, -1.25, -0.95))

    def _atrophy(self, lesion: Lesion) -> None:
        view, random = self.view, self.random
        myopic = lesion.kind is Kind.PATCHY_ATROPHY
        whole = region(view, lesion, random, rough=0.17, soft_um=90 if myopic else 140)
        # The border crumbles: granules of pigment epithelium are left standing in it.
        cover = smoothstep(0.3, 0.75, whole * (1 + 0.25 * view.noise(random, 200)))
        self._note(lesion.kind, cover)
        level = random.uniform(0.7, 1.1)
        bare = (0.46 * level, 0.92 * level, random.uniform(0.45, 1.0) * level) if myopic else (0.20, 0.40, 0.18)
        mottled = np.clip(0.84 + 0.16 * view.noise(random, 420), 0, 1)
        blend(self.image, cover * mottled * np.float32(lesion.strength), bare)
        # Where the pigment epithelium is gone the choroid's vessels show.
        shown = np.float32(random.uniform(0.4, 1.4))
        tint(self.image, cover * (self.bands - np.float32(0.25)) * shown, (-0.05, -0.24, -0.2))
        edge = np.clip(4 * view.blur(cover, 150) * (1 - view.blur(cover, 150)), 0, 1)
        tint(self.image, edge * (1 - cover) * np.float32(random.uniform(0.0, 0.6)), (-0.35, -0.45, -0.4))
        self._clumps(np.clip(0.8 * edge + 0.35 * cover, 0, 1), grain_um=420, share=random.uniform(-0.3, 0.25))

    def _drusen(self) -> None:
        drusen = self.eye.of(Kind.DRUSEN)
        if not drusen:
            return
        hard = [item for item in drusen if item.diameter_um < 90]
        soft = [item for item in drusen if item.diameter_um >= 90]
        cover = np.zeros_like(self.bands)
        for group, blur in ((hard, 10), (soft, 30)):
            if group:
                cover = np.maximum(cover, self.view.blur(spots(self.view, group, self.random, 0.18), blur))
        self._note(Kind.DRUSEN, cover)
        warm = self.random.uniform(0.6, 1.3)
        tint(self.image, cover, (0.20 * warm, 0.42, 0.20 / warm))

    def _pigment(self) -> None:
        clumps = self.eye.of(Kind.PIGMENT_CLUMP)
        if not clumps:
            return
        cover = self._note(Kind.PIGMENT_CLUMP, self.view.blur(spots(self.view, clumps, self.random, 0.35), 28))
        tint(self.image, cover, (-0.48, -0.58, -0.45))
        if any(item.process is Process.DEGENERATIVE for item in clumps):
            # The epithelium round the clumps is uneven: thinned here, heaped up there.
            x, y = self.view.grid_um
            reach = np.exp(-((x * x + y * y) / np.float32(1900.0**2)))
            mottle = self.view.noise(self.random, 240) + self.view.noise(self.random, 520)
            tint(self.image, reach * mottle * np.float32(self.random.uniform(0.02, 0.09)), (0.7, 1.0, 0.7))

    def _crack(self, lesion: Lesion) -> None:
        count = 9
        cos, sin = np.cos(lesion.angle_rad), np.sin(lesion.angle_rad)
        along = np.linspace(-0.5, 0.5, count) * lesion.diameter_um
        off = np.cumsum(self.random.normal(0, 0.025 * lesion.diameter_um, count))
        path = np.stack([lesion.x_um + along * cos - off * sin, lesion.y_um + along * sin + off * cos], axis=1)
        canvas = Canvas(self.view)
        canvas.strokes(path[:-1], path[1:], self.random.uniform(40, 90, count - 1), np.full(count - 1, lesion.strength))
        cover = self._note(lesion.kind, self.view.blur(canvas.coverage(), 18))
        tint(self.image, cover, (0.20, 0.42, 0.30))

    def _laser(self) -> None:
        scars = self.eye.of(Kind.LASER_SCAR)
        if not scars:
            return
        cover = self._note(Kind.LASER_SCAR, self.view.blur(spots(self.view, scars, self.random, 0.1), 35))
        tint(self.image, cover, (0.10, 0.30, 0.28))
        centres = [
            Lesion(
                kind=item.kind, process=item.process, x_um=item.x_um, y_um=item.y_um,
                diameter_um=item.diameter_um * 0.45, strength=float(self.random.uniform(0, 1)) ** 2 * item.strength,
            )
            for item in scars
        ]  # fmt: skip
        tint(self.image, self.view.blur(spots(self.view, centres, self.random, 0.3), 25), (-0.5, -0.7, -0.6))

    def _exudates(self) -> None:
        exudates = self.eye.of(Kind.HARD_EXUDATE)
        if exudates:
            cover = self.view.blur(spots(self.view, exudates, self.random, 0.2), 11)
            self._note(Kind.HARD_EXUDATE, cover)
            tint(self.image, cover, (0.38, 0.78, 0.42))

    def _cotton_wool(self) -> None:
        wool = self.eye.of(Kind.COTTON_WOOL_SPOT)
        if wool:
            cover = self.view.blur(spots(self.view, wool, self.random, 0.22), 75)
            cover = np.clip(cover * (1 + 0.15 * self.view.noise(self.random, 150)), 0, 1)
            self._note(Kind.COTTON_WOOL_SPOT, cover)
            tint(self.image, cover, (0.24, 0.52, 0.60))

    def _blood(self) -> None:
        tiny = self.eye.of(Kind.MICROANEURYSM)
        if tiny:
            cover = self._note(Kind.MICROANEURYSM, self.view.blur(spots(self.view, tiny, self.random, 0.05), 8))
            tint(self.image, cover, (-0.26, -0.70, -0.48))
        for kind, blur in ((Kind.DOT_HAEMORRHAGE, 20), (Kind.BLOT_HAEMORRHAGE, 42)):
            lesions = self.eye.of(kind)
            if lesions:
                cover = self._note(kind, self.view.blur(spots(self.view, lesions, self.random, 0.2), blur))
                cloudy = np.clip(0.86 + 0.14 * self.view.noise(self.random, 120), 0.5, 1.1)
                tint(self.image, cover * cloudy, (-0.32, -0.66, -0.45))
        streaks = self.eye.of(Kind.FLAME_HAEMORRHAGE, Kind.DISC_HAEMORRHAGE)
        for kind in (Kind.FLAME_HAEMORRHAGE, Kind.DISC_HAEMORRHAGE):
            own = tuple(item for item in streaks if item.kind is kind)
            if own:
                cover = self._note(kind, flames(self.view, own, self.random))
                tint(self.image, cover, (-0.36, -0.92, -0.62))

    def _hole(self) -> None:
        x, y = self.view.grid_um
        for lesion in self.eye.of(Kind.MACULAR_HOLE):
            distance = norm(x - np.float32(lesion.x_um), y - np.float32(lesion.y_um))
            radius, soft = lesion.diameter_um / 2, max(30.0, 0.6 * self.view.um_per_px)
            inside = self._note(lesion.kind, 1 - smoothstep(radius - soft, radius + soft, distance))
            cuff = (1 - smoothstep(radius * 1.7, radius * 2.5, distance)) * (1 - inside)
            tint(self.image, inside * np.float32(lesion.strength), (-0.10, -0.42, -0.35))
            tint(self.image, cuff * np.float32(lesion.strength), (0.06, 0.16, 0.16))

    def _membrane(self, lesion: Lesion) -> None:
        x, y = self.view.grid_um
        patch = region(self.view, lesion, self.random, rough=0.35, soft_um=lesion.diameter_um * 0.16)
        self._note(lesion.kind, patch)
        turn = np.float32(lesion.angle_rad)
        # Folds run roughly alike, come and go, and pull towards one point: no grating.
        across = -x * np.sin(turn) + y * np.cos(turn) + self.view.noise(self.random, 1500) * np.float32(330)
        phase = across * np.float32(2 * np.pi / self.random.uniform(260, 480)) + self.view.noise(self.random, 700)
        folds = np.sin(phase) * np.clip(0.25 + 0.8 * self.view.noise(self.random, 1000), 0, 1.2)
        sheen = np.clip(0.75 + 0.35 * self.view.noise(self.random, 800), 0.1, 1.3)
        tint(self.image, patch * sheen * np.float32(lesion.strength), (0.06, 0.19, 0.24))
        tint(self.image, patch * folds * np.float32(lesion.strength), (0.03, 0.07, 0.08))

    def _new_vessels(self) -> None:
        for kind, width in ((Kind.IRMA, 20.0), (Kind.NEW_VESSELS_DISC, 19.0), (Kind.NEW_VESSELS_ELSEWHERE, 19.0)):
            lesions = self.eye.of(kind)
            if lesions:
                cover = self._note(kind, tangles(self.view, lesions, self.random, width_um=width))
                tint(self.image, cover, (-0.24, -0.72, -0.52))
                if kind is not Kind.IRMA:
                    # Fibrous tissue grows along with new vessels.
                    for lesion in lesions:
                        veil = region(self.view, lesion, self.random, rough=0.4, soft_um=lesion.diameter_um * 0.3)
                        tint(self.image, veil * np.float32(self.random.uniform(0.0, 0.5) ** 2), (0.15, 0.5, 0.6))

    def _boat(self, lesion: Lesion) -> None:
        x, y = self.view.grid_um
        radius = lesion.diameter_um / 2
        dx = (x - np.float32(lesion.x_um)) / np.float32(np.sqrt(lesion.aspect))
        dy = (y - np.float32(lesion.y_um)) * np.float32(np.sqrt(lesion.aspect))
        rough = self.view.noise(self.random, 1100) * np.float32(0.05 * radius)
        soft = max(80.0, 0.6 * self.view.um_per_px)
        inside = 1 - smoothstep(-soft, soft, norm(dx, dy) - np.float32(radius) + rough)
        # Blood settles: a level on top, the sac's curve below.
        level = smoothstep(-soft, soft, dy + np.float32(0.2 * radius) + rough * np.float32(0.5))
        cover = self._note(lesion.kind, inside * level)
        gradient = np.clip(0.85 + 0.25 * dy / np.float32(radius), 0.6, 1.1)
        tint(self.image, cover * gradient * np.float32(lesion.strength), (-0.46, -1.05, -0.72))
