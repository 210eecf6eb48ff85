#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Buildbot step (boot/fleet/ci/mote_buildbot.py) on a real Buildbot: a master
# and two workers, builds whose steps are bare-metal guests that end in all ways,
# and what the master's database has of them.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"

# Debian's, which is one of Debian's Python.
for program in buildbot buildbot-worker sqlite3; do
	command -v $program >/dev/null || {
		echo "1..0 # SKIP there is no $program here; 'tests/deps/packages install fleet' installs it"
		exit 0
	}
done

LIMIT=240
tree=$PWD
base="$tmp/bb,1"
db=$base/master/state.sqlite
mkdir "$base"

# -- a master and two workers -------------------------------------------------

buildbot create-master -q "$base/master" >"$out" 2>"$err" || {
	fail "a master is made"
	done_testing
}
cp boot/fleet/ci/mote_buildbot.py "$base/master"
cat >"$base/flaky" <<END
#!/bin/sh
# A machine on which the first guest dies
if mkdir "$base/tried" 2>/dev/null; then guest=panic; else guest=exit; fi
exec "$tree/$MOTE" -k "$tree/$GUESTS/\$guest.elf" "\$@"
END
cat >"$base/killed" <<END
#!/bin/sh
kill -KILL \$\$
END
chmod +x "$base/flaky" "$base/killed"

cat >"$base/master/master.cfg" <<END
import os
from buildbot.plugins import schedulers, steps, util, worker
from buildbot.process.buildstep import BuildStep
from buildbot.process.results import SKIPPED, SUCCESS
from twisted.internet import defer, reactor, task
from mote_buildbot import Guest

TREE = "$tree"

def guest(name, kernel, *words, options=(), **kwargs):
    return Guest(["-k", TREE + "/$GUESTS/" + kernel + ".elf", "-m", "64M",
                  *options, *(w for word in words for w in ("-a", word))],
                 name=name, mote=TREE + "/$MOTE", **kwargs)

class Stop(BuildStep):
    """Stops the build of another builder when its guest waits."""
    name = "stop"

    @defer.inlineCallbacks
    def waits(self, build):
        for step in (yield self.master.data.get(("builds", build, "steps"))):
            log = yield self.master.data.get(("steps", step["stepid"], "logs", "stdio", "contents"))
            if log and "waiting for the button" in log["content"]:
                return True
        return False

    @defer.inlineCallbacks
    def run(self):
        build = None
        while not (build and (yield self.waits(build["buildid"]))):
            yield task.deferLater(reactor, 0.2, lambda: None)
            build = yield self.master.data.get(("builders", "stopped", "builds", 1))
        yield self.master.data.control("stop", {"reason": "enough"}, ("builds", build["buildid"]))
        return SUCCESS

builders = {
    "outcomes": [
        guest("ok", "exit", "status=0"),
        guest("seven", "exit", "status=7"),
        guest("own123", "exit", "status=123"),
        guest("own124", "exit", "status=124"),
        guest("own125", "exit", "status=125"),
        guest("skipped", "exit", "status=77", decodeRC={0: SUCCESS, 77: SKIPPED}),
        guest("poweroff", "ready"),
        guest("reboot", "reset", "by=acpi", options=["--reboot-status", "9"]),
        guest("time", "hang", options=["--timeout", "1s"]),
        guest("polite", "button", maxTime=2),
        guest("deaf", "hang", maxTime=1, sigtermTime=1),
        guest("silent", "hang", timeout=1, sigtermTime=0.1),
        Guest(["-a", util.Interpolate("status=%(kw:n)s", n="5"), "-m", "64M", "-k", TREE + "/$GUESTS/exit.elf"],
              name="rendered", mote=util.Interpolate("%(kw:tree)s/$MOTE", tree=TREE)),
    ],
    "flaky": [Guest(["-m", "64M", "-a", "status=0"], name="guest", mote="$base/flaky")],
    "panic": [guest("guest", "panic"), guest("never", "exit", "status=0")],
    "often": [guest("guest", "panic", retries=3)],
    "missing": [guest("guest", "nothing", retries=0)],
    "nomote": [Guest(["-V"], mote="/nonexistent/mote", retries=0)],
    "killed": [Guest([], mote="$base/killed", retries=0)],
    "stopped": [guest("guest", "button")],
    "stop": [Stop()],
}
for n in range(12):
    builders["many%d" % n] = [guest("guest", "exit", "status=0"), guest("again", "exit", "status=0")]

c = BuildmasterConfig = {
    "workers": [worker.Worker(name, "word", max_builds=8) for name in ("one", "two")],
    "protocols": {"pb": {"port": "tcp:0:interface=127.0.0.1"}},
    "builders": [util.BuilderConfig(name=name, workernames=["one", "two"], factory=util.BuildFactory(list))
                 for name, list in builders.items()],
    "schedulers": [schedulers.Periodic(name="once", builderNames=sorted(builders), periodicBuildTimer=10000000)],
    "db": {"db_url": "sqlite:///state.sqlite"},
    "buildbotNetUsageData": None,
    "logCompressionMethod": "raw",
}
END

pids=
# in_background NAME COMMAND...
in_background() {
	background=$tmp/$1.log
	shift
	"$@" >"$background" 2>&1 </dev/null &
	pids="$pids $!"
}

# shellcheck disable=SC2086 # words
stop_all() {
	kill $pids 2>/dev/null
	for one in $pids; do
		stop_tries=100
		while kill -s 0 "$one" 2>/dev/null && [ "$stop_tries" -gt 0 ]; do
			stop_tries=$((stop_tries - 1))
			sleep 0.1
		done
	done
	kill -9 $pids 2>/dev/null
	wait $pids 2>/dev/null
	pids=
}
trap 'stop_all; tap_end' EXIT

