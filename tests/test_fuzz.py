"""Damage at random: it is read, or refused in one line; nothing else ever happens.

The examples are chosen by Hypothesis, the same ones in every run.
"""

import csv
import io
import json
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import changed, example
from small_archives import encoded

from xnnlib.data import load_dataset
from xnnlib.errors import UserError
from xnnlib.records import EPOCH_COLUMNS, divergence, load_run
from xnnlib.report.numbers import numbers
from xnnlib.report.tables import table_2, table_3


def fuzz(examples: int) -> settings:
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None)


def refused(error: UserError) -> None:
    assert str(error) and "\n" not in str(error)


@st.composite
def damaged_bytes(draw, content: bytes) -> bytes:
    """The content cut short, or with one byte another."""
    place = draw(st.integers(0, len(content) - 1))
    if draw(st.integers(0, 3)) == 0:
        return content[:place]
    return content[:place] + bytes([content[place] ^ draw(st.integers(1, 255))]) + content[place + 1 :]


# Records


def table(rows: list) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def as_json(record: dict) -> bytes:
    return json.dumps(record).encode()


RECORD, epochs = example()
CELLS = [EPOCH_COLUMNS, *(row.values() for row in epochs)]
EPOCHS = table(CELLS)
DIVERGED = {"epoch": 4, "step": 7, "steps_per_epoch": 9, "learning_rate": 0.1}
STOPPED = RECORD | {"complete": False, "diverged": DIVERGED | {"checkpoint": {"epoch": 4, "step": 2}}}


def places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    for name, inner in value.items() if isinstance(value, dict) else ():
        found += places(inner, (*path, name))
    return found


PLAUSIBLE = (0, 1, 3, 0.5, 101.0, "", "se", "cpu", True, {})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


# The record with a field left out, or with anything in its place.
values = st.just(...) | st.sampled_from(PLAUSIBLE) | anything
damaged_record = st.builds(changed, st.just(RECORD), st.sampled_from(places(RECORD)), values).map(as_json)


@st.composite
def damaged_epochs(draw) -> bytes:
    """The epochs with a cell or a row of anything, or without one."""
    rows = [list(row) for row in CELLS]
    number = draw(st.integers(0, len(rows) - 1))
    cell = st.integers().map(str) | st.floats().map(str) | st.text(st.characters(codec="utf-8"), max_size=8)
    what = draw(st.sampled_from(("cell", "row", "less")))
    if what == "cell":
        rows[number][draw(st.integers(0, 6))] = draw(cell)
    elif what == "row":
        rows.insert(number, draw(st.lists(cell, max_size=8)))
    else:
        del rows[number]
    return table(rows)


files = st.one_of(
    st.tuples(damaged_record | damaged_bytes(as_json(RECORD)), st.just(EPOCHS)),
    st.tuples(st.just(as_json(RECORD)), damaged_epochs() | damaged_bytes(EPOCHS)),
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "results" / "small" / "standard-seed0"
    folder.mkdir(parents=True)
    return folder


def check_run(run_dir: Path, record: bytes, epochs: bytes) -> None:
    """The run is what its files say, and can be shown without surprise; or it is refused."""
    (run_dir / "record.json").write_bytes(record)
    (run_dir / "epochs.csv").write_bytes(epochs)
    try:
        run = load_run(run_dir)
    except UserError as error:
        return refused(error)
    found = json.loads(record)
    for name in ("recipe", "network"):  # where settings that are newer are filled in
        found[name] = run.record[name] | found[name]
    assert run.record == found
    header, *rows = csv.reader(io.StringIO(epochs.decode(), newline=""))
    assert run.epochs == {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}
    if run.record["complete"]:
        for show in (numbers, table_2, table_3):
            show([run])
    elif "diverged" in run.record:
        refused(UserError(divergence(run_dir, run.record["diverged"])))


@fuzz(300)
@given(contents=files)
def test_a_damaged_record_is_read_as_it_stands_or_refused(run_dir, contents):
    check_run(run_dir, *contents)


@pytest.mark.parametrize("record", [RECORD, STOPPED], ids=["complete", "diverged"])
def test_no_field_is_missed_where_it_is_not_asked_for(run_dir, record):
    """Each field of the record left out, and with each of a few plausible values."""
    for place in places(record):
        for value in (..., *PLAUSIBLE):
            check_run(run_dir, as_json(changed(record, place, value)), EPOCHS)


# Zips

NAMES = ("train/cat/0.jpg", "train/cat/1.jpg", "train/dog/0.jpg", "val/cat/0.jpg", "val/dog/0.jpg")


def load(content: bytes) -> str:
    """The fingerprint of a zip's images, packed anew."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XNNLIB_CACHE", folder)
        path = Path(folder) / "data.zip"
        path.write_bytes(content)
        return load_dataset("folder", path, size=16).fingerprint


def zipped() -> bytes:
    """Stored and deflated members, a folder's, and one that no one reads."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("train/", b"")
        for k, name in enumerate(NAMES):
            method = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[k % 2]
            archive.writestr(name, encoded(k, 16, 16), compress_type=method)
        archive.writestr("read.me", b"text")
    return stream.getvalue()


ZIP = zipped()
DIRECTORY = ZIP.index(b"PK\1\2")


@fuzz(300)
@given(damaged_bytes(ZIP) | damaged_bytes(ZIP[DIRECTORY:]).map(lambda directory: ZIP[:DIRECTORY] + directory))
def test_a_damaged_zip_gives_images_or_is_refused(content):
    try:
        assert len(load(content)) == 64
    except UserError as error:
        refused(error)
