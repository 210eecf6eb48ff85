#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command's user in the guest, --as: by the root's /etc/passwd and /etc/group,
# and by number; what it may do, what it owns, what it finds in its environment.
# And what names the guest: --hostname; what else gives it variables: --env-file.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

root=$tmp/root
mkdir -p "$root/bin" "$root/etc" "$root/srv/app" "$root/secret" "$root/tmp" \
	"$root/proc" "$root/sys" "$root/dev" "$root/run"
cp build/guest/busybox "$root/bin"
for applet in sh cat id env stat hostname ls wc grep touch tty sort; do
	ln -s busybox "$root/bin/$applet"
done
cat >"$root/etc/passwd" <<-'END'
	root:x:0:0:root:/root:/bin/sh
	app:x:1000:1001:An App,,,:/srv/app:/bin/ash
END
: >"$root/etc/hosts" # none is made on a disk that is written to
printf 'root:x:0:\napps:x:1001:\nstaff:x:50:other,app\nwheel:x:10:app' \
	>"$root/etc/group"
printf '#!/bin/sh\necho mine\n' >"$root/bin/mine"
images() {
	chown -R 0:0 "$root" && chmod -R go=u,go-w "$root" &&
		chown 1000:1001 "$root/srv/app" && chmod 700 "$root/secret" \
		"$root/srv/app" "$root/bin/mine" &&
		/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/ext4" 8M &&
		mkfs.erofs --quiet "$tmp/erofs" "$root"
}
images >"$tmp/images" 2>&1 || {
	cat "$tmp/images"
	exit 1
}

# guest NAME ARG...: from the disk that is written to
guest() {
	guest_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$guest_name" $modules -d "$tmp/ext4,root,ephemeral" "$@"
}

# clone NAME ARG...: of the guest that is saved first, with the same disk
snap=ready
clone() {
	clone_name=$1
	shift
	"$MOTE" --restore "$tmp/$snap.snap" --events "$tmp/$clone_name.events" \
		--timeout "${LIMIT}s" "$@" <"${input:-/dev/null}" \
		>"$tmp/$clone_name.out" 2>"$tmp/$clone_name.err" &
	echo $! >"$tmp/$clone_name.pid"
}

refused() {
	is "$status $(cat "$out" "$err")" "125 mote: $1" "$2"
}

look='echo id=$(id -u):$(id -g) $(id -G)
echo env=$(env | sort | grep "^\(HOME\|USER\|LOGNAME\|SHELL\)=")
echo caps=$(grep -c "^Cap\(Prm\|Eff\|Inh\|Amb\):.0*$" /proc/self/status)
echo in=$PWD
echo by name >/dev/stderr
echo by=stdout >/dev/stdout
echo read=$(cat /dev/stdin)
touch /etc/mine 2>/dev/null || echo etc=kept
touch /srv/app/mine 2>/dev/null && echo mine=own
'
echo typed >"$tmp/typed"
guest ready --snapshot "$tmp/ready.snap" --as app --hostname source -- \
	sh -c "$look"
input=$tmp/typed
guest name --as app -w /srv/app -- sh -c "$look"
ended ready
ends 0 snapshot "a guest whose command is to be a user's is saved"
boot ro $modules -d "$tmp/erofs,root,ro" --as app:staff -e HOME=/h -- sh -c "$look"
ended name
ends 0 exited "a command as a user that the root knows by name"
is "$(got id)" "1000:1001 1001 10 50" "it has the user's groups"
is "$(got env)" "HOME=/srv/app LOGNAME=app SHELL=/bin/ash USER=app" \
	"it has the user's HOME, LOGNAME, SHELL and USER"
is "$(got caps)" 4 "it has no capability"
is "$(got in)" /srv/app "it is in a directory that is the user's alone"
is "$(cat "$err") $(got by)" "by name stdout" \
	"it opens /dev/stderr and /dev/stdout by their names"
is "$(got read)" typed "it opens /dev/stdin by its name"
is "$(got etc) $(got mine)" "kept own" "it writes where the user may"
clone number --as 77 -- sh -c "$look"
ended ro
ends 0 exited "a user of a root that is read-only"
is "$(got id)" "1000:50 50" "a group that is given is the only one"
is "$(got env)" "HOME=/h LOGNAME=app SHELL=/bin/ash USER=app" \
	"what --env gives counts more than what the user has"
