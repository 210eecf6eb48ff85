#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mote-oci: a disk and arguments from a container image, of images that this test
# makes. That a guest runs one is tests/linux/image.t's.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"
LIMIT=120
oci=$PWD/boot/image/mote-oci
tree=$tmp/files
here=$tmp/here
log=$tmp/unpacked
XDG_CACHE_HOME=$tmp/cache
export XDG_CACHE_HOME

# -- images -------------------------------------------------------------------

# layer TAG NAME TARGET: one more layer, of $tree/NAME
layer() {
	umoci insert --image "$tmp/img:$1" "$tree/$2" "$3"
}

# owned WHO PATH...: of that owner, where there is a right to
owned() {
	[ "$(id -u)" -ne 0 ] || chown "$@"
}

images() {
	mkdir -p "$tree/etc" "$tree/app" "$tree/priv" "$tree/over" "$tmp/outside" &&
		echo passwd >"$tree/etc/passwd" && echo old >"$tree/etc/over" &&
		echo gone >"$tree/etc/gone" && echo file >"$tree/app/file" &&
		ln "$tree/app/file" "$tree/app/link" &&
		ln -s /nowhere "$tree/app/symlink" &&
		echo secret >"$tree/priv/file" && echo new >"$tree/over/over" &&
		owned -R 1000:1001 "$tree/app" && chmod 751 "$tree/app/file" &&
		touch -d 2001-02-03 "$tree/app/file" && chmod 700 "$tree/priv" &&
		mkdir -p "$tree/priv/sub" && touch "$tree/priv/sub/file" &&
		chmod 500 "$tree/priv/sub" ||
		return
	umoci init --layout "$tmp/img" && umoci new --image "$tmp/img:base" &&
		layer base etc /etc && layer base app /app &&
		umoci tag --image "$tmp/img:base" app &&
		layer app over/over /etc/over &&
		umoci insert --image "$tmp/img:app" --whiteout /etc/gone &&
		layer app priv /priv && umoci config --image "$tmp/img:app" \
		--config.env 'A=1' --config.env "B=two 'words'  \$x" \
		--config.env C= --config.workingdir /app --config.user app:staff \
		--config.entrypoint sh --config.entrypoint -c \
		--config.cmd 'echo "a  b"' &&
		umoci tag --image "$tmp/img:app" lines &&
		umoci config --image "$tmp/img:lines" --config.env 'D=1
2' || return
	# A link to a directory out of it, and a file behind that.
	mkdir -p "$tmp/bad/1" "$tmp/bad/2/way" &&
		ln -s "$tmp/outside" "$tmp/bad/1/way" &&
		echo escaped >"$tmp/bad/2/way/file" &&
		umoci tag --image "$tmp/img:base" bad || return
	for n in 1 2; do
		tar -C "$tmp/bad/$n" -cf "$tmp/bad/$n.tar" --owner=0 --group=0 \
			"way$([ $n = 1 ] || echo /file)" &&
			umoci raw add-layer --image "$tmp/img:bad" "$tmp/bad/$n.tar" ||
			return
	done
	chmod 755 "$tmp"
}
images >"$tmp/made" 2>&1 || {
	cat "$tmp/made"
	exit 1
}

# In front of umoci: notes that something is unpacked.
mkdir "$tmp/bin"
cat >"$tmp/bin/umoci" <<-END
	#!/bin/sh
	echo unpacked >>"$log"
	exec $(command -v umoci) "\$@"
END
chmod +x "$tmp/bin/umoci"

