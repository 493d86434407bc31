"""Signals: the first acts in order, the second at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from attngan import cli, stopping
from attngan.stopping import Stopped


def me(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_the_first_signal_stops_wherever_the_program_is(number):
    before = signal.getsignal(number)
    reached = []

    def command():
        with stopping.listening():
            for step in range(1000):
                reached.append(step)
                if step == 3:
                    me(number)

    with pytest.raises(Stopped) as stopped:
        command()
    assert str(stopped.value) == signal.Signals(number).name
    assert stopped.value.exit_code == 128 + number
    assert reached == [0, 1, 2, 3]
    assert signal.getsignal(number) is before


def test_it_is_no_error_that_code_takes_for_its_own():
    assert not issubclass(Stopped, Exception)


def test_what_must_not_be_torn_apart_is_done_first(capsys):
    done = []

    def command():
        with stopping.listening():
            stopping.hold("finishing this step")
            me(signal.SIGTERM)
            done.append("step")
            assert stopping.asked() == signal.SIGTERM
            stopping.release()
            done.append("never")

    with pytest.raises(Stopped):
        command()
    assert done == ["step"]
    assert "SIGTERM: finishing this step (again to stop at once)" in capsys.readouterr().out
    assert stopping.asked() is None  # the next command is not asked


SECOND = """
import sys, time
from attngan import stopping
with stopping.listening():
    stopping.hold("finishing")
    print("ready", flush=True)
    time.sleep(5)
    sum(range(10**11))  # one call: no handler of Python's gets its turn
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_even_a_long_computation(number):
    with subprocess.Popen([sys.executable, "-c", SECOND], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert "again to stop at once" in process.stdout.readline() + process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == -number


def test_a_handler_that_another_part_puts_back_still_ends_at_once():
    code = (
        "import os, signal; from attngan import stopping\n"
        "with stopping.listening():\n"
        "    ours = signal.getsignal(signal.SIGTERM)\n"
        "    stopping.hold('finishing')\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.signal(signal.SIGTERM, ours); os.kill(os.getpid(), signal.SIGTERM); print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert "still here" not in done.stdout


def test_signals_that_another_part_took_are_taken_back():
    def command():
        with stopping.listening():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            stopping.listen_again()
            me(signal.SIGTERM)

    with pytest.raises(Stopped):
        command()


def test_what_the_starter_ignores_stays_ignored():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stopping.listening():
            me(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_another_thread_hears_nothing_and_runs_all_the_same():
    ran = []

    def work():
        with stopping.listening():
            ran.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("name", ["prepare", "sample"])
def test_every_command_says_what_stopped_it(name, monkeypatch, capsys):
    def command(*_):
        me(signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(cli, "_call", command)
    assert cli.main([name]) == 143
    told = capsys.readouterr().err
    assert told.startswith(f"attngan {name}: stopped by SIGTERM")
    assert ("goes on where this one was" in told) is (name == "prepare")
    assert told.count("\n") == 1
