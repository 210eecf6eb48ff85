#!/bin/sh
# What the build makes of the table of options: the manual page and the
# completions of bash and zsh, each driven as a user's shell drives it.

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
is "$(lacks "$bash_file")" "" "so has the completion for bash"
is "$(lacks "$zsh_dir/_mote")" "" "and that for zsh"

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

# The manual's examples, given to the parser (nothing is run).
mkdir "$tmp/files"
examples=$(sed -n '/^\.EX$/,/^\.EE$/p' "$man" | sed 's/\\-/-/g; s/\\e/\\/g' |
	grep -v '^\.E[XE]$' | sed -e ':a' -e '/\\$/{N;s/\\\n *//;ba' -e '}')
parsed=$(echo "$examples" | sed "s|^mote|$PWD/$MOTE|; s|[0-9][<>][a-z.]*||g" |
	while read -r line; do
		cd "$tmp/files" && sh -c "$line --check" 2>&1
	done)
is "$(echo "$examples" | wc -l)" "$(grep -c '^\.EX$' "$man")" \
	"the manual's examples are found"
is "$(echo "$parsed" | grep -c .)" "$(echo "$examples" | wc -l)" \
	"each stops at its missing files"
is "$(echo "$parsed" | grep -v -e 'vmlinux' -e 'bzImage' -e 'fd=3')" "" \
	"and at nothing else"

# -- bash ---------------------------------------------------------------------

cd "$tmp/files" || exit 1
touch vmlinux vm,linux 'with blank' initrd.cpio
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
		sort | tr '\n' ' ' >"$tmp/reply"
	is "$(sed 's/ $//' "$tmp/reply")" "$2" "bash: $1<Tab>"
}

completes "mote --ker" "--kernel"
completes "mote --c" "--check --cmdline --cpus"
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
completes "mote -m 1G,hugepages=" "1G off thp 2M"
completes "mote -m 1G,pre" "1G,prefault"
completes "mote --memory=1G,hugepages=2" "2M"
completes "mote --log=d" "debug"
completes "mote --timing --log w" "warn"
completes "mote --append " ""
completes "mote --check --tim" "--timeout --timing"

# -- zsh ----------------------------------------------------------------------

# An interactive zsh on a terminal of its own, with keys typed into it; its
# line after Tab is what counts, so it runs a function that shows it.
cat >"$tmp/drive" <<-'END'
	zmodload zsh/zpty
	zpty -b shell zsh -f -i
	say() { zpty -w -n shell "$1"; }
	say $'PS1= PS2= ; stty -echo; unsetopt beep zle_bracketed_paste\n'
	say $'unset zle_bracketed_paste; fpath=('$1$' $fpath)\n'
	say $'autoload -U compinit; compinit -u -D; LISTMAX=1000\n'
	say $'show() { print -r -- "<<<$BUFFER>>>" >>'$2$'; BUFFER= }\n'
	say $'zle -N show; bindkey "^X" show; cd '$3$'\n'
	sleep 1
	while read -r line; do
		say "$line"$'\t'
		sleep 0.3
		say $'\x18'
		sleep 0.3
	done
	say $'exit\n'
	zpty -d shell
END
zsh_types() {
	zsh -f "$tmp/drive" "$zsh_dir" "$tmp/shown" "$tmp/files"
	sed 's/^<<<//; s/ *>>>$//' "$tmp/shown"
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