# The port that the master has taken
listening() {
	port=$(sed -n 's/.*PBServerFactory starting on \([0-9]*\).*/\1/p' \
		"$base/master/twistd.log" 2>/dev/null | head -n 1)
	[ -n "$port" ]
}

in_background master buildbot start --nodaemon "$base/master"
pid=${pids# }
await listening || port=
pid=
if [ -z "$port" ]; then
	fail "a master starts with the step in its master.cfg"
	tail -n 20 "$tmp/master.log" "$base/master/twistd.log" | tap_note
	done_testing
fi
pass "a master starts with the step in its master.cfg"
for name in one two; do
	buildbot-worker create-worker -q "$base/$name" "127.0.0.1:$port" \
		"$name" word >>"$out" 2>>"$err"
	in_background $name buildbot-worker start --nodaemon "$base/$name"
done

# query SQL: one value a line
query() {
	sqlite3 -cmd '.timeout 10000' "$db" "$1"
}

all_complete() {
	[ "$(query 'select count(*) > 0 and count(*) = sum(complete) from buildrequests')" = 1 ]
}
ok "all builds come to an end" await all_complete
[ "$tap_count" -eq 2 ] && all_complete || {
	for log in master one two; do
		echo "# $log:"
		tail -n 15 "$base/$log/twistd.log" | sed 's/^/#   /'
	done
}
stop_all

# -- what has become of them --------------------------------------------------

# The values of buildbot.process.results
names="case %s when 0 then 'SUCCESS' when 1 then 'WARNINGS' when 2 then 'FAILURE'
	when 3 then 'SKIPPED' when 4 then 'EXCEPTION' when 5 then 'RETRY'
	when 6 then 'CANCELLED' else 'none' end"

# step BUILDER NAME: its results and what it says, of each of the builds
step() {
	# shellcheck disable=SC2059 # formats
	query "select $(printf "$names" s.results) || ' ' ||
			replace(s.state_string, ' (' || lower($(printf "$names" s.results)) || ')', '')
		from steps s join builds b on b.id = s.buildid
		join builders d on d.id = b.builderid
		where d.name = '$1' and s.name = '$2' order by b.number"
}

# builds BUILDER: their results
builds() {
	# shellcheck disable=SC2059 # a format
	query "select $(printf "$names" b.results) from builds b
		join builders d on d.id = b.builderid
		where d.name = '$1' order by b.number" | tr '\n' ' '
}

is "$(step outcomes ok)" "SUCCESS status 0" "status 0 is a success"
for n in 7 123 124 125; do
	name=own$n
	[ $n != 7 ] || name=seven
	is "$(step outcomes $name)" "FAILURE status $n" \
		"a guest's own status $n is a failure"
done
is "$(step outcomes skipped)" "SKIPPED status 77" \
	"decodeRC says what a guest's own status is"
is "$(step outcomes poweroff)" "SUCCESS the guest powered off" \
	"a guest without a command that powers off is a success"
is "$(step outcomes reboot)" "FAILURE the guest rebooted" \
	"a reboot is what --reboot-status says"
is "$(step outcomes time)" "FAILURE the guest's time was over" \
	"mote's time limit is a failure"
is "$(step outcomes polite)" "FAILURE the step's time was over" \
	"a guest that powers off at maxTime is a failure all the same"
is "$(step outcomes deaf)" "FAILURE the step's time was over" \
	"a guest that does not hear is killed at maxTime"
is "$(step outcomes silent)" "FAILURE the step's time was over" \
	"a guest that is silent too long is stopped"
is "$(step outcomes rendered)" "FAILURE status 5" "arguments are rendered"
is "$(builds outcomes)" "FAILURE " "a failure is the build's, and not begun again"
is "$(step flaky guest)" "RETRY the guest's kernel panicked; again
SUCCESS status 0" "a panic has the build begun again"
is "$(builds flaky)" "RETRY SUCCESS " "and that one counts"
is "$(step panic guest)" "RETRY the guest's kernel panicked; again
EXCEPTION the guest's kernel panicked" "after one more time it is an exception"
is "$(step panic never)" "" "and no step comes after it"
is "$(builds often)" "RETRY RETRY RETRY EXCEPTION " "retries says how often"
is "$(step missing guest)" "EXCEPTION mote could not run a guest" \
	"a kernel that is not there is an exception"
like "$(query 'select cast(content as text) from logchunks where cast(content as text) like "%nothing.elf%"' |
	tr -d '\0')" "mote: cannot open --kernel .*nothing.elf" \
	"what mote says is in the step's log"
is "$(step nomote guest)" "EXCEPTION mote was killed, or not started" \
	"a worker without mote is an exception"
is "$(step killed guest)" "EXCEPTION mote was killed, or not started" \
	"a mote that was killed is an exception"
is "$(builds stopped) $(step stopped guest)" "CANCELLED  CANCELLED stopped" \
	"a build that is stopped is cancelled"
is "$(query "select count(*) from logchunks where cast(content as text) like '%pressed 1%'")" 2 \
	"stop, and the end of maxTime, press the power button"
is "$(query "select count(distinct s.buildid) from steps s
	join builds b on b.id = s.buildid join builders d on d.id = b.builderid
	where d.name like 'many%' and s.name = 'again' and s.results = 0")" 12 \
	"many builds at once have a guest each"
is "$(query "select count(distinct workerid) from builds")" 2 \
	"both workers have run guests"
is "$(query "select count(*) from logs where name = 'events'" |
	sed 's/^[3-9][0-9]$/many/')" many "each step has its events as a log"
is "$(find "$base/one" "$base/two" -name 'mote.events*' -not -path '*/stopped/*')" "" \
	"no events are left on a worker"
done_testing
