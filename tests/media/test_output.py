from __future__ import annotations

import pytest

from lipsync_cli.core.errors import OutputError, UsageError
from lipsync_cli.media.output import PartialFile, check_output
from tests.media.conftest import is_root


def test_a_new_name_is_fine_and_an_old_one_needs_permission(tmp_path):
    path = tmp_path / "out.mp4"
    assert check_output(path).name == "mp4"
    path.touch()
    with pytest.raises(OutputError, match="exists already") as caught:
        check_output(path)
    assert "-y" in caught.value.hint
    assert check_output(path, overwrite=True).name == "mp4"


def test_inputs_are_never_overwritten(tmp_path):
    source = tmp_path / "in.mp4"
    source.touch()
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    for target in (source, link, tmp_path / "." / "in.mp4"):
        with pytest.raises(OutputError, match="also an input"):
            check_output(target, [source], overwrite=True)


def test_places_that_cannot_be_written_are_said(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "folder.mp4")
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "nowhere" / "out.mp4")
    with pytest.raises(UsageError, match=r"\.xyz"):
        check_output(tmp_path / "out.xyz")


@pytest.mark.skipif(is_root(), reason="root may write everywhere")
def test_a_folder_without_permission_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="may not be written"):
        check_output(tmp_path / "out.mp4")


def test_a_partial_file_is_moved_or_removed(tmp_path):
    partial = PartialFile(tmp_path / "out.mp4")
    partial.path.write_bytes(b"whole")
    partial.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    partial.path.write_bytes(b"half")
    partial.discard()
    partial.discard()
    assert (tmp_path / "out.mp4").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with pytest.raises(OutputError, match="cannot be written"):
        partial.commit()
