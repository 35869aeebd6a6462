"""Names of files, one a line, as shells give them."""

from pathlib import Path

import pytest

from barlow.data.listed import are_paths, listed, named_in


def test_lines_are_paths_from_here_or_from_where_the_list_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "here.png").touch()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lists" / "some.txt"
    path.write_text(f"here.png\n\nthere.png  \n{tmp_path}/a b.png\n")
    wanted = [Path("here.png"), path.parent / "there.png", tmp_path / "a b.png"]
    assert listed(path) == listed(str(path)) == wanted
    assert named_in(["here.png\n"]) == [Path("here.png")]


def test_what_is_no_list_stays_as_it_is() -> None:
    for data in ("photos", Path("x.npy"), None, [1, 2], "absent.txt"):
        assert listed(data) is data
    assert are_paths(["a", Path("b")])
    assert not any(map(are_paths, ([], "ab", [1], None)))


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"data: the list .*none.txt' is empty, wanted the path of a file a line"):
        listed(tmp_path / "none.txt")
