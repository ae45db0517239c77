"""What nginx's error log says of a reload."""

from pathlib import Path

import pytest

from holdfast.kernel.nginx.complaints import Complaints

MASTER = 12
BIND = "bind() to 0.0.0.0:80 failed (98: Address already in use)"
END = "still could not bind()"


def a_line(words: str, *, pid: int = MASTER, level: str = "emerg") -> str:
    return f"2026/01/02 03:04:05 [{level}] {pid}#{pid}: {words}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "error.log"
    path.write_text(a_line("an older reload"))
    return path


def add(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_what_was_there_before_is_not_of_this_reload(log: Path) -> None:
    assert Complaints([log], MASTER).given_up() == ""


def test_an_address_is_tried_again_until_nginx_gives_up(log: Path) -> None:
    found = Complaints([log], MASTER)
    add(log, a_line(BIND) * 2)
    assert found.given_up() == ""
    add(log, a_line(BIND) + a_line(END))
    assert found.given_up() == f"{BIND}\n{END}"


def test_a_line_counts_when_it_is_whole(log: Path) -> None:
    found = Complaints([log], MASTER)
    line = a_line(END)
    add(log, line[:40])
    assert found.given_up() == ""
    add(log, line[40:])
    assert found.given_up() == END


@pytest.mark.parametrize("line", [a_line(END, pid=13), a_line(END, level="error")])
def test_what_others_complain_of_is_no_refusal(log: Path, line: str) -> None:
    found = Complaints([log], MASTER)
    add(log, line)
    assert found.given_up() == ""


def test_a_log_that_was_emptied_is_read_from_its_beginning(log: Path) -> None:
    found = Complaints([log], MASTER)
    log.write_text("x\n")
    assert found.given_up() == ""
    add(log, a_line(END))
    assert found.given_up() == END


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert Complaints([tmp_path / "none"], MASTER).given_up() == ""
