"""Phantoms: the same for the same seed, lungs and lesions as dense and as large as real ones, diagnoses that differ."""

from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from rounds.demo.phantoms import Diagnosis, Phantom, Style, make_phantom

SPACING = (6.0, 4.5, 4.5)
SHAPE = (22, 72, 72)
SEEDS = range(16)


@lru_cache(maxsize=128)
def phantom(seed: int, diagnosis: Diagnosis) -> Phantom:
    """Draw a small phantom once."""
    return make_phantom(seed, diagnosis, SPACING, SHAPE)


def both_sides(one: Phantom) -> float:
    """Return the share of the lesion on the less affected side."""
    left = float((np.nonzero(one.lesion)[2] > (SHAPE[2] - 1) / 2).mean())
    return min(left, 1 - left)


def test_the_same_seed_draws_the_same_scan_and_another_seed_another() -> None:
    again = make_phantom(3, "covid", SPACING, SHAPE)
    assert np.array_equal(again.hu, phantom(3, "covid").hu)
    assert np.array_equal(again.lesion, phantom(3, "covid").lesion)
    assert (again.hu != phantom(4, "covid").hu).mean() > 0.5


def test_arrays_have_the_asked_shape_and_types() -> None:
    one = phantom(3, "covid")
    assert one.hu.shape == one.lesion.shape == one.lung.shape == SHAPE
    assert [a.dtype.name for a in (one.hu, one.lesion, one.lung)] == ["int16", "uint8", "uint8"]
    assert one.hu.min() >= -1024
    assert not (one.lesion > one.lung).any()


def test_healthy_lungs_are_near_minus_860_and_their_body_is_not() -> None:
    for seed in SEEDS:
        one = phantom(seed, "healthy")
        assert not one.lesion.any()
        inner = ndimage.binary_erosion(one.lung)
        assert -910 < np.median(one.hu[inner]) < -820
    corner = one.hu[:, :4, :4]
    assert np.median(corner) < -980
    assert (one.hu > 300).mean() > 0.003  # bone


def test_lungs_have_the_volume_and_the_sides_of_a_chest() -> None:
    one = phantom(1, "healthy")
    litres = one.lung.sum() * np.prod(SPACING) / 1e6
    assert 1.0 < litres < 5.0
    half = SHAPE[2] // 2
    assert 0.4 < one.lung[:, :, :half].sum() / one.lung.sum() < 0.65


def test_lesion_volumes_stay_within_those_of_real_lesions() -> None:
    volumes = [phantom(seed, d).lesion_ml for seed in SEEDS for d in ("covid", "other")]
    assert min(volumes) >= 0.4
    assert max(volumes) <= 600
    assert max(volumes) > 10 * min(volumes)


def test_covid_is_ground_glass_on_both_sides_in_more_pieces() -> None:
    covid, other = ([phantom(seed, d) for seed in SEEDS] for d in ("covid", "other"))
    median = [float(np.median(one.hu[one.lesion > 0])) for one in covid]
    assert -700 < np.median(median) < -400
    assert np.mean([both_sides(one) > 0.1 for one in covid]) > np.mean(
        [both_sides(one) > 0.1 for one in other]
    )
    pieces = [[ndimage.label(one.lesion)[1] for one in group] for group in (covid, other)]
    assert np.median(pieces[0]) > np.median(pieces[1])


def test_no_single_look_tells_the_diagnoses_apart() -> None:
    density = {
        d: [np.median(p.hu[p.lesion > 0]) for p in (phantom(s, d) for s in SEEDS)] for d in ("covid", "other")
    }
    wins = np.mean(np.array(density["covid"])[:, None] < np.array(density["other"])[None, :])
    assert 0.55 < wins < 0.97


def test_other_disease_has_several_forms() -> None:
    assert {phantom(seed, "other").finding for seed in SEEDS} == {"lobar", "bronchial", "mass", "viral"}


def test_a_sharp_noisy_scanner_is_noisier_and_an_offset_moves_all() -> None:
    soft = make_phantom(5, "healthy", SPACING, SHAPE, Style(noise=8, kernel=-0.5))
    sharp = make_phantom(5, "healthy", SPACING, SHAPE, Style(noise=40, kernel=0.8))
    air = (slice(None), slice(0, 8), slice(0, 8))
    assert sharp.hu[air].astype(float)[sharp.hu[air] > -1024].std() > soft.hu[air].astype(float).std()
    moved = make_phantom(5, "healthy", SPACING, SHAPE, Style(noise=8, kernel=-0.5, offset=10))
    inside = soft.lung > 0
    assert np.median(moved.hu[inside] - soft.hu[inside]) == pytest.approx(10, abs=1)


def test_thin_slices_show_the_same_patient() -> None:
    thick = make_phantom(6, "covid", (2.5, 4.5, 4.5), (36, 72, 72))
    thin = make_phantom(6, "covid", (1.25, 4.5, 4.5), (72, 72, 72))
    assert thin.hu.shape == (72, 72, 72)
    assert thin.lesion_ml == pytest.approx(thick.lesion_ml, rel=0.15)
    assert (thin.lung[::2] == thick.lung).mean() > 0.98
