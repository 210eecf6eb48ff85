# SPDX-License-Identifier: Apache-2.0
"""A Buildbot step that runs a guest of mote. Lay it beside master.cfg:

    from mote_buildbot import Guest

    factory.addStep(Guest(["-k", "vmlinux", "-d", "root.img,root,ephemeral",
                           "--put", ".", "-w", "/src", "--", "make", "test"]))

README.md has the arguments, and what becomes of a guest's end.
"""
import json

from buildbot.process import buildstep, logobserver, remotecommand
from buildbot.process.results import (CANCELLED, EXCEPTION, FAILURE, RETRY,
                                      SUCCESS)
from twisted.internet import defer

# What the machine has done, and not what ran in the guest. None: mote was killed.
MACHINE = {
    "panic": "the guest's kernel panicked",
    "crash": "the guest crashed",
    "error": "mote could not run a guest",
    "signal": "mote was stopped",
    None: "mote was killed, or not started",
}
GUEST = {
    "timeout": "the guest's time was over",
    "oom": "the guest's memory was too little",
    "poweroff": "the guest powered off",
    "reboot": "the guest rebooted",
    "snapshot": "a snapshot was taken",
}


class TimedOut(logobserver.LogObserver):
    """Whether the worker has stopped a command (timeout, maxTime). It says so in
    a header, which nothing that runs can write."""

    seen = False

    def headerReceived(self, data):
        self.seen = self.seen or "command timed out: " in data


class Guest(buildstep.ShellMixin, buildstep.BuildStep):
    name = "guest"
    renderables = ["arguments", "mote"]
    # The first SIGTERM presses the guest's power button, or is its command's.
    sigtermTime = 30

    def __init__(self, arguments, mote="mote", retries=1, **kwargs):
        """arguments: mote's options and the command. retries: how often a build
        is begun again after a failure of the machine's."""
        self.arguments = arguments
        self.mote = mote
        self.retries = retries
        kwargs = self.setupShellMixin(
            kwargs, prohibitArgs=["command", "logfiles", "lazylogfiles"])
        super().__init__(**kwargs)
        self.logfiles = {}
        self.lazylogfiles = True
        self.events = logobserver.BufferLogObserver()
        self.addLogObserver("events", self.events)
        self.timed_out = TimedOut()
        self.addLogObserver("stdio", self.timed_out)

    @defer.inlineCallbacks
    def run(self):
        # Beside the directory that the sources are in. What is there is of a
        # build that was stopped.
        path = self.worker.path_module.join(self.getProperty("builddir"),
                                            "mote.events")
        yield self.remove(path)
        self.logfiles = {"events": {"filename": path}}
        command = yield self.makeRemoteShellCommand(
            command=[self.mote, "--events", path.replace(",", ",,")] +
            list(self.arguments))
        yield self.runCommand(command)
        if self.stopped or command.interrupted:
            self.descriptionDone = "stopped"
            return CANCELLED
        yield self.remove(path)
        result, self.descriptionDone = yield self.judge(command)
        return result

    def remove(self, path):
        return self.runCommand(
            remotecommand.RemoteCommand("rmfile", {"path": path}))

    def end(self):
        """Reason and status of the last event; None where there is none."""
        for line in reversed(self.events.getStdout().splitlines()):
            try:
                event = json.loads(line)
                if event["event"] == "exit":
                    return event["reason"], event["status"]
            except (ValueError, KeyError, TypeError):
                continue
        return None, None

    @defer.inlineCallbacks
    def judge(self, command):
        reason, status = self.end()
        if self.timed_out.seen:
            return FAILURE, "the step's time was over"
        if reason in MACHINE:
            said = MACHINE[reason]
            again = yield self.again()
            return (RETRY, said + "; again") if again else (EXCEPTION, said)
        said = GUEST.get(reason, "status %s" % status)
        if reason in ("timeout", "oom"):
            return FAILURE, said
        return self.decodeRC.get(status, FAILURE), said

    @defer.inlineCallbacks
    def again(self):
        """Whether this build was not yet begun often enough."""
        request = self.build.requests[0].id
        builds = yield self.master.data.get(
            ("buildrequests", request, "builds"))
        return len(builds) <= self.retries
