from schemas.generate import stale, write

FILES = {"a.json": "1\n", "b.json": "2\n"}


def test_what_was_written_is_current(tmp_path):
    write(FILES, tmp_path / "generated")
    assert stale(FILES, tmp_path / "generated") == []


def test_missing_changed_and_left_over_files_are_stale(tmp_path):
    write(FILES, tmp_path)
    (tmp_path / "a.json").write_text("other\n")
    (tmp_path / "b.json").unlink()
    (tmp_path / "left_over.json").write_text("3\n")
    assert stale(FILES, tmp_path) == ["a.json", "b.json", "left_over.json"]


def test_writing_makes_the_folder_hold_exactly_what_is_generated(tmp_path):
    (tmp_path / "left_over.json").write_text("3\n")
    write(FILES, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == FILES
