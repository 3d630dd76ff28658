#!/usr/bin/env python3
"""Many clients at once on `weft serve`, some of whom behave badly, and a look at what it does to the rest.

usage: soak.py --url http://127.0.0.1:8080 --pid PID [options]

Every client asks again and again, over a connection it keeps. A share of the requests vanish at a random
moment: before they run, in their prompt, in the middle of the answer. A share reads slowly through a
small window. Every other answer must be, byte for byte, what the same prompt got when it was alone, and
no answer but 200 and 429 may come. With --pid the server's memory and open files are watched. The exit
code is 1 when anything was wrong. Python 3.9 or later, nothing else; see README.md in this folder.
"""
import argparse
import asyncio
import json
import os
import random
import resource
import socket
import sys
import time
import urllib.parse

WORDS = ("river stone paper light winter garden engine copper silver morning window letter music "
         "harbor forest candle market bridge summer thread").split()


def arguments():
    p = argparse.ArgumentParser(description="many clients, some bad, on weft serve")
    p.add_argument("--url", required=True)
    p.add_argument("--pid", type=int, help="of the server: watch its memory and open files")
    p.add_argument("--clients", type=int, default=1000)
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--vanish", type=float, default=0.1, help="share of requests that are left")
    p.add_argument("--slow", type=float, default=0.1, help="share of clients that read slowly")
    p.add_argument("--prompts", type=int, default=24, help="different prompts")
    p.add_argument("--words", type=int, default=80, help="most of a prompt; the least are 8")
    p.add_argument("--gen", type=int, default=64, help="tokens of an answer")
    p.add_argument("--baseline", type=int, default=0, metavar="N",
                   help="first measure N well-behaved clients for a sixth of the time")
    p.add_argument("--settle", type=float, default=10, help="seconds to let go of everything after")
    p.add_argument("--memory-growth", type=float, default=0.01,
                   help="from a fifth of the run to its end")
    p.add_argument("--min-throughput", type=float, default=0,
                   help="least share of the baseline's tok/s (0: not checked)")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args()


# ---- HTTP, as much of it as is needed ----

