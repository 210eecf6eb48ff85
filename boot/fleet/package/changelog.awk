# SPDX-License-Identifier: Apache-2.0
# boot/options/CHANGELOG.md as debian/changelog (deb-changelog(5)):
#
#	awk -v now=DATE -v who=MAINTAINER -f changelog.awk CHANGELOG.md
#
# `## VERSION` or `## VERSION (YYYY-MM-DD)` opens a version, `### SUBJECT` one
# part of it; `- ` a change, which goes on in lines that are indented. Dates are as
# in RFC 5322; `now` is that of a version whose heading has none.

# fill TEXT FIRST INDENT: in lines of at most 78 columns
function fill(text, first, indent,    words, n, i, line) {
	n = split(text, words, " ")
	line = first words[1]
	for (i = 2; i <= n; i++)
		if (length(line) + 1 + length(words[i]) > 78) {
			print line
			line = indent words[i]
		} else
			line = line " " words[i]
	print line
}

function close_item() {
	if (item != "")
		fill(item, "    - ", "      ")
	item = ""
}

function close_version() {
	close_item()
	if (version != "")
		printf "\n -- %s  %s\n\n", who, date
}

/^## / {
	close_version()
	version = $2
	date = now
	if ($3 ~ /^\([0-9-]+\)$/) {
		gsub(/[()]/, "", $3)
		command = "date -u -R -d " $3
		command | getline date
		close(command)
	}
	printf "mote (%s) unstable; urgency=medium\n\n", version
	next
}
version == "" { next }
/^### / { close_item(); sub(/^### */, ""); printf "  * %s:\n", $0; next }
/^- / { close_item(); item = substr($0, 3); next }
/^  [^ ]/ { item = item " " $0 }

END { close_version() }
