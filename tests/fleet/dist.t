#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make dist` makes: the same bytes in two directories, all that it says of
# itself is so, and what is not committed is not given away.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fleet/release.sh
. tests/fleet/release.sh

LIMIT=800
version=$(version)
name=mote-$version
here=$tmp/here
there=$tmp/there/is/another

# in_tree DIRECTORY COMMAND...: where nothing says that it is a test's
in_tree() {
	run sh -c 'cd "$0" && exec "$@"' "$@"
}

checkout "$here"
checkout "$there"
in_tree "$here" env -u MAKEFLAGS make --no-print-directory dist
is "$status" 0 "make dist makes a release"
[ "$status" = 0 ] || done_testing
# Whose umask, time zone and settings of git are others.
git -C "$there" config tar.umask 0077
git -C "$there" config core.autocrlf true
in_tree "$there" env -u MAKEFLAGS TZ=Asia/Tokyo LC_ALL=C.UTF-8 \
	sh -c 'umask 077; exec make --no-print-directory dist'
is "$status" 0 "make dist makes a release in another directory"

one=$here/build/dist
files=$(ls "$one")
is "$files" "SHA256SUMS
$name-x86_64
$name.spdx.json
$name.tar.xz
mote_${version}_amd64.deb" "a release is five files"
for file in $files; do
	ok "two directories give the same bytes: $file" \
		cmp "$one/$file" "$there/build/dist/$file"
done

# -- the checksums ------------------------------------------------------------

in_tree "$one" sha256sum -c --strict --quiet SHA256SUMS
is "$status $(wc -l <"$one/SHA256SUMS")" "0 4" "SHA256SUMS is right about the other four"

# -- the source ---------------------------------------------------------------

tar -tJf "$one/$name.tar.xz" | grep -v '/$' | sed "s|^$name/||" | sort >"$tmp/packed"
git -C "$here" ls-files | sort >"$tmp/tracked"
is "$(diff "$tmp/tracked" "$tmp/packed")" "" "the source is all that git tracks"
is "$(TZ=UTC tar --full-time -tvJf "$one/$name.tar.xz" | awk '{ print $2, $4, $5 }' |
	sort -u)" "root/root 2023-11-14 22:13:20" \
	"all of the source is root's, and has the commit's time"
is "$(tar -tvJf "$one/$name.tar.xz" | cut -c 1-10 | sort -u |
	grep -vx -e drwxr-xr-x -e -rwxr-xr-x -e -rw-r--r-- -e lrwxrwxrwx)" "" \
	"no user's umask is in the source"
tar -xJf "$one/$name.tar.xz" -C "$tmp"
hash=$(git -C "$here" rev-parse HEAD | cut -c 1-12)
is "$("$tmp/$name/boot/fleet/package/commit")" "$hash 1700000000" \
	"the source knows its commit without git"
# Somebody has a repository of his own around it.
git -C "$tmp" init -q
is "$("$tmp/$name/boot/fleet/package/commit")" "$hash 1700000000" \
	"the source is not taken for a repository's around it"
rm -rf "$tmp/.git"

# -- the program --------------------------------------------------------------

is "$("$one/$name-x86_64" -V)" "mote $version ($hash)" \
	"the program names its version and commit"
ok "the program is executable" test -x "$one/$name-x86_64"
dpkg-deb --fsys-tarfile "$one/mote_${version}_amd64.deb" |
	tar -xOf - ./usr/bin/mote >"$tmp/packaged"
ok "the program is the one in the package" cmp "$one/$name-x86_64" "$tmp/packaged"
is "$(grep -c -a -e "$tmp" "$one/$name-x86_64")" 0 \
	"no path of the machine that built it is in the program"

# -- the bill of materials ----------------------------------------------------

sbom=$one/$name.spdx.json
spdx=$PWD/build/fleet/venv/bin/pyspdxtools
if tests/fleet/python spdx-tools==0.8.5 >"$tmp/python" 2>&1; then
	run "$spdx" -i "$sbom"
	is "$status $(cat "$out" "$err")" "0 " "the bill of materials is valid SPDX 2.3"
	jq 'del(.packages[0].downloadLocation)' "$sbom" >"$tmp/lacks.spdx.json"
	run "$spdx" -i "$tmp/lacks.spdx.json"
	is "$status" 1 "one that lacks a field would be found out"
	jq '.relationships[0].relatedSpdxElement = "SPDXRef-nobody"' "$sbom" \
		>"$tmp/nobody.spdx.json"
	run "$spdx" -i "$tmp/nobody.spdx.json"
	is "$status" 1 "one that speaks of what it does not have would be found out"
