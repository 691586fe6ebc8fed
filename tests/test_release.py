import hashlib
import os
import zipfile

from release import FILES, contents, write_bundle


def test_bundle_holds_the_files_and_their_checksums(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    write_bundle(tmp_path / "out" / "paper.zip", {"texts/a.txt": tmp_path / "a.txt"})
    with zipfile.ZipFile(tmp_path / "out" / "paper.zip") as archive:
        assert archive.namelist() == ["paper/texts/a.txt", "paper/SHA256SUMS"]
        assert archive.read("paper/texts/a.txt") == b"one"
        digest = hashlib.sha256(b"one").hexdigest()
        assert archive.read("paper/SHA256SUMS").decode() == f"{digest}  texts/a.txt\n"


def test_same_files_make_the_same_bytes(tmp_path):
    paths = {name: tmp_path / name for name in ("b", "a")}
    for name, path in paths.items():
        path.write_text(name)
    write_bundle(tmp_path / "1" / "x.zip", paths)
    for path in paths.values():
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    write_bundle(tmp_path / "2" / "x.zip", dict(reversed(paths.items())))
    assert (tmp_path / "1" / "x.zip").read_bytes() == (tmp_path / "2" / "x.zip").read_bytes()


def test_release_has_book_and_records_but_no_quick_run_and_no_checkpoint(tmp_path):
    made = ("html/index.html", "results/small/se-seed0/record.json", "results/small/SHA256SUMS")
    left_out = (
        "results/quick/se-seed0/record.json",
        "results/small/se-seed0/checkpoint.pt",
        "html/.buildinfo",
    )
    for name in made + left_out:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = contents(tmp_path, tmp_path / "html").keys()
    assert found - {*FILES, "paper.pdf"} == {name.replace("html/", "book/") for name in made}
