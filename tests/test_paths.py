from xnnlib.files import project_path


def test_the_same_relative_path_means_the_same_file_everywhere(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "notebooks", tmp_path / "notebooks" / "deep"):
        monkeypatch.chdir(folder)
        assert project_path("results/quick") == tmp_path / "results" / "quick"


def test_absolute_paths_and_folders_outside_a_checkout_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_path("results") == tmp_path / "results"
    assert project_path(tmp_path / "elsewhere") == tmp_path / "elsewhere"
