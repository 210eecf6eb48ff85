#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The package for Debian: it is built from an unpacked release, lintian has
# nothing to say of it, and a Debian that has nothing else takes it, runs it, and
# is rid of it again.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fleet/release.sh
. tests/fleet/release.sh

LIMIT=600
version=$(version)
deb=mote_${version}_amd64.deb
tree=$tmp/mote-$version
shared=$tmp/shared

# -- it is built --------------------------------------------------------------

# As somebody has it who has unpacked mote-VERSION.tar.xz: without git.
checkout "$tmp/checkout"
git -C "$tmp/checkout" archive --prefix="mote-$version/" HEAD | tar -xf - -C "$tmp"
mkdir "$tree/build"
mv "$tmp/checkout/build/deps" "$tree/build/"
hash=$(git -C "$tmp/checkout" rev-parse HEAD | cut -c 1-12)
rm -rf "$tmp/checkout"

run "$tree/boot/fleet/package/dist" deb
is "$status $(ls "$tree/build/dist")" "0 $deb" "an unpacked release makes its package"
[ "$status" = 0 ] || done_testing

run lintian --allow-root --fail-on error,warning \
	"$tree/build/fleet/package/mote_${version}_amd64.changes"
is "$status $(cat "$out" "$err")" "0 " "lintian prints nothing"

# What is not in it, and why: an override that nothing needs hides a fault to come.
run lintian --allow-root --show-overrides \
	"$tree/build/fleet/package/mote_${version}_amd64.changes"
is "$(sed -n 's/^O: //p' "$out" | cut -d ' ' -f 2 | sort -u | paste -sd ' ')" \
	"shared-library-lacks-prerequisites unknown-field" \
	"two warnings of lintian are overridden, and both come"

contents=$(dpkg-deb -c "$tree/build/dist/$deb")
is "$(echo "$contents" | grep -v ' root/root ')" "" "all files are root's"
is "$(echo "$contents" | grep -E '^[^l](.{4}w|.{7}w)')" "" \
	"no file may be written to by others"
fields=$(dpkg-deb -f "$tree/build/dist/$deb" Package Version Architecture Depends)
is "$(echo "$fields" | paste -sd ' ')" \
	"Package: mote Version: $version Architecture: amd64" \
	"the package has a name, a version, a kind of machine, and depends on nothing"
like "$(dpkg-deb -f "$tree/build/dist/$deb" Static-Built-Using)" \
	'gcc-[0-9]+ \(= .+\), linux \(= .+\), musl \(= .+\)' \
	"the package names whose code is linked statically"

# -- it is installed, used, and removed ---------------------------------------

if [ "$(id -u)" -ne 0 ]; then
	tap_result ok "a fresh Debian takes it # SKIP only root can have a root file system"
	done_testing
fi

mkdir -p "$shared"
cp "$tree/build/dist/$deb" "$shared/mote.deb"
cp "$GUESTS/exit.elf" "$GUESTS/hello.elf" "$shared"
cat >"$shared/life" <<'END'
# What a package could leave. Logs grow, dpkg keeps its last state beside the
# present one, and the loader's cache is written anew.
files() {
	find / -xdev \( -path /proc -o -path /sys -o -path /mnt -o -path /tmp \
		-o -path /var/log -o -path /var/cache/ldconfig \) -prune \
		-o ! -name '*-old' -printf '%y %m %u:%g %p %l\n' | sort
	cat /etc/passwd /etc/group /etc/shadow
	dpkg-query -W
}
links() {
	find /etc/systemd -type l -printf '%p %l\n' | sort
}
files >before
links >links.before
dpkg -i mote.deb >install.log 2>&1
echo $? >install.status
mote -V >version
dpkg -L mote | sort >list
dpkg -V mote >verify
mote --check -k hello.elf >check.log 2>&1
echo $? >check.status
mote -k hello.elf -m 64M >hello.log 2>&1
echo $? >hello.status
mote -k exit.elf -m 64M -a status=42 >exit.log 2>&1
echo $? >exit.status
cp -r /usr/share/man/man1/mote.1.gz /usr/share/man/man1/mote-oci.1.gz \
	/usr/share/bash-completion/completions/mote \
	/usr/share/zsh/vendor-completions/_mote .
