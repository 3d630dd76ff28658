#!/usr/bin/env python3
"""Decode of several programs in short turns, for machines whose memory or cores others use too.

usage: turns.py [options] NAME=COMMAND NAME=COMMAND ...

Every program is loaded once and generates without end, counting its tokens in a file (turns.h), whose path
takes the place of {count} in its command. All are stopped but one, which has a turn of --slice seconds; then
the next. So what the machine gives changes between rounds, not between programs. Printed are tok/s of each:
the median and quartiles of all rounds, the median of the ratios to the first program within a round, and the
same of the quarter of rounds that were fastest for all together, and of the slowest. Programs: turns_weft,
turns_llama; see README.md in this folder. Linux or macOS, Python 3.9 or later and nothing else.
"""
import argparse
import json
import mmap
import os
import shlex
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

LOAD_SECONDS = 600
WARM_TOKENS = 40
SETTLE_SECONDS = 0.1


class Program:
    def __init__(self, name, command, folder):
        self.name = name
        self.rates = []
        self.path = os.path.join(folder, name)
        try:
            self.process = subprocess.Popen([x.replace("{count}", self.path) for x in shlex.split(command)],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError as e:
            sys.exit(f"turns: {name}: {e}")

    def load(self):
        self.count = self.wait_for(self.path)
        self.wait(WARM_TOKENS, LOAD_SECONDS)
        self.process.send_signal(signal.SIGSTOP)

    def alive(self):
        if self.process.poll() is not None:
            sys.exit(f"turns: {self.name} ended with {self.process.returncode}; run its command alone to see why")

    def wait_for(self, path):
        start = time.monotonic()
        while not os.path.exists(path) or os.path.getsize(path) < 16:
            self.alive()
            if time.monotonic() - start > LOAD_SECONDS:
                sys.exit(f"turns: {self.name} has not opened {path} in {LOAD_SECONDS} s")
            time.sleep(0.05)
        with open(path, "r+b") as f:
            return mmap.mmap(f.fileno(), 16)

    def read(self):
        """Tokens, and when the last was made, in ns."""
        return struct.unpack("QQ", self.count[:16])

    def wait(self, tokens, seconds):
        start = time.monotonic()
        while self.read()[0] < tokens:
            self.alive()
            if time.monotonic() - start > seconds:
                sys.exit(f"turns: {self.name} has not made {tokens} tokens in {seconds} s")
            time.sleep(0.005)

    def turn(self, seconds):
        before = self.read()[0]
        self.process.send_signal(signal.SIGCONT)
        time.sleep(SETTLE_SECONDS)
        self.wait(before + 1, LOAD_SECONDS)
        begin = self.read()
        time.sleep(seconds)
        self.wait(begin[0] + 1, LOAD_SECONDS)
        end = self.read()
        self.process.send_signal(signal.SIGSTOP)
        self.rates.append((end[0] - begin[0]) / (end[1] - begin[1]) * 1e9)


def summary(programs, rounds):
    first = programs[0].rates
    return [{"name": p.name, "tok_s": statistics.median(p.rates[r] for r in rounds),
             "ratio": statistics.median(p.rates[r] / first[r] for r in rounds)} for p in programs]


def main():
    p = argparse.ArgumentParser(description="decode of several programs in short turns")
    p.add_argument("--slice", type=float, default=0.4, help="seconds of a turn (0.4; 2 for many sequences)")
    p.add_argument("--rounds", type=int, default=40)
    p.add_argument("--json", action="store_true")
    p.add_argument("programs", nargs="+", metavar="NAME=COMMAND")
    args = p.parse_args()
    if args.rounds < 4 or args.slice <= 0 or any("=" not in x for x in args.programs):
        p.error("4 rounds or more, a slice above 0, and each program as NAME=COMMAND")
    programs = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for x in args.programs:
                programs.append(Program(*x.split("=", 1), folder))
                programs[-1].load()
            for _ in range(args.rounds):
                for program in programs:
                    program.turn(args.slice)
        finally:
            for program in programs:
                program.process.kill()
                program.process.wait()
    by_speed = sorted(range(args.rounds), key=lambda r: -sum(program.rates[r] for program in programs))
    quarter = args.rounds // 4
    parts = {"all": by_speed, "fastest": by_speed[:quarter], "slowest": by_speed[-quarter:]}
    if args.json:
        print(json.dumps({name: summary(programs, rounds) for name, rounds in parts.items()}
                         | {"rates": {program.name: program.rates for program in programs}}, indent=1))
        return
    for program in programs:
        low, middle, high = statistics.quantiles(program.rates, n=4)
        print(f"{program.name:12} {middle:8.1f} tok/s ({low:.1f} to {high:.1f})")
    for name, rounds in parts.items():
        print(f"{name:12} " + "  ".join(f"{s['name']} {s['tok_s']:.1f} ({s['ratio']:.2f})"
                                        for s in summary(programs, rounds)))


if __name__ == "__main__":
    main()
