# SPDX-License-Identifier: BSD-3-Clause
"""softdcd-agent in a guest, driven from outside, and what the pool says beside it."""

import json
import time

from machine import WAIT_S, Bridge, Failure, Machine, Window, same

# One device of dynamic capacity alone, below a host bridge and a window of its own.
DEVICES = {"dev0": ("--dc", "1G", "--serial", "0x5dcd0001")}
MACHINE = Machine(bridges=(Bridge(),), windows=(Window(size="4G"),))
MODULES = ()
FILES = {"usr/bin/softdcd-agent": "{build}/agent/softdcd-agent", "lib/guest/agent": "{tests}/lib/agent"}
ADDRESS = "0000:0d:00.0"


def tag_of(number):
    return f"5be1f00d-2a6b-4f43-9c1e-{number:012x}"


class AgentHost:
    """The agent that a guest's script runs (lib/agent)."""

    def __init__(self, guest, pool):
        self.guest, self.pool = guest, pool
        guest.hear("ready")

    # ---- the agent's side

    def start(self, *options):
        """Start it and wait until it has its device; returns what it tells then."""
        self.guest.tell(" ".join(["start", *options]))
        return self.event("attached")

    def start_refused(self, *options):
        """It must not start; returns why."""
        self.guest.tell(" ".join(["try", *options]))
        return self.ended("1")

    def ended(self, want):
        """It has, with this exit code; returns what it said on standard error."""
        self.event("ended")
        code, _, text = self.guest.hear("ended").partition(" ")
        same("exit code of the agent", code, want)
        return text

    def event(self, name):
        """The next thing it tells, which must be this."""
        return self.event_of(name)

    def event_of(self, *names):
        """The next thing it tells, which must be one of these."""
        told = json.loads(self.guest.hear("agent"))
        if told["event"] in names:
            return told
        why = self.run("cat /tmp/agent-err") if told["event"] == "ended" else ""
        raise Failure(f"the agent told {told} {why}, none of {names}")

    def event_after(self, passed, name):
        """The next thing it tells that is not PASSED."""
        while True:
            told = json.loads(self.guest.hear("agent"))
            if told["event"] != passed:
                same("what the agent told", told["event"], name)
                return told

    def say(self, command):
        self.guest.tell(f"say {command}")

    def command(self, command, *events):
        """A command that succeeds, after these events; returns them."""
        self.say(command)
        told = [self.event(name) for name in events]
        self.event("done")
        return told

    def kill(self):
        """End it as a crash would."""
        self.guest.tell("kill KILL")
        self.ended("137")

    def stop(self, *events):
        """End it in order, with these events before it leaves; returns them."""
        self.guest.tell("kill TERM")
        told = [self.event(name) for name in (*events, "left")]
        same("what the agent complained of", self.ended("0"), "")
        return told

    def run(self, command):
        """A shell command in the guest that succeeds; returns what it printed."""
        self.guest.tell(f"run {command}")
        code, _, text = self.guest.hear("ran").partition(" ")
        if code != "0":
            raise Failure(f"{command}: exit code {code}: {text}")
        return text

    def end(self):
        self.guest.tell("end")

    # ---- the pool's side

    def backend(self, number, size, *options):
        """A backend with a tag; returns the tag."""
        tag = tag_of(number)
        self.pool.softdcd("backend", "add", f"b{number}", "--size", str(size), "--tag", tag, *options)
        return tag

    def offer(self, *options, device="dev0"):
        return self.pool.softdcd("offer", device, *options)

    def try_offer(self, *options):
        """The same, or nothing if the pool refuses it now."""
        try:
            return self.offer(*options)
        except Failure:
            return None

    def until(self, what, test):
        """Wait until TEST gives something true; returns it."""
        deadline = time.monotonic() + WAIT_S
        while not (result := test()):
            if time.monotonic() > deadline:
                raise Failure(f"still not: {what}")
            time.sleep(0.02)
        return result

    def check(self, *groups):
        """Both sides have exactly these groups, as `accepted` told them."""
        want = sorted(row for group in groups for row in rows_of(group))
        same("what the pool has accepted", self.pool.extents("accepted"), want)
        listed, = self.command("list", "list")
        same("what the agent holds", sorted(row for group in listed["groups"]
                                            for row in rows_of(group)), want)
        same("number of extents the agent holds", listed["extents"], len(want))


def rows_of(group):
    """(dpa, len, tag, seq) of each extent of a group as the agent tells it."""
    return [(row["dpa"], row["len"], group["tag"], row["sequence"]) for row in group["maps"]]
