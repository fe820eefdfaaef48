#!/usr/bin/env python3
# terminal.py - tests the prompt at a terminal and Ctrl-C, with a program
# whose path is the argument. Called by run. Nothing here sleeps: each step
# waits until the program has written what shows that it is ready.
# SPDX-License-Identifier: MIT

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

PROGRAM = sys.argv[1]
PATIENCE = 20  # seconds; only a failing test waits so long
GRACE = 1.0  # seconds from SIGINT to the end, as promised
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


class Failure(Exception):
    pass


def plain(text):
    """Without what a terminal understands and a reader does not see."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\[?[0-9;?]*$|[\r\a]",
                  "", text)


class Session:
    """A program at the far end of a terminal or, if not, of pipes."""

    def __init__(self, *args, terminal=True, env=None):
        environment = {**os.environ, "TERM": "xterm", **(env or {})}
        if terminal:
            self.pid, self.output = pty.fork()
            if self.pid == 0:
                try:
                    os.execve(PROGRAM, [PROGRAM, *args], environment)
                finally:
                    os._exit(127)
            self.input = self.output
        else:
            process = subprocess.Popen(
                [PROGRAM, *args], env=environment, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.process = process
            self.pid = process.pid
            self.input = process.stdin.fileno()
            self.output = process.stdout.fileno()
        self.text = ""  # all that was written
        self.at = 0  # how much of it was expected

    def read(self, deadline):
        """Reads more; gives False at the end of file."""
        left = max(0, deadline - time.monotonic())
        if not select.select([self.output], [], [], left)[0]:
            raise Failure("nothing more came")
        try:
            more = os.read(self.output, 65536)
        except OSError:  # how a terminal says end of file
            more = b""
        self.text += more.decode("utf-8", "replace")
        return bool(more)

    def expect(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while True:
            found = re.search(pattern, plain(self.text)[self.at:])
            if found:
                self.at += found.end()
                return
            try:
                more = self.read(deadline)
            except Failure as failure:
                raise Failure(f"no {pattern!r}: {failure}") from None
            if not more:
                raise Failure(f"no {pattern!r} before the end")

    def send(self, text):
        os.write(self.input, text.encode())

    def enter(self, line):
        self.send(line + "\n")

    def interrupt(self):
        os.kill(self.pid, signal.SIGINT)

    def status(self):
        """Waits for the end; a signal s is -s."""
        deadline = time.monotonic() + PATIENCE
        try:
            while self.read(deadline):
                pass
        except Failure:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise Failure("it does not end") from None
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def must_end(self, status):
        got = self.status()
        if got != status:
            raise Failure(f"status {got}, not {status}")

    def must_say_once(self, word):
        count = plain(self.text).count(word)
        if count != 1:
            raise Failure(f"{word!r} {count} times")

    def close(self):
        """Leaves nothing running, whatever came before."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        for end in {self.input, self.output}:
            try:
                os.close(end)
            except OSError:
                pass


tests = []


def test(*args, **options):
    """Marks a test, which gets a session begun with these arguments."""
    def mark(function):
        tests.append((function, args, options))
        return function
    return mark


def scripts(text):
    """Marks a test of a script, both at a terminal and with pipes."""
    def mark(function):
        test("-e", text)(function)
        test("-e", text, terminal=False)(function)
        return function
    return mark


READY = "io.stdout:write('ready\\n') io.stdout:flush() "

# A library that cannot be loaded hides the system's.
no_readline = tempfile.TemporaryDirectory()
for library in "libreadline.so.8", "libreadline.so.7", "libreadline.so":
    open(os.path.join(no_readline.name, library), "w").close()


def prompts(function):
    """Marks a test of the prompt, both with readline and without."""
    test()(function)
    test(env={"LD_LIBRARY_PATH": no_readline.name})(function)
    return function


# The prompt -----------------------------------------------------------