for unit in $(dpkg -L mote | sed -n 's|^/lib/systemd/system/||p'); do
	echo "$unit"
	file=/lib/systemd/system/$unit
	case $unit in
	*@.*)	# an instance of it, as somebody would start one
		ln -s "$file" "/tmp/${unit%@*}@x.${unit##*.}"
		file=/tmp/${unit%@*}@x.${unit##*.} ;;
	esac
	systemd-analyze --man=no verify "$file" >>units.log 2>&1 ||
		echo "$unit: status $?" >>units.log
	systemctl is-enabled "$unit" | grep -vx -e disabled -e static \
		-e indirect >>enabled
done >units
links >links.after
dpkg --purge mote >purge.log 2>&1
echo $? >purge.status
files >after
END
run tests/fleet/fresh "$shared" sh life
is "$status" 0 "a fresh Debian starts"
got() {
	cat "$shared/$1" 2>/dev/null
}

is "$(got install.status)" 0 "a fresh Debian takes the package"
[ "$(got install.status)" = 0 ] || tap_note <"$shared/install.log"
is "$(got verify)" "" "every file of the package is as it was packed"
is "$(got version)" "mote $version ($hash)" "the installed mote names its commit"
is "$(got check.status)" 0 "mote --check works there"
[ "$(got check.status)" = 0 ] || tap_note <"$shared/check.log"
if [ -e /dev/kvm ]; then
	like "$(got hello.status) $(got hello.log)" '^0 ' "a guest runs there"
	is "$(got exit.status)" 42 "a guest's status comes out there"
	[ "$(got exit.status)" = 42 ] || tap_note <"$shared/exit.log"
else
	tap_result ok "a guest runs there # SKIP there is no /dev/kvm"
fi

for page in mote mote-oci; do
	gzip -dc "$shared/$page.1.gz" >"$tmp/$page.1"
	run mandoc -T lint -W warning "$tmp/$page.1"
	is "$status $(cat "$out")" "0 " "mandoc finds nothing in the installed $page(1)"
done
ok "bash takes the installed completion" \
	bash -c ". $shared/mote && complete -p mote >/dev/null"
like "$(zsh -fc 'print -l $fpath')" '^/usr/share/zsh/vendor-completions$' \
	"zsh looks for completions where the package has one"
like "$(head -n 1 "$shared/_mote")" '^#compdef mote' \
	"the installed completion for zsh is one"
for file in changelog.gz copyright README.md.gz; do
	ok "the package has $file" grep -qx "/usr/share/doc/mote/$file" \
		"$shared/list"
done

# Every file of boot/fleet that is not about packages is in it, at its place.
lacks=$(find boot/fleet -type f ! -path 'boot/fleet/package/*' | sed -E \
	's|^boot/fleet/systemd/(.*\.(service\|socket))$|/lib/systemd/system/\1|
	s|^boot/|/usr/share/mote/|' | grep -vxFf "$shared/list")
is "$lacks" "" "the package has all that starts guests on many machines"
is "$(wc -l <"$shared/units")" \
	"$(find boot/fleet/systemd -name '*.service' -o -name '*.socket' 2>/dev/null |
		grep -c .)" "the package has every unit of boot/fleet/systemd"
is "$(got units.log)" "" "systemd-analyze verify has nothing to say of a unit"
is "$(got enabled)" "" "no unit is enabled"
is "$(diff "$shared/links.before" "$shared/links.after")" "" \
	"no unit is wanted by another one"

is "$(got purge.status)" 0 "the package is removed"
[ "$(got purge.status)" = 0 ] || tap_note <"$shared/purge.log"
ok "what was there before is known" [ "$(wc -l <"$shared/before")" -gt 1000 ]
is "$(diff "$shared/before" "$shared/after")" "" \
	"files, users and packages are what they were before"

done_testing
