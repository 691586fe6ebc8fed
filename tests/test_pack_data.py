"""The data that a profile's runs train on are those that are packed before them."""

from pathlib import Path

import pytest
import yaml
from pack_data import arguments

PROFILES = Path(__file__).resolve().parents[1] / "profiles"


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("quick", "--dataset shapes --num-classes 10 --train-images 2000 --val-images 500 --size 32"),
        ("small", "--dataset tiny-imagenet --num-classes 10 --size 64"),
    ],
)
def test_a_profiles_data_set(profile, expected):
    settings = yaml.safe_load((PROFILES / f"{profile}.yaml").read_text(encoding="utf-8"))
    assert " ".join(arguments(settings)) == expected


def test_the_place_of_the_images_is_handed_on():
    settings = {
        "recipe": "paper",
        "epochs": 2,
        "batch_size": 16,
        "crop": 56,
        "dataset": "folder",
        "data_root": "a b",
    }
    assert arguments(settings) == ["--dataset", "folder", "--data-root", "a b", "--size", "64"]
