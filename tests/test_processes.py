"""Values computed in copies of a process are those of a plain loop, also where a copy breaks."""

import subprocess
import sys

import pytest

FRESH = """\
import os, sys
from bnexp import processes
from bnexp.processes import on_all_cores

os.sched_getaffinity = lambda _: {0, 1, 2}
first = os.getpid()

def copies_of(number):
    return os.getpid() != first, number, b"x" * (number << 18)

assert list(on_all_cores(copies_of, [])) == []
computed = list(on_all_cores(copies_of, range(20)))
assert processes._work is processes._NOTHING, "what was given is kept"
assert [number for _, number, _ in computed] == list(range(20))
assert all(copied and len(text) == number << 18 for copied, number, text in computed)

def ends_in_a_copy(number):
    if os.getpid() != first and number == 7:
        os._exit(9)
    return os.getpid() != first, number * number

computed = list(on_all_cores(ends_in_a_copy, range(20)))
assert [value for _, value in computed] == [number * number for number in range(20)]
assert not computed[7][0]

def raises(number):
    if number == 4:
        raise ValueError(number)
    return number

taken = on_all_cores(raises, range(6))
assert [next(taken) for _ in range(4)] == [0, 1, 2, 3]
try:
    next(taken)
except ValueError as error:
    assert error.args == (4,)
else:
    raise AssertionError("no error")

taken = on_all_cores(copies_of, range(20))
next(taken)
taken.close()

def fork():
    raise BlockingIOError

os.fork = fork
assert list(on_all_cores(copies_of, range(2))) == [(False, 0, b""), (False, 1, b"x" * (1 << 18))]
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no copy is left")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not copied")
def test_copies_give_what_a_loop_gives_and_none_is_left() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no copy is left\n"