class Connection:
    """One kept connection; chunks of an answer as they come."""

    def __init__(self, host, port, is_slow):
        self.host, self.port, self.is_slow = host, port, is_slow
        self.reader = self.writer = None

    async def open(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setblocking(False)
        if self.is_slow:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        await asyncio.get_running_loop().sock_connect(s, (self.host, self.port))
        self.reader, self.writer = await asyncio.open_connection(sock=s, limit=65536)

    async def ask(self, path, body):
        """Sends a request and returns (status, headers) when those have come."""
        if self.writer is None:
            await self.open()
        data = json.dumps(body).encode()
        self.writer.write(b"POST %s HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
                          b"Content-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data))
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
        return int(head[0].split()[1]), headers

    async def body(self, headers):
        """Pieces of the body."""
        if "content-length" in headers:
            yield await self.reader.readexactly(int(headers["content-length"]))
            return
        while True:
            if self.is_slow:
                await asyncio.sleep(0.05)
            size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
            piece = await self.reader.readexactly(size)
            await self.reader.readexactly(2)
            if size == 0:
                return
            yield piece

    def drop(self, is_rude):
        if self.writer is not None:
            if is_rude:
                self.writer.transport.abort()
            else:
                self.writer.close()
        self.reader = self.writer = None


def text_of(stream):
    """(text, is whole) of an event stream of /v1/completions."""
    text, is_whole = [], False
    for event in stream.split(b"\n\n"):
        if event == b"data: [DONE]":
            is_whole = True
        elif event.startswith(b"data: "):
            document = json.loads(event[6:])
            if "error" in document:
                return document["error"]["message"], False
            text += [c["text"] for c in document["choices"]]
    return "".join(text), is_whole


# ---- clients ----

class Soak:
    def __init__(self, args):
        self.args = args
        url = urllib.parse.urlsplit(args.url)
        self.host, self.port = socket.gethostbyname(url.hostname), url.port or 80
        self.random = random.Random(args.seed)
        self.prompts = [" ".join(self.random.choices(WORDS, k=self.random.randint(8, args.words)))
                        for _ in range(args.prompts)]
        self.solo = {}
        self.counts = dict(ok=0, vanished=0, refused=0, wrong=0, failed=0, tokens=0)
        self.problems = []
        self.end = 0

    def body(self, prompt):
        return {"prompt": self.prompts[prompt], "max_tokens": self.args.gen, "temperature": 0,
                "ignore_eos": True, "stream": True}

    def note(self, kind, text):
        self.counts[kind] += 1
        if len(self.problems) < 10:
            self.problems.append(f"{kind}: {text}")

    async def answers_alone(self):
        c = Connection(self.host, self.port, False)
        for i in range(len(self.prompts)):
            status, headers = await c.ask("/v1/completions", self.body(i))
            stream = b"".join([piece async for piece in c.body(headers)])
            text, is_whole = text_of(stream)
            if status != 200 or not is_whole:
                sys.exit(f"soak: alone, prompt {i} got {status}: {text[:200]}")
            self.solo[i] = text
        c.drop(False)

    async def one_request(self, c, r):
        prompt = r.randrange(len(self.prompts))
        status, headers = await c.ask("/v1/completions", self.body(prompt))
        stream = b"".join([piece async for piece in c.body(headers)])
        if status == 429:
            self.counts["refused"] += 1
            return float(headers["retry-after"]) * r.uniform(1, 1.5)
        text, is_whole = text_of(stream) if status == 200 else (stream[:200].decode(), False)
        if not is_whole:
            self.note("failed", f"{status} {text[:200]}")
        elif text != self.solo[prompt]:
            self.note("wrong", f"prompt {prompt}: {text[:80]!r}, alone {self.solo[prompt][:80]!r}")
        else:
            self.counts["ok"] += 1
            self.counts["tokens"] += self.args.gen
        return 0

    async def client(self, number, vanish):
        r = random.Random(self.args.seed * 1000003 + number)
        c = Connection(self.host, self.port, r.random() < self.args.slow and vanish > 0)
        await asyncio.sleep(r.uniform(0, 1))
        while time.monotonic() < self.end:
            rest = 0
            task = asyncio.ensure_future(self.one_request(c, r))
            try:
                if r.random() < vanish:
                    await asyncio.wait({task}, timeout=r.expovariate(1))
                    if not task.done():
                        self.counts["vanished"] += 1
                        task.cancel()
                        c.drop(r.random() < 0.5)
                        continue
                rest = await task
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.note("failed", f"{type(error).__name__}: {error}")
                c.drop(False)
            await asyncio.sleep(min(rest, max(0, self.end - time.monotonic())))
        c.drop(False)

    async def crowd(self, clients, seconds, vanish):
        """tok/s of whole answers."""
        before, start = self.counts["tokens"], time.monotonic()
        self.end = start + seconds
        await asyncio.gather(*(self.client(i, vanish) for i in range(clients)))
        return (self.counts["tokens"] - before) / (time.monotonic() - start)


# ---- the server's side ----

def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid):
    return int(open(f"/proc/{pid}/statm").read().split()[1]) * resource.getpagesize()


async def watch_memory(pid, seconds, samples):
    start = time.monotonic()
    while True:
        samples.append((time.monotonic() - start, resident(pid)))
        await asyncio.sleep(max(0.2, seconds / 200))


async def files_settle(pid, wanted, seconds):
    end = time.monotonic() + seconds
    while open_files(pid) > wanted and time.monotonic() < end:
        await asyncio.sleep(0.1)
    return open_files(pid)


async def soak(args):
    s = Soak(args)
    report = {}
    await s.answers_alone()
    await asyncio.sleep(0.5)
    if args.pid:
        report["files_before"] = open_files(args.pid)
    if args.baseline:
        report["baseline_tok_s"] = await s.crowd(args.baseline, args.seconds / 6, 0)
    samples = []
    watcher = asyncio.ensure_future(watch_memory(args.pid, args.seconds, samples)) if args.pid else None
    report["crowd_tok_s"] = await s.crowd(args.clients, args.seconds, args.vanish)
    if args.pid:
        watcher.cancel()
        early = [b for t, b in samples if t >= samples[-1][0] / 5][0]
        report["memory_growth"] = samples[-1][1] / early - 1
        report["files_after"] = await files_settle(args.pid, report["files_before"], args.settle)
    report.update(s.counts, problems=s.problems)
    report["is_fine"] = (s.counts["ok"] > 0 and s.counts["wrong"] == s.counts["failed"] == 0
                         and report.get("files_after", 0) <= report.get("files_before", 0)
                         and report.get("memory_growth", 0) <= args.memory_growth
                         and report["crowd_tok_s"] >= args.min_throughput * report.get("baseline_tok_s", 0))
    return report


def main():
    args = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = asyncio.run(soak(args))
    print(json.dumps(report, indent=2))
    return 0 if report["is_fine"] else 1


if __name__ == "__main__":
    sys.exit(main())
