#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the build makes of the table of options: the manual page and the
# completions of bash and zsh, each driven as a user's shell drives it; and the
# numbers of README.md.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"
man=build/mote.1
bash_file=$PWD/build/mote.bash
zsh_dir=$PWD/build

# -- all of them name every option --------------------------------------------

run "$MOTE" --help
options=$(grep -Eo -e '--[a-z]+' "$out" | sort -u)
is "$(echo "$options" | grep -c -x -e --kernel -e --memory -e --serial)" 3 \
	"--help names options"

lacks() {
	for option in $options; do
		grep -q -e "$option\\>" "$1" || echo "$option"
	done
}

sed 's/\\-/-/g' "$man" >"$tmp/man"
is "$(lacks "$tmp/man")" "" "the manual page has every option of --help"
is "$(lacks "$bash_file")" "" "the completion for bash has every option of --help"
is "$(lacks "$zsh_dir/_mote")" "" "the completion for zsh has every option of --help"

# -- the manual page ----------------------------------------------------------

run mandoc -T lint -W warning "$man"
is "$status $(cat "$out" "$err")" "0 " "mandoc finds no fault in the manual"
mandoc -T ascii "$man" | sed 's/.\x08//g' >"$tmp/text"
for section in NAME SYNOPSIS DESCRIPTION OPTIONS "EXIT STATUS" SIGNALS \
	EXAMPLES; do
	ok "the manual has a section $section" grep -qx "$section" "$tmp/text"
done
like "$(cat "$tmp/text")" '^ +-m, --memory SIZE\[,hugepages=off\|thp' \
	"the syntax of an option reads as in --help"

# Groff has to break what a terminal is too narrow for, as man(1) has it do.
run env LC_ALL=C.UTF-8 MANROFFSEQ= MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 \
	-Z "$man"
is "$status $(cat "$err")" "0 " "groff finds no fault in the manual"

run boot/image/mote-oci --help
is "$(grep -Eo -e '(^|[ ])--?[a-z-]+' "$out" | tr -d ' ' | sort -u | while read -r option; do
	sed 's/\\-/-/g' boot/image/mote-oci.1 | grep -q -e "$option\\>" ||
		echo "$option"
done)" "" "the manual page of mote-oci has every option of its --help"

# -- what has changed -----------------------------------------------------------

changes=boot/options/CHANGELOG.md
is "$(sed -n 's/^## \([^ ]*\).*/\1/p' $changes | head -n 1)" \
	"$(sed -n 's/^VERSION[[:space:]]*:= *//p' Makefile)" \
	"the list of changes begins with the Makefile's version"
is "$(sed -n '/^## /,$p' $changes |
	grep -vE '^$|^## [0-9.]+( \([0-9]{4}-[0-9]{2}-[0-9]{2}\))?$|^### [A-Z]|^- |^  [^ ]')" \
	"" "the list of changes has the form that packages take it in"

# The manual's examples as they are written, with empty files.
mkdir "$tmp/files"
(cd "$tmp/files" && touch vmlinux bzImage initrd.cpio base.cpio job.cpio &&
	truncate -s 1M root.img)
examples=$(sed -n '/^\.EX$/,/^\.EE$/p' "$man" | sed 's/\\-/-/g; s/\\e/\\/g' |
	grep -v '^\.E[XE]$' | sed -e ':a' -e '/\\$/{N;s/\\\n *//;ba' -e '}')
# --exec is checked by the guest, if there is one.
said=$(echo "$examples" | sed "s|^mote|$PWD/$MOTE --check|; s| &$||
		s| --check --exec| --exec|" |
	while read -r line; do
		cd "$tmp/files" && timeout -s KILL 10 sh -c "$line" 2>&1
	done)
is "$(echo "$examples" | grep -vc '&$')" "$(grep -c '^\.EX$' "$man")" \
	"the manual's examples are found"
is "$(echo "$said" | grep -c .)" "$(echo "$examples" | wc -l)" \
	"each example of the manual ends in one line"
said=$(echo "$said" | sed '/^mote: --exec guest.sock: no such file/d')
is "$(echo "$said" | grep -v '^mote: kernel .* is empty')" "" \
	"each example of the manual ends in a line about the kernel"

# -- README.md's numbers --------------------------------------------------------

# number TEXT: the one that README.md has where TEXT has N; it may be at a line's end
number() {
	tr '\n' ' ' <README.md | sed -n "s/.*$(echo "$1" |
		sed 's/N/\\([0-9]*\\)/').*/\1/p"
}

# taken ARG...: mote does not object to a guest of that size
taken() {
	run "$MOTE" --check -k $GUESTS/hello.elf "$@"
	[ "$status" -eq 0 ]
}

size=$(number 'less than N KiB')
ok "README.md: mote is less than $size KiB" \
	[ "$(stat -c %s build/mote)" -lt $((size * 1024)) ]