clone pair --as 1000:88 -- sh -c "$look"
ended number
is "$(got id) $(got env) $(got caps)" "77:0 0 HOME=/ 4" \
	"a number without an entry has group 0 and the home /"
is "$(cat "$err") $(got read)" "by name typed" "and opens its streams by name"
input=
guest tty -t --as app -- sh -c 'echo tty=$(stat -c %u:%g $(tty))
	echo by=name >/dev/stderr; echo and=terminal >/dev/tty; exit 7'
ended pair
is "$(got id) $(got env)" \
	"1000:88 88 HOME=/srv/app LOGNAME=app SHELL=/bin/ash USER=app" \
	"a number is looked up, and a group's number needs no entry"
clone again --as root:wheel -- sh -c "$look"
ended tty
ends 7 exited "a user's command in a terminal"
is "$(got tty) $(got by) $(got and)" "1000:5 name terminal" \
	"the terminal is the user's own"
clone nobody --as nobody -- id
ended again
is "$(got id) $(got caps) $(got env)" \
	"0:10 10 2 HOME=/root LOGNAME=root SHELL=/bin/sh USER=root" \
	"root with another group is root"
clone nogroup --as app:nogroup -- id
ended nobody
refused "--as: the guest's /etc/passwd has no such user: nobody" \
	"a user who is not there: status 125, and why"
clone secret --as app -w /secret -- id
ended nogroup
refused "--as: the guest's /etc/group has no such group: nogroup" \
	"a group that is not there: status 125, and why"
clone mine --as app -- mine
ended secret
refused "cannot change to --workdir: /secret: permission denied" \
	"a directory that the user may not enter: status 125, and why"
boot initrd $modules --as 5:6 -- sh -c 'echo id=$(busybox id -u):$(busybox id -G)
	echo files=$(ulimit -Sn):$(ulimit -Hn)'
ended mine
is "$status $(cat "$err")" "126 mote: cannot be run: mine: permission denied" \
	"a program that the user may not run: status 126, and why"

# -- the name, and variables --------------------------------------------------

printf '# comment\nA=file\nB=two words\n  C="quoted"\nHOME=/f\n' >"$tmp/env"
guest named --hostname web-1 --as app --env-file "$tmp/env" -e A=1 \
	-a ip=192.0.2.9::192.0.2.1:255.255.255.0:box:lo:off -- \
	sh -c 'echo name=$(hostname) $(hostname -i); echo vars=$A,$B,$C,$HOME'
ended initrd
is "$status $(got id)" "0 5:6" "numbers do without any file of the root's"
is "$(got files)" 1024:524288 "a user may have as many files open as in a container"
boot kernel $modules --hostname web-2.example -a "rdinit=/bin/busybox -- hostname"
ended named
is "$(got name)" "web-1 192.0.2.9" \
	"--hostname counts more than the name of ip=, and resolves"
is "$(got vars)" '1,two words,"quoted",/f' \
	"--env-file gives variables, and --env counts more"

# -- clones -------------------------------------------------------------------

guest program --snapshot "$tmp/program.snap,on=program" --as app -- \
	sh -c 'echo x >"$MOTE_READY"; cat "$MOTE_ARGS" >/dev/null
	echo id=$(id -u):$(id -G); echo name=$(hostname)'
ended kernel
like "$(tr -d '\r' <"$out")" "^web-2.example\$" \
	"--hostname without a command: the kernel names the guest"
clone same --name other
clone else --name job --hostname web-3 --as 5:staff \
	-- sh -c 'echo id=$(id -u):$(id -G); echo name=$(hostname)'
ended program
ends 0 snapshot "a user's program says by the FIFO that it is ready"
snap=program
clone runs --hostname web-4
ended same
is "$(got id) $(got env)" \
	"1000:1001 1001 10 50 HOME=/srv/app LOGNAME=app SHELL=/bin/ash USER=app" \
	"a clone's command has the user that it was saved with"
clone late --as root -- x
ended else
is "$(got id) $(got name)" "5:50 web-3" \
	"a clone's command has a user, and the clone a name, of its own"
ended runs
is "$(got id) $(got name)" "1000:1001 10 50 web-4" \
	"a program that goes on in a clone is the user that it was"
ended late
ends 125 error "another user for a program that runs already is refused"
like "$(cat "$err")" "its command runs already: .*--as come too late" \
	"that it comes too late is said"

done_testing