else
	tap_note <"$tmp/python"
	tap_result ok "the bill of materials is valid SPDX 2.3 # SKIP PyPI has no spdx-tools"
fi
is "$(jq -r '.spdxVersion, .creationInfo.created' "$sbom" | paste -sd ' ')" \
	"SPDX-2.3 2023-11-14T22:13:20Z" "its time is the commit's"
is "$(jq -r '.packages[] | select(.name | startswith("mote")) | . as $p |
	.checksums[] | select(.algorithm == "SHA256") |
	"\(.checksumValue)  \($p.packageFileName)"' "$sbom" | sort -k 2)" \
	"$(grep -v spdx.json "$one/SHA256SUMS" | sort -k 2)" \
	"it has the checksums of the release's files"
is "$(jq -r '.packages[] | "\(.name) \(.licenseDeclared)"' "$sbom")" \
	"mote-source Apache-2.0
mote Apache-2.0
mote-deb Apache-2.0
musl MIT
gcc-12 GPL-3.0-or-later WITH GCC-exception-3.1
linux GPL-2.0-only WITH Linux-syscall-note
libseccomp LGPL-2.1-only" "it names what mote is made of, and under which licences"
is "$(jq -r '.packages[] | select(.supplier == "Organization: Debian") |
	select((.versionInfo | length == 0) or
		(.checksums[0].checksumValue | test("^[0-9a-f]{64}$") | not) or
		(.packageFileName | test("orig") | not)) | .name' "$sbom")" "" \
	"it has the version of each part, and the checksum of its source"

# What the linker takes that is not mote's own, by the sources of the packages that
# have it: no more than the bill says.
make -s -n -W main.c build/mote V=1 | grep -e '-o build/mote ' |
	sed "s|-o build/mote |-Wl,-Map,$tmp/map -o $tmp/linked |" >"$tmp/link"
sh "$tmp/link" >"$tmp/linker" 2>&1
linked=$(grep -oE '^ ?(LOAD )?/[^ (]+(\([^)]*\))?$' "$tmp/map" | grep '(' |
	sed 's/(.*//; s/^ *//' | sort -u)
loaded=$(sed -n 's/^LOAD \(.*crt[^ ]*\.o\|.*\/rcrt1\.o\)$/\1/p' "$tmp/map")
is "$(for file in $linked $loaded; do dpkg -S "$(readlink -f "$file")"; done |
	cut -d : -f 1 | sort -u |
	xargs dpkg-query -W -f '${source:Package}\n' | sort -u)" \
	"$(jq -r '. as $all | .relationships[] |
		select(.relationshipType == "STATIC_LINK") | .relatedSpdxElement as $id |
		$all.packages[] | select(.SPDXID == $id).name' "$sbom" | sort -u)" \
	"what is linked into mote is what it says"

# -- what is not committed ----------------------------------------------------

# refused NAME: and the release that was there stays
refused() {
	in_tree "$here" boot/fleet/package/dist dist
	like "$status $(cat "$err")" '^1 dist: .*not .*committed' "$1"
	ok "$1: what was made before is still there" test -e "$one/SHA256SUMS"
}
echo >>"$here/README.md"
refused "a file with changes is not given away"
git -C "$here" checkout -q README.md
echo >"$here/cpu/new.c"
refused "a source that git does not track is not left out"
rm "$here/cpu/new.c"
sed -i 's/^## /## 1./' "$here/boot/options/CHANGELOG.md"
git -C "$here" -c user.name=mote -c user.email=mote@packages.invalid commit -qam other
in_tree "$here" boot/fleet/package/dist deb
like "$status $(cat "$err")" "^1 dist: .*CHANGELOG.md is 1.$version, and $version that" \
	"a version that the list of changes does not have is refused"

done_testing