# make ARG...: mote-oci in a directory of its own; $log says what was unpacked
make() {
	mkdir -p "$here"
	rm -rf "${here:?}"/* "$log"
	run env -C "$here" PATH="$tmp/bin:$PATH" "$oci" "$@"
}

unpacked() {
	cat "$log" 2>/dev/null | wc -l
}

# extract IMAGE: to $files
files=$tmp/extracted
extract() {
	rm -rf "$files"
	fsck.erofs "--preserve$([ "$(id -u)" -eq 0 ] || echo -perms)" \
		--extract="$files" "$1" >/dev/null 2>&1
}

# holds IMAGE PATH: its content
holds() {
	extract "$1"
	cat "$files/$2" 2>&1
}

# about PATH...: owners and modes of what was extracted last
about() {
	(cd "$files" && stat -c '%u:%g %a' "$@" | tr '\n' ' ')
}

# -- what comes out -----------------------------------------------------------

make "oci:$tmp/img:base" box
is "$status $(cat "$out" "$err")" "0 " "an image is made, and nothing said"
is "$(ls "$here")" "box.args
box.erofs" "a disk and arguments are made, and nothing else"
is "$(cat "$here/box.args")" "" "an image that says nothing gives no arguments"
is "$(unpacked)" 2 "each layer is unpacked once"
make "oci:$tmp/img:app"
is "$status $(ls "$here")" "0 img.args
img.erofs" "without a name it is the image's"
is "$(unpacked)" 3 "layers that another image has too are not unpacked again"
is "$(cat "$here/img.args")" "-e
A=1
-e
B=two 'words'  \$x
-e
C=
-w
/app
--as
app:staff
--
sh
-c
echo \"a  b\"" "the arguments are environment, directory, user and command"
is "$(xargs -a "$here/img.args" -d '\n' printf '%s|')" \
	"-e|A=1|-e|B=two 'words'  \$x|-e|C=|-w|/app|--as|app:staff|--|sh|-c|echo \"a  b\"|" \
	"xargs makes words of them as they are"
image=$here/img.erofs
is "$(holds "$image" etc/over)" new "a file of a later layer counts"
like "$(holds "$image" etc/gone)" "No such file" "what a layer takes away is not there"
is "$(holds "$image" app/link)" file "a hard link is there"
is "$(about priv app/file | sed 's/[0-9]*:[0-9]* //g')" "700 751 " \
	"a directory and a file of another user have their modes"
file=$(dump.erofs --path=/app/file "$image")
like "$file" "^Timestamp: 2001-02-03" "a file has its time"
like "$file" "Links: 2 " "a file has as many links as it has names"
if [ "$(id -u)" -eq 0 ]; then
	is "$(about app/file etc)" "1000:1001 751 0:0 755 " \
		"files have their owners"
fi
cp "$image" "$tmp/first"
make "oci:$tmp/img:base" box
is "$status $(unpacked)" "0 0" "an image that was unpacked is not unpacked again"
is "$(holds "$here/box.erofs" etc/over) $(holds "$here/box.erofs" etc/gone)" \
	"old gone" "layers on top of others have not changed these"
make "oci:$tmp/img:app" dir/box
is "$status $(cat "$err")" "1 mote-oci: there is no directory dir" \
	"a directory that is not there is said"

# -- command ------------------------------------------------------------------

# command: the words behind --, of the last arguments
command() {
	sed '1,/^--$/d' "$here/img.args" | tr '\n' '|'
}

make "oci:$tmp/img:app" -- -x '' 'two words' --
is "$(command)" "sh|-c|-x||two words|--|" "a command takes the place of the image's"
make --entrypoint /bin/true "oci:$tmp/img:app"
is "$(command)" "/bin/true|" "an entry point takes the place of both"
make --entrypoint=ls -z lz4 "oci:$tmp/img:app" -- -l
is "$(command)" "ls|-l|" "an entry point takes arguments"

# -- what is refused ----------------------------------------------------------

# refused LINE TEXT
refused() {
	is "$status $(grep -o 'mote-oci: .*' "$err")" "1 mote-oci: $1" "$2"
	is "$(ls "$here")$(ls -d "$tmp"/cache/mote-oci/work.* 2>/dev/null)" \
		"" "and nothing is left: $2"
}

make "oci:$tmp/img:lines"
refused "a line break is in the environment or the command of oci:$tmp/img:lines, which NAME.args cannot say" \
	"a line break in a variable is refused"
make "oci:$tmp/img:none"
refused "skopeo cannot fetch oci:$tmp/img:none" "an image that is not there is refused"
make --entry
refused "there is no option --entry; see mote-oci --help" "an option that is none is refused"
make a b c
refused "there is no place for c; a command stands behind --" "a third name is refused"
make --entrypoint
refused "--entrypoint needs a value; see mote-oci --help" "an option without a value is refused"
make
is "$status" 2 "without an image its use is shown"
make "oci:$tmp/img:bad"
is "$status $(ls "$tmp/outside")" "0 " "a link in a layer leads nowhere outside of the image"
umoci tag --image "$tmp/img:base" torn
torn=$(jq -r '.layers[0].digest' "$tmp/img/blobs/sha256/$(jq -r '.manifests[] |
	select(.annotations["org.opencontainers.image.ref.name"] == "torn").digest' \
	"$tmp/img/index.json" | cut -d : -f 2)" | cut -d : -f 2)
rm -rf "$tmp/cache"
cp -r "$tmp/img" "$tmp/torn"
echo more >>"$tmp/torn/blobs/sha256/$torn"
make "oci:$tmp/torn:base"
is "$status $(ls "$here")" "1 " "a layer that was changed is refused"

# Every program but one, which is somewhere else.
mkdir "$tmp/few"
for program in sh cat ls id mkdir mktemp rm find env unshare skopeo umoci; do
	ln -s "$(which "$program")" "$tmp/few/$program"
done
run env PATH="$tmp/few" "$oci" alpine
refused "there is no mkfs.erofs here; Debian's package erofs-utils has it" \
	"a program that is missing is named with its package"

# -- other kinds of images ----------------------------------------------------

make_other() {
	make "$1" "$2"
	is "$status $(cmp "$here/$2.args" "$tmp/args" 2>&1) $(holds \
		"$here/$2.erofs" etc/over) $(unpacked)" "0  new $3" "$4"
}
make "oci:$tmp/img:app"
cp "$here/img.args" "$tmp/args"
run skopeo --insecure-policy copy "oci:$tmp/img:app" \
	"docker-archive:$tmp/saved.tar:some/name:1"
make_other "docker-archive:$tmp/saved.tar" saved 0 \
	"what docker save writes is the same image, with the same layers"
run skopeo --insecure-policy copy --dest-compress-format zstd \
	"oci:$tmp/img:app" "oci:$tmp/zstd:app"
rm -rf "$tmp/cache"
make_other "oci:$tmp/zstd:app" zstd 5 "layers of zstd are unpacked"

# -- from a registry ----------------------------------------------------------

# Only who has the password may read, and it speaks HTTP, as one on a host of
# one's own does.
# shellcheck disable=SC2016 # perl's
registry() {
	mkdir "$tmp/registry" && echo "user:$(perl -e 'print crypt("secret",
		"\$2b\$05\$mote.mote.mote.mote.mo")')" >"$tmp/htpasswd" &&
		cat >"$tmp/registry.yml" <<-END
			version: 0.1
			storage: { filesystem: { rootdirectory: $tmp/registry } }
			http: { addr: 127.0.0.1:0 }
			auth: { htpasswd: { realm: mote, path: $tmp/htpasswd } }
		END
	# Its settings come from such variables, too.
	env -u REGISTRY_AUTH_FILE docker-registry serve "$tmp/registry.yml" \
		>"$tmp/registry.log" 2>&1 &
	registry=$!
	until port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' \
		"$tmp/registry.log") && [ "$port" ]; do
		kill -0 "$registry" 2>/dev/null || return
		sleep 0.1
	done
	mkdir -p "$tmp/home/.config/containers" &&
		printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' \
			"127.0.0.1:$port" \
			>"$tmp/home/.config/containers/registries.conf"
}

rm -rf "$tmp/cache"
real_home=${HOME-}
export HOME="$tmp/home" REGISTRY_AUTH_FILE="$tmp/auth.json"
registry || {
	cat "$tmp/registry.log"
	exit 1
}
make "127.0.0.1:$port/team/app"
refused "skopeo cannot fetch docker://127.0.0.1:$port/team/app" \
	"a registry that wants a password is not read without one"
like "$(cat "$err")" "unauthorized" "and skopeo's reason is shown"
run skopeo login --tls-verify=false -u user -p secret "127.0.0.1:$port"
is "$status" 0 "skopeo logs in"
ok "skopeo puts an image into a registry" skopeo --insecure-policy copy --quiet \
	--digestfile "$tmp/digest" "oci:$tmp/img:app" \
	"docker://127.0.0.1:$port/team/app:latest"
make_other "127.0.0.1:$port/team/app" app 5 "an image of a registry is the same"
make_other "127.0.0.1:$port/team/app@$(cat "$tmp/digest")" app 0 \
	"an image of a registry is found by its digest, and not unpacked again"
make "127.0.0.1:$port/team/app:none"
refused "skopeo cannot fetch docker://127.0.0.1:$port/team/app:none" \
	"a tag that a registry does not have is refused"
kill "$registry"
wait "$registry" 2>/dev/null
export HOME="$real_home"
unset REGISTRY_AUTH_FILE

# -- several at once, and one that is stopped ---------------------------------

rm -rf "$tmp/cache"
several() {
	pids=
	mkdir -p "$here"
	rm -rf "${here:?}"/*
	for n in 1 2 3 4; do
		env -C "$here" "$oci" "oci:$tmp/img:app" "$([ $n -gt 2 ] &&
			echo same || echo $n)" >>"$out" 2>&1 &
		pids="$pids $!"
	done
	for each in $pids; do
		wait "$each" || return
	done
}
: >"$out"
: >"$err"
ok "several make one image at once" several
is "$(cat "$out") $(ls "$here" | tr '\n' ' ')" \
	" 1.args 1.erofs 2.args 2.erofs same.args same.erofs " \
	"each has made its own, and none says anything"
is "$(holds "$here/same.erofs" etc/over)$(ls -d "$tmp"/cache/mote-oci/work.* 2>/dev/null)" \
	new "and nothing is left"

rm -rf "$tmp/cache"
cat >"$tmp/bin/umoci" <<-END
	#!/bin/sh
	kill -TERM \$(cat "$tmp/stop")
END
# shellcheck disable=SC2016 # expanded there
make_stopped() {
	rm -rf "${here:?}"/*
	run env -C "$here" PATH="$tmp/bin:$PATH" sh -c \
		'echo $$ >"$0"; exec "$@"' "$tmp/stop" "$oci" "oci:$tmp/img:app"
}
make_stopped
is "$status $(ls "$here")$(ls -d "$tmp"/cache/mote-oci/work.* 2>/dev/null)" \
	"143 " "one that is told to stop leaves nothing"
cp "$tmp/few/umoci" "$tmp/bin/umoci"
make --clean
is "$status $(ls "$tmp/cache")" "0 " "--clean removes all that is kept"

# -- as an ordinary user ------------------------------------------------------

# as_user IDS PATH: one that has a name, and these subordinate IDs
# shellcheck disable=SC2016 # expanded there
as_user() {
	rm -rf "$tmp/user"
	mkdir "$tmp/user"
	chown nobody "$tmp/user"
	chmod -R a+rX "$tmp/img" # umoci's index is its owner's
	echo "nobody:$1" >"$tmp/subids"
	run unshare -m sh -c 'touch /etc/subuid /etc/subgid &&
		mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid &&
		cd "$1" && shift && exec setpriv --reuid nobody --regid nogroup \
			--clear-groups env -u XDG_CACHE_HOME HOME="$PWD" "$@"' \
		"$tmp/subids" "$tmp/user" PATH="$2$PATH" "$oci" "oci:$tmp/img:app" box
}

if [ "$(id -u)" -ne 0 ]; then
	echo "# the rest needs root, to be several users"
elif ! setpriv --reuid nobody --clear-groups unshare --map-root-user true; then
	skip=$((tap_count += 1))
	echo "ok $skip - images without root # SKIP users have no user namespaces here"
else
	as_user 200000:65536 ''
	is "$status $(cat "$out" "$err")" "0 " "without root an image is made"
	extract "$tmp/user/box.erofs"
	is "$(about app/file priv/file)" "1000:1001 751 0:0 644 " \
		"without root files have their owners, by subordinate IDs"
	as_user 200000:0 ''
	is "$status $(grep -c "^mote-oci: all files will be root's: others take subordinate IDs" "$err") $(wc -l <"$err")" \
		"0 1 1" "without subordinate IDs it is said that files are root's"
	is "$(holds "$tmp/user/box.erofs" etc/over) $(about app/file)" \
		"new 0:0 751 " "without subordinate IDs files are root's"
	mkdir "$tmp/no"
	ln -s "$(which false)" "$tmp/no/unshare"
	as_user 200000:65536 "$tmp/no:"
	is "$status $(holds "$tmp/user/box.erofs" etc/over) $(about app/file)" \
		"0 new 0:0 751 " "without user namespaces files are root's"
	is "$(ls "$tmp/user/.cache/mote-oci")" "blobs
plain" "and nothing is left"
fi

done_testing
