import pytest
import torch

from xnnlib import checkpoints
from xnnlib.checkpoints import CHECKPOINT, PREVIOUS, load_checkpoint, save_checkpoint


def save_two(folder):
    for step in (1, 2):
        save_checkpoint(folder, {"step": step, "weight": torch.full((300,), float(step))})


def test_the_newest_is_read_and_the_one_before_is_kept(tmp_path):
    assert load_checkpoint(tmp_path) is None
    save_two(tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CHECKPOINT, PREVIOUS])
    checkpoints.remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def cut(content):
    return content[:-200]


def flip(content):
    return content[:600] + bytes([content[600] ^ 1]) + content[601:]


def empty(content):
    return b""


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_torn_checkpoint_is_seen_and_the_one_before_is_used(tmp_path, capsys, damage):
    save_two(tmp_path)
    newest = tmp_path / CHECKPOINT
    newest.write_bytes(damage(newest.read_bytes()))
    state = load_checkpoint(tmp_path)
    assert state["step"] == 1 and (state["weight"] == 1).all()
    assert f"{CHECKPOINT} is damaged; it is not used." in capsys.readouterr().err


def test_without_the_newest_the_one_before_is_used(tmp_path):
    save_two(tmp_path)
    (tmp_path / CHECKPOINT).unlink()  # killed between the two renames
    assert load_checkpoint(tmp_path)["step"] == 1
    (tmp_path / PREVIOUS).write_bytes(b"")
    assert load_checkpoint(tmp_path) is None
