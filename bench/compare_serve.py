#!/usr/bin/env python3
"""weft serve beside llama-server, another weft or any other server: the same load on both, in turns, on one machine.

usage: compare_serve.py (--llama-server PATH | --other-weft PATH | --other-command TEXT) [options] MODEL.gguf

Starts one server after the other for each number of users (llama-server with as many slots, and a context
that holds them all), lets `weft bench-serve --compare` ask both in turns, and prints medians. See README.md
in this folder.
"""
import argparse
import glob
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request

READY_S_MAX = 600  # some compile the model first
FIGURES = [("output_tok_s", "output tok/s"), ("total_tok_s", "all tok/s"),
           ("ttft_ms_p50", "first token p50, ms"), ("ttft_ms_p99", "first token p99, ms"),
           ("itl_ms_p50", "between tokens p50, ms"), ("itl_ms_p99", "between tokens p99, ms"),
           ("http_thread_percent", "HTTP thread, % of a core")]


def arguments():
    p = argparse.ArgumentParser(description="weft serve beside another server")
    p.add_argument("model", metavar="MODEL.gguf")
    p.add_argument("--weft", default=os.path.join("build", "weft"))
    other = p.add_mutually_exclusive_group(required=True)
    other.add_argument("--llama-server", metavar="PATH")
    other.add_argument("--other-weft", metavar="PATH", help="an older one, or the same with other options")
    other.add_argument("--other-command", metavar="TEXT",
                       help="starts a server with OpenAI's interface and /health; {port}, {users}, {ctx}, {threads} "
                            "and {model} are filled in")
    p.add_argument("--other-name", default="other", help="of that server, in the table (default %(default)s)")
    p.add_argument("--users", default="1,4,16,64")
    p.add_argument("--prompt", default="75-128", help="tokens (default %(default)s)")
    p.add_argument("--gen", default="64", help="tokens (default %(default)s)")
    p.add_argument("--shared-prefix", type=int, default=0)
    p.add_argument("--requests", type=int, default=0, help="of a round (default: 2 a user, at least 8)")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--pause", type=int, default=0, help="seconds of rest before each turn (default %(default)s)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--completions", action="store_true", help="plain text: no chat template needed")
    p.add_argument("--weft-options", default="", help="more of `weft serve`, e.g. '--itl-target-ms 200'")
    p.add_argument("--llama-options", default="", help="more of llama-server")
    p.add_argument("--other-options", default="", help="more of the other weft, e.g. '--no-prefix-cache'")
    p.add_argument("--json", action="store_true")
    return p.parse_args()


def longest(lengths):
    return int(lengths.split("-")[-1].split(",")[-1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, port):
    """A server that answers /health with 200."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    end = time.monotonic() + READY_S_MAX
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit(f"compare_serve: did not get ready: {' '.join(command)}")


def thread_seconds(pid):
    """(thread's id, name) -> processor time so far. Empty where there is no /proc."""
    seconds = {}
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(f"{task}/stat", encoding="utf-8") as f:
                name, rest = f.read().split(" (", 1)[1].rsplit(") ", 1)
        except OSError:  # it has just ended
            continue
        ticks = sum(int(field) for field in rest.split()[11:13])  # utime, stime
        seconds[int(os.path.basename(task)), name] = ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def add_threads(result, pid, before, rounds):
    """What share of a core each of a weft's threads had while it was asked. The first thread is the one for HTTP."""
    after = thread_seconds(pid)
    asked_s = result["seconds"] * rounds
    result["threads_percent"] = {name: 100 * (s - before.get((tid, name), 0)) / asked_s
                                 for (tid, name), s in sorted(after.items())}
    first = next((name for tid, name in after if tid == pid), None)
    if first is not None:
        result["http_thread_percent"] = result["threads_percent"][first]


def servers(args, users):
    ctx = longest(args.prompt) + longest(args.gen) + 64  # and the chat template's own
    ours, theirs = free_port(), free_port()

    def weft(program, port, options):
        return port, [program, "serve", args.model, "--port", str(port), "--max-seqs", str(users), "--ctx",
                      str(ctx), "--threads", str(args.threads), "--log-format", "none", *options.split()]

    if args.other_weft:
        return [weft(args.weft, ours, args.weft_options), weft(args.other_weft, theirs, args.other_options)]
    if args.other_command:
        filled = {"port": theirs, "users": users, "ctx": ctx, "threads": args.threads, "model": args.model}
        command = [word.format_map(filled) for word in shlex.split(args.other_command)]
        return [weft(args.weft, ours, args.weft_options), (theirs, command)]
    return [weft(args.weft, ours, args.weft_options),
            (theirs, [args.llama_server, "-m", args.model, "--host", "127.0.0.1", "--port",
                      str(theirs), "-t", str(args.threads), "-np", str(users), "-c",
                      str(ctx * users), "--no-webui", "-fa", "on",
                      *args.llama_options.split()])]


def compare(args, users):
    requests = args.requests or max(2 * users, 8)
    both = servers(args, users)
    running = []
    try:
        for port, command in both:
            running.append(start(command, port))
        command = [args.weft, "bench-serve", "--url", f"http://127.0.0.1:{both[0][0]}", "--compare",
                   f"http://127.0.0.1:{both[1][0]}", "-c", str(users), "-n", str(requests),
                   "--prompt", args.prompt, "--gen", args.gen, "--rounds", str(args.rounds),
                   "--pause", str(args.pause), "--seed", str(args.seed), "--json"]
        if args.completions:
            command += ["--completions"]
        if args.shared_prefix:
            command += ["--shared-prefix", str(args.shared_prefix)]
        ours = [process.pid for process in running[:2 if args.other_weft else 1]]
        before = [thread_seconds(pid) for pid in ours]
        result = subprocess.run(command, stdout=subprocess.PIPE)
        if result.returncode != 0:
            sys.exit(f"compare_serve: exit {result.returncode}: {' '.join(command)}")
        report = json.loads(result.stdout)
        for pid, seconds, side in zip(ours, before, report["results"]):
            add_threads(side, pid, seconds, args.rounds)
        return report
    finally:
        for process in running:
            process.terminate()
            process.wait()


def main():
    args = arguments()
    reports = {}
    other = "other weft" if args.other_weft else args.other_name if args.other_command else "llama-server"
    print(f"| {os.path.basename(args.model)}, prompt {args.prompt}, gen {args.gen} | weft | {other} | ratio |\n"
          "|---|---:|---:|---:|", file=sys.stderr if args.json else sys.stdout)
    for users in (int(u) for u in args.users.split(",")):
        report = reports[users] = compare(args, users)
        ours, theirs = report["results"]
        for key, name in FIGURES:
            if key in ours:
                ratio = f"{ours[key] / theirs[key]:.2f}" if theirs.get(key) else "-"
                theirs_shown = f"{theirs[key]:.1f}" if key in theirs else "-"
                print(f"| {users} users: {name} | {ours[key]:.1f} | {theirs_shown} | {ratio} |", flush=True,
                      file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(reports, indent=2))


if __name__ == "__main__":
    main()