@prompts
def prompt_evaluates(s):
    s.expect(r"Lua 5\.4.*\nMoonfork \d.*\n> ")
    s.enter("6 * 7")
    s.expect(r"\n42\n> ")
    s.enter("for i = 1, 2 do")
    s.expect(">> ")
    s.enter("print('i', i) end")
    s.expect("i\t1\ni\t2\n> ")
    s.send(CTRL_D)
    s.must_end(0)


@prompts
def prompt_shows_errors(s):
    s.expect("> ")
    s.enter("error('wrong')")
    s.expect(r"stdin:1: wrong\nstack traceback:\n(.*\n)+> ")
    s.enter("os.exit(7)")
    s.must_end(7)


@test()
def prompt_remembers(s):
    s.expect("> ")
    s.enter("x = (x or 0) + 1")
    s.expect("> ")
    s.send(UP)
    s.expect(r"x = \(x or 0\) \+ 1")
    s.send("\n")
    s.expect("> ")
    s.enter("'x is ' .. x")
    s.expect(r"\nx is 2\n> ")


@test()
def prompt_edits(s):
    s.expect("> ")
    s.send("'ac'\x1b[D\x1b[Db\n")
    s.expect(r"\nabc\n> ")


@prompts
def prompt_survives_ctrl_c(s):
    s.expect("> ")
    for _ in range(3):
        s.send("nonsense( ")
        s.expect("nonsense")
        s.send(CTRL_C)
        s.expect(r"\n> ")
    s.enter("1 + 1")
    s.expect(r"\n2\n> ")
    s.send(CTRL_D)
    s.must_end(0)


@prompts
def prompt_gives_up_a_continued_statement(s):
    s.expect("> ")
    s.enter("for i = 1, 2 do")
    s.expect(">> ")
    s.send(CTRL_C)
    s.expect(r"\n> ")
    s.enter("1 + 1")
    s.expect(r"\n2\n> ")


@prompts
def prompt_ends_the_running_line(s):
    s.expect("> ")
    for _ in range(3):
        s.enter("print('go') while true do end")
        s.expect(r"\ngo\n")
        s.send(CTRL_C)
        s.expect(r"interrupted!\nstack traceback:\n(.*\n)+> ")
    s.enter("1 + 1")
    s.expect(r"\n2\n> ")
    s.send(CTRL_D)
    s.must_end(0)


@prompts
def prompt_ends_a_blocked_read(s):
    s.expect("> ")
    s.enter("print('go') return io.read()")
    s.expect(r"\ngo\n")
    s.send(CTRL_C)
    s.expect(r"interrupted!\n(.*\n)+> ")
    s.enter("1 + 1")
    s.expect(r"\n2\n> ")


@test()
def prompt_ends_a_print_that_loops(s):
    s.expect("> ")
    s.enter("setmetatable({}, {__tostring = function() io.write('go\\n') "
            "io.flush() while true do end end})")
    s.expect(r"\ngo\n")
    s.send(CTRL_C)
    s.expect(r"error calling 'print' \(.*interrupted!\)\n> ")


@test()
def prompt_outlives_the_grace(s):
    s.expect("> ")
    s.enter("pcall(function() print('go') while true do end end) "
            "local t = os.clock() while os.clock() < t + 1.2 do end "
            "print('still here')")
    s.expect(r"\ngo\n")
    s.send(CTRL_C)
    s.expect(r"still here\n> ")


@test()
def prompt_ends_at_a_second_ctrl_c(s):
    s.expect("> ")
    s.enter("while true do if pcall(function() print('go') "
            "while true do end end) then break end print('again') "
            "while true do end end")
    s.expect(r"\ngo\n")
    s.send(CTRL_C)
    s.expect(r"again\n")
    s.send(CTRL_C)
    s.must_end(130)
    s.must_say_once(": interrupted!")


@test("-i", "-e", "x = 5")
def prompt_after_options(s):
    s.expect("> ")
    s.enter("x")
    s.expect(r"\n5\n> ")


@test("-i", "-e", "_PROMPT = setmetatable({}, {__tostring = function() "
      "error('no prompt today') end})")
