"""The one place that draws: lines for files, and for terminals a picture below them."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.screen import (
    Bar,
    Line,
    TextGrid,
    Unit,
    _Clocks,
    _Times,
    _words,
    let_go,
    screen_on,
)

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """What was written, without moves and colours."""
        return ESCAPE.sub("", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    return Terminal()


def test_a_file_gets_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    with screen_on(stream) as screen:
        assert not screen.is_live
        screen.say("one [bold]line[/bold]")
        screen.show(Line("never"), Bar("never", 1, 2))
    assert stream.getvalue() == "one [bold]line[/bold]\n"


def test_a_terminal_that_only_writes_gets_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with screen_on(terminal) as screen:
        assert not screen.is_live
        screen.say("a line")
        screen.show(Line("never"))
    assert terminal.getvalue() == "a line\n"


def test_a_terminal_gets_bars_lines_and_grids(terminal: Terminal) -> None:
    with screen_on(terminal) as screen:
        assert screen.is_live
        screen.say("said")
        screen.show(
            Bar("nodes", 1, 7),
            Bar("Sample [1]", 3, None),
            Line("a [red]line[/red] :smile:"),
            TextGrid([("gpu-a", "2 pictures"), ("gpu-bcd", "[/] pictures")]),
        )
        # the last picture is drawn at the end, however short the block is
    shown = terminal.text()
    assert "said" in shown
    assert re.search(r"nodes +\S+ +1/7 0:00:00", shown)
    assert re.search(r"Sample \[1\] +\S+ +3/\? 0:00:00", shown)
    assert "a [red]line[/red] :smile:" in shown
    assert re.search(r"gpu-a +2 pictures", shown)
    assert re.search(r"gpu-bcd +\[/\] pictures", shown)


def test_bars_stay_where_they_are_when_their_text_changes(terminal: Terminal) -> None:
    with screen_on(terminal) as screen:
        screen.show(Bar("a long name of a file", 1, 2))
        screen.show(Bar("short", 1, 2))
    assert re.search(r"short {17}\S+ 1/2", terminal.text())


def test_a_narrow_terminal_cuts_and_breaks_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with screen_on(terminal) as screen:
        screen.show(Bar("a name of a file " * 5, 1e9, 2e9, Unit.BYTES), TextGrid([("x" * 50, "y")]))
    assert all(len(line) <= 40 for line in terminal.text().replace("\r", "\n").splitlines())


def test_what_servers_say_moves_no_cursor(terminal: Terminal) -> None:
    with screen_on(terminal) as screen:
        screen.say("before\x1b[2Jafter\x07")
        screen.show(Line("up\x1b[5Adown"))
    assert "\x1b[2J" not in terminal.getvalue()
    assert "\x1b[5A" not in terminal.getvalue()
    assert "before [2Jafter" in terminal.text()


def test_many_pictures_are_drawn_a_few_times(terminal: Terminal) -> None:
    begun = time.monotonic()
    with screen_on(terminal) as screen:
        for number in range(20_000):
            screen.show(Bar("steps", number, 20_000))
    seconds = time.monotonic() - begun
    assert terminal.text().count("steps") <= 5 * seconds + 3


def test_nothing_of_the_picture_stays(terminal: Terminal) -> None:
    with screen_on(terminal) as screen:
        screen.show(Line("a"), Line("b"))
        terminal.truncate(0)
    # the cursor is seen again, and what was drawn is cleared away line by line
    assert "\x1b[?25h" in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[2K") >= 2


def test_the_cursor_is_given_back_before_an_end_that_clears_nothing(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "terminal").open("wb") as end:
        monkeypatch.setattr(terminal, "fileno", end.fileno)
        let_go()
        with screen_on(terminal):
            let_go()
        let_go()
    assert (tmp_path / "terminal").read_bytes().count(b"\x1b[?25h") == 1


def test_a_bar_says_how_fast_and_how_long() -> None:
    now = 0.0
    clocks = _Clocks(lambda: now)
    for second in range(30):
        now = float(second)
        clocks.note([Bar("file", second * 2e6, 100e6, Unit.BYTES)])
    (times,) = clocks.now()
    assert times.passed == 29.0
    assert times.speed == pytest.approx(2e6)
    bar = Bar("file", 58e6, 100e6, Unit.BYTES)
    assert _words(bar, times) == ("58.0 MB/100.0 MB", "2.0 MB/s 0:00:21")
    assert _words(bar, _Times(0.0, 0.0)) == ("58.0 MB/100.0 MB", "? -:--:--")
    # a second bar has a clock of its own, and a new one after it was away
    clocks.note([bar, Bar("steps", 0, 9)])
    now = 40.0
    assert [one.passed for one in clocks.now()] == [40.0, 11.0]
    clocks.note([bar])
    clocks.note([bar, Bar("steps", 0, 9)])
    assert [one.passed for one in clocks.now()] == [40.0, 0.0]


def test_without_a_terminal_rich_is_not_imported() -> None:
    code = (
        "import sys, orchestrator.screen as s, orchestrator.batch.reporting.live\n"
        "import orchestrator.bench.live, orchestrator.runs.run_progress\n"
        "with s.screen_on(sys.stderr) as screen: screen.say('x')\n"
        "sys.exit('rich.live' in sys.modules or 'rich.console' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