cpus=$(number '1 to N CPUs')
ok "README.md: $cpus CPUs" taken -c "$cpus"
taken -c $((cpus + 1))
like "$status $(cat "$err")" '^125 mote: --cpus: ' "README.md: and no more"
mib=$(number 'CPUs, N MiB and up')
ok "README.md: $mib MiB" taken -m "${mib}M"
taken -m $((mib - 1))M
like "$status $(cat "$err")" '^125 mote: --memory: ' "README.md: and no less"
devices=$(number 'up to N virtio-mmio devices')
truncate -s 1M "$tmp/disk"
disks=$(yes -- "-d $tmp/disk,ro" | head -n "$devices")
ok "README.md: $devices devices" taken $disks
taken $disks -d "$tmp/disk,ro"
like "$status $(cat "$err")" '^125 mote: --disk: ' "README.md: and no more"
is "$(grep -nE '[0-9] ?(ns|[um]?s|µs|[KMG]i?[Bb](it)?/s|IOPS|%)([^[:alnum:]_]|$)' README.md |
	grep -v -e '--timeout')" "" "README.md has no figure that only make bench can tell"

# -- bash ---------------------------------------------------------------------

cd "$tmp/files" || exit 1
rm -f bzImage base.cpio job.cpio
mkdir images
touch images/disk

# completes LINE WORDS: what bash offers where the cursor is at LINE's end
completes() {
	bash -c '
		source "$1"
		# Outside of a completion compopt only complains.
		compopt() { :; }
		COMP_LINE=$2 COMP_POINT=${#2}
		_mote
		printf "%s\n" "${COMPREPLY[@]}"' bash "$bash_file" "$1" |
		LC_ALL=C sort | tr '\n' ' ' >"$tmp/reply"
	is "$(sed 's/ $//' "$tmp/reply")" "$2" "bash: $1<Tab>"
}

completes "mote --ker" "--kernel"
completes "mote --c" "--cgroup --check --cmdline --cpus"
completes "mote -k vmlinux --me" "--memory"
completes "mote -k vml" "vmlinux"
completes "mote --kernel=vml" "vmlinux"
completes "mote -kvml" "-kvmlinux"
completes "mote --kernel f" "fd="
completes "mote -k vmlinux,c" "vmlinux,copy"
completes "mote -i images/" "images/disk"
completes "mote --serial " "fd= file= off pty stdio unix="
completes "mote --serial s" "stdio"
completes "mote --serial file=ini" "initrd.cpio"
completes "mote --serial=unix=ini" "initrd.cpio"
completes "mote -m 1G,hugepages=" "1G 2M off thp"
completes "mote -m 1G,pre" "1G,prefault"
completes "mote --memory=1G,hugepages=2" "2M"
completes "mote --log=d" "debug"
completes "mote --timing --log w" "warn"
completes "mote --append " ""
completes "mote --check --tim" "--timeout --timing"

# -- zsh ----------------------------------------------------------------------

# An interactive zsh on a terminal of its own, with keys typed into it. What
# counts is its line after Tab, which ^T, bound to a function, writes down.
cat >"$tmp/drive" <<-'END'
	zmodload zsh/zpty zsh/zselect
	typeset -i wanted=0
	# Until the file $1 has $2 lines, for 10 s at most.
	await() {
		for try in {1..500}; do
			[[ -e $1 && $(wc -l <$1) -ge $2 ]] && return
			zselect -t 2
		done
		print -r -- "no line after ${3-the start}" >>$1
	}
	zpty -b shell zsh -f -i
	say() { zpty -w -n shell "$1"; }
	say "fpath=($1 \$fpath); unsetopt beep; LISTMAX=1000"$'\n'
	say $'autoload -U compinit; compinit -u -D\n'
	say 'show() { print -r -- "$BUFFER" >>'$2$'; BUFFER= }\n'
	say $'zle -N show; bindkey "^T" show\n'
	say "cd $3; echo >$2.ready"$'\n'
	await $2.ready 1
	while read -r line; do
		say "$line"$'\t\x14'
		await $2 $((++wanted)) "$line"
	done
	zpty -d shell
END
zsh_types() {
	timeout 60 zsh -f "$tmp/drive" "$zsh_dir" "$tmp/shown" "$tmp/files"
	sed 's/ *$//' "$tmp/shown"
}
is "$(zsh_types <<-'END'
	mote --ker
	mote -k vml
	mote --kernel=vml
	mote -k vmlinux,c
	mote -m 1G,pre
	mote -m 1G,hugepages=t
	mote --log=deb
	mote --serial file=ini
	mote --serial st
	mote --timing --mem
	END
)" "mote --kernel=
mote -k vmlinux
mote --kernel=vmlinux
mote -k vmlinux,copy
mote -m 1G,prefault
mote -m 1G,hugepages=thp
mote --log=debug
mote --serial file=initrd.cpio
mote --serial stdio
mote --timing --memory=" "zsh completes options, files, values and keys"

done_testing