def prompt_that_cannot_be_shown(s):
    s.expect("no prompt today")
    s.expect("> ")
    s.enter("_PROMPT = nil")
    s.expect("> ")
    s.enter("1 + 1")
    s.expect(r"\n2\n> ")


@test("-i", "-e", READY + "while true do end")
def ctrl_c_before_the_prompt(s):
    s.expect("ready\n")
    s.send(CTRL_C)
    s.must_end(130)
    s.must_say_once("interrupted!")


# Progress -------------------------------------------------------------

# A clock that goes on when it is told to; the program waits for a line first,
# so that the terminal can be given its width.
CLOCK = ("local core = require 'moonfork.core.system' local time = 0 "
         "core.now = function() return time end "
         "local mp = require 'moonfork' "
         "io.stdout:write('ready\\n') io.stdout:flush() io.read() ")
STEPS = ("local p = mp.Progress{ total = 100, label = 'files' } "
         "for i = 1, 100 do time = time + 1 / 16 p:step(1, i // 100) end "
         "p:finish() print('after')")


def set_width(session, columns):
    size = struct.pack("HHHH", 24, columns, 0, 0)
    fcntl.ioctl(session.output, termios.TIOCSWINSZ, size)


def bars_of(session, columns):
    """What a program draws on a terminal that is so wide."""
    set_width(session, columns)
    session.expect("ready\n")
    at = len(session.text)
    session.send("\n")
    session.must_end(0)
    text = session.text[at:].replace("\r\n", "\n", 1)  # our own line
    bars, end = text[1:].split("\r\n", 1)
    if end != "after\r\n":
        raise Failure(f"after the bar there is {end!r}")
    drawn = bars.split("\r")[1:]
    for one in drawn:
        if not one.endswith("\x1b[K"):
            raise Failure(f"{one!r} does not wipe out what was there")
        if len(one) - len("\x1b[K") >= columns:
            raise Failure(f"{one!r} is wider than the terminal")
    return [one[:-len("\x1b[K")] for one in drawn]


def must_be(got, wanted):
    if got != wanted:
        raise Failure(f"{got!r}, not {wanted!r}")


@test("-e", CLOCK + STEPS)
def progress_is_a_bar(s):
    drawn = bars_of(s, 80)
    must_be(drawn[0], "files  [" + "-" * 40 + "]  0/100    0%")
    must_be(drawn[-1], "files  [" + "#" * 28 + "]  100/100  100%  "
            "16.0/s  in 0:06  1 failed")
    if not 45 <= len(drawn) <= 62:
        raise Failure(f"drawn {len(drawn)} times in 6 seconds")


@test("-e", CLOCK + STEPS)
def progress_on_a_narrow_terminal(s):
    must_be(bars_of(s, 30)[-1], "files  100/100  100%  16.0/s ")


@test("-e", CLOCK + STEPS, env={"TERM": "dumb"})
def progress_on_a_dumb_terminal(s):
    s.expect("ready\n")
    s.send("\n")
    s.expect("files: 100 of 100, 100%, 16.0/s, in 0:06, 1 failed\nafter\n")
    s.must_end(0)
    if "\x1b" in s.text:
        raise Failure("it gets escape codes")


@test("-e", CLOCK + "mp.Pool(0):map(math.abs, {1, 2}, "
      "{ progress = 'Größe\t\x1b[2J' }) print('after')")
def progress_of_a_pool(s):
    drawn = bars_of(s, 60)
    if not drawn[-1].startswith("Größe  [2J  [####"):
        raise Failure(f"{drawn[-1]!r}")


# Scripts --------------------------------------------------------------


@scripts(READY + "while true do end")
def busy_loop(s):
    s.expect("ready\n")
    s.interrupt()
    s.must_end(130)
    s.must_say_once("interrupted!")
    s.must_say_once("stack traceback:")


@test("-e", READY + "while true do end")
def busy_loop_by_the_key(s):
    s.expect("ready\n")
    s.send(CTRL_C)
    s.must_end(130)
    s.must_say_once("interrupted!")


