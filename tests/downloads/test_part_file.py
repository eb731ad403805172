"""Part files: each has one writer, and their recorded state matches the bytes on the disk."""

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from up42_async._downloads import part_file, safe_open
from up42_async._downloads.part_file import PartFile

ETAG = '"version"'


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"


def opened(target: Path, *, etag: str | None = ETAG, total: int | None = 100) -> PartFile:
    part = PartFile(target, "/v2/assets/a1", None)
    part.open()
    part.take_over(resume=True)
    part.restart(etag, total)
    return part


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_kept_part_file_is_resumed(target: Path) -> None:
    part = opened(target)
    part.write([b"abc", b"def"])
    part.put_away(keep=True)
    again = PartFile(target, "/v2/assets/a1", None)
    again.open()
    again.take_over(resume=True)
    assert (again.received, again.etag, again.total, again.can_continue) == (6, ETAG, 100, True)
    again.write([b"g"])
    again.commit(None)
    assert target.read_bytes() == b"abcdefg"
    assert left_in(target.parent) == ["a.tif"]


@pytest.mark.parametrize(("etag", "written"), [(None, b"abc"), (ETAG, b"")])
def test_a_part_file_that_cannot_be_resumed_is_not_kept(target: Path, etag: str | None, written: bytes) -> None:
    part = opened(target, etag=etag)
    part.write([written])
    part.put_away(keep=True)
    part.put_away(keep=True)
    assert left_in(target.parent) == []


def test_a_second_writer_gets_its_own_part_file_which_is_never_kept(target: Path) -> None:
    first, second = opened(target), opened(target)
    first.write([b"first"])
    second.write([b"second"])
    second.put_away(keep=True)
    assert left_in(target.parent) == ["a.tif.part"]
    third = opened(target)
    third.write([b"third"])
    third.commit(None)
    assert target.read_bytes() == b"third"
    first.commit(1000.0)
    assert target.read_bytes() == b"first"
    assert target.stat().st_mtime == 1000
    assert left_in(target.parent) == ["a.tif"]


def test_bytes_up_to_the_last_checkpoint_survive_a_crash(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_file, "CHECKPOINT", 10)
    part = opened(target, total=None)
    part.write([b"x" * 9])
    assert left_in(target.parent) == ["a.tif.part"]
    part.write([b"x"])
    part.write([b"lost in the crash"[:5]])
    part.close()
    assert json.loads((target.parent / "a.tif.part.json").read_text())["received"] == 10
    again = PartFile(target, "/v2/assets/a1", None)
    again.open()
    again.take_over(resume=True)
    assert (again.received, again.total) == (10, None)
    assert (target.parent / "a.tif.part").stat().st_size == 10
    again.put_away(keep=False)
    assert left_in(target.parent) == []


def test_a_part_file_that_cannot_be_synced_is_not_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = opened(target)
    part.write([b"abc"])
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    part.put_away(keep=True)
    assert left_in(target.parent) == []


def test_a_part_file_that_is_moved_while_it_is_opened_is_created_again(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = [target.with_name("elsewhere")]
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        if moves:
            target.with_name("a.tif.part").rename(moves.pop())
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    part = opened(target)
    part.write([b"mine"])
    part.commit(None)
    assert target.read_bytes() == b"mine"
    assert target.with_name("elsewhere").read_bytes() == b""


def test_a_part_file_that_is_replaced_while_it_is_opened_is_opened_again(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, seen = fcntl.flock, list[int]()

    def late(file: int, how: int) -> None:
        if not seen:
            target.with_name("a.tif.part").rename(target)
            target.with_name("a.tif.part").touch()
        seen.append(file)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    part = opened(target)
    part.write([b"mine"])
    assert target.read_bytes() == b""
    part.put_away(keep=False)
    assert len(seen) == 2


def test_a_file_system_without_locks_is_supported(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    part = opened(target)
    part.write([b"mine"])
    part.commit(None)
    assert target.read_bytes() == b"mine"


def test_other_errors_of_locking_are_raised(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    part = PartFile(target, "/v2/assets/a1", None)
    with pytest.raises(OSError, match="Input/output error"):
        part.open()
    part.put_away(keep=True)


def test_a_platform_without_locks_is_supported(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_open, "fcntl", None)
    part = opened(target)
    part.write([b"mine"])
    part.commit(None)
    assert target.read_bytes() == b"mine"


def test_a_directory_that_cannot_be_synced_is_no_error(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.open

    def refusing(path: Any, flags: int, *arguments: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError
        return original(path, flags, *arguments)

    part = opened(target)
    part.write([b"mine"])
    monkeypatch.setattr(os, "open", refusing)
    part.commit(None)
    assert target.read_bytes() == b"mine"
