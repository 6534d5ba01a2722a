import os

import pytest

from pdplan.errors import SpecError
from pdplan.report.files import check_writable, write_file


def test_writes_bytes_as_they_are(tmp_path):
    path = tmp_path / "a.csv"
    write_file(path, "x\r\né\r\n")
    assert path.read_bytes() == "x\r\né\r\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_keeps_mode_and_follows_links(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_file(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_devices_are_written_to_not_replaced():
    write_file_target = os.devnull
    from pathlib import Path

    write_file(Path(write_file_target), "x")
    assert Path(write_file_target).is_char_device()


def test_failure_leaves_the_old_file_alone(tmp_path, monkeypatch):
    from pathlib import Path

    path = tmp_path / "plan.yaml"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SpecError) as caught:
        write_file(path, "new")
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.yaml"]


def test_refuses_beforehand(tmp_path):
    missing = tmp_path / "no" / "plan.yaml"
    with pytest.raises(SpecError) as caught:
        check_writable(missing, tmp_path, None)
    assert str(caught.value) == (
        f"{missing}: cannot be written: there is no folder {missing.parent}\n"
        f"{tmp_path}: cannot be written: is a folder"
    )
    same = tmp_path / "a"
    with pytest.raises(SpecError, match="is named for two outputs"):
        check_writable(same, same)