@scripts(READY + "print(io.read())")
def blocked_read(s):
    s.expect("ready\n")
    s.interrupt()
    s.must_end(130)
    s.must_say_once("interrupted!")


@scripts(READY + "for line in io.lines() do print(line) end")
def blocked_lines(s):
    s.expect("ready\n")
    s.interrupt()
    s.must_end(130)
    s.must_say_once("interrupted!")


@scripts(READY + "while true do pcall(function() while true do end end) end")
def pcall_loop(s):
    s.expect("ready\n")
    begun = time.monotonic()
    s.interrupt()
    s.must_end(130)
    if time.monotonic() - begun > GRACE:
        raise Failure("more than a second")
    s.must_say_once("interrupted!")


@scripts("local ok, why = pcall(function() " + READY + "while true do end end) "
         "print('cleaned up', ok, why)")
def caught_and_cleaned_up(s):
    s.expect("ready\n")
    s.interrupt()
    s.expect("cleaned up\tfalse\t.*interrupted!\n")
    s.expect("program: interrupted!\n")
    s.must_end(130)


@scripts("pcall(function() " + READY + "while true do end end) error('later')")
def another_error_after_it(s):
    s.expect("ready\n")
    s.interrupt()
    s.must_end(130)
    s.must_say_once("interrupted!")
    s.must_say_once("later")


@scripts(READY + "coroutine.wrap(function() while true do end end)()")
def coroutine_loop(s):
    s.expect("ready\n")
    s.interrupt()
    s.must_end(130)
    s.must_say_once("interrupted!")


@scripts("local function go(word) print(word) io.flush() while true do end end "
         "pcall(go, 'ready') go('again')")
def second_one_ends_at_once(s):
    s.expect("ready\n")
    s.interrupt()
    s.expect("again\n")
    begun = time.monotonic()
    s.interrupt()
    s.must_end(130)
    if time.monotonic() - begun > GRACE / 2:
        raise Failure("not at once")
    s.must_say_once("interrupted!")


@scripts("setmetatable({}, {__gc = function() while true do end end}) " +
         READY + "while true do end")
def finalizer_that_loops(s):
    s.expect("ready\n")
    begun = time.monotonic()
    s.interrupt()
    s.must_end(130)
    if time.monotonic() - begun > GRACE:
        raise Failure("more than a second")
    s.must_say_once("interrupted!")


@scripts("debug.sethook(function() end, 'l') " + READY +
         "while true do local x = 1 end")
def hook_of_the_script(s):
    s.expect("ready\n")
    s.interrupt()
    s.must_end(130)
    s.must_say_once("interrupted!")


@scripts(READY + "string.rep('a', 30):find(('a*'):rep(30) .. 'b')")
def library_call_that_never_ends(s):
    s.expect("ready\n")
    begun = time.monotonic()
    s.interrupt()
    s.must_end(130)
    if time.monotonic() - begun > GRACE:
        raise Failure("more than a second")
    s.must_say_once("interrupted!")


@scripts("pcall(function() " + READY + "while true do end end) "
         "os.execute('echo started; exec cat >/dev/null 2>&1')")
def command_in_the_clean_up(s):
    s.expect("ready\n")
    s.interrupt()
    s.expect("started\n")
    s.must_end(130)
    s.must_say_once("interrupted!")


def run(function, args, options):
    name = function.__name__.replace("_", " ")
    if not options.get("terminal", True):
        name += " (pipes)"
    if "env" in options:
        name += " (without readline)"
    session = Session(*args, **options)
    try:
        function(session)
        return True
    except Failure as failure:
        print(f"FAILED {name}: {failure}")
        print("    " + plain(session.text).replace("\n", "\n    "))
        return False
    finally:
        session.close()


if not os.access(PROGRAM, os.X_OK):
    sys.exit(f"{PROGRAM} is not a program")
results = [run(*each) for each in tests]
print(f"{results.count(True)} passed, {results.count(False)} failed")
