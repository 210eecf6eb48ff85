#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The checks of the source find what they are for: each is shown a fault that
# was planted, and the same files without it.

set -u
cd "$(dirname "$0")/.." || exit 1
here=$PWD/tests/check
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
n=0

# is WANTED GOT NAME
is() {
	n=$((n + 1))
	if [ "$1" = "$2" ]; then
		echo "ok $n - $3"
	else
		echo "not ok $n - $3"
		printf 'wanted: %s\ngot: %s\n' "$1" "$2" | sed 's/^/# /'
	fi
}

# A file of the planted tree: FILE, its text from stdin.
plant() {
	mkdir -p "$tmp/$(dirname "$1")"
	cat >"$tmp/$1"
}

objects() {
	for source in "$tmp"/cpu/*.c; do
		gcc -c -O1 -o "${source%.c}.o" "$source" || exit 1
	done
}

# found COMMAND...: its status, and its words in one line.
found() {
	said=$(cd "$tmp" && "$@" 2>&1)
	echo "$? $(echo "$said" | tr '\n' ';')"
}

echo 1..9

plant cpu/top.c <<'END'
int middle(void);
int top(void) { return middle(); }
END
plant cpu/middle.c <<'END'
int bottom(void);
int middle(void) { return bottom(); }
END
plant cpu/bottom.c <<'END'
int bottom(void) { return 1; }
END
objects
is "0 ;" "$(found "$here/cycles" calls cpu/top.o cpu/middle.o cpu/bottom.o)" \
	"calls that lead one way are no cycle"
plant cpu/bottom.c <<'END'
int top(void);
int bottom(void) { return top(); }
END
objects
is "1 cpu/bottom.o: needs cpu/top.o: top;cpu/middle.o: needs cpu/bottom.o: bottom;cpu/top.o: needs cpu/middle.o: middle;" \
	"$(found "$here/cycles" calls cpu/top.o cpu/middle.o cpu/bottom.o)" \
	"a cycle of calls through three files is found and named"
is "1 cycles calls: nothing to look at;" "$(found "$here/cycles" calls)" \
	"no object at all is not taken for no cycle"

plant cpu/a.h <<'END'
#include "cpu/b.h"
END
plant cpu/b.h <<'END'
#include "mem/ram.h"
END
is "0 ;" "$(found "$here/cycles" includes cpu/a.h cpu/b.h)" \
	"includes that lead one way are no cycle"
plant cpu/b.h <<'END'
#include "cpu/a.h"
END
is "1 cpu/a.h: needs cpu/b.h: included;cpu/b.h: needs cpu/a.h: included;" \
	"$(found "$here/cycles" includes cpu/a.h cpu/b.h)" \
	"a cycle of includes is found and named"

plant mem/ram.c <<'END'
#include "cpu/vm.h"
END
is "1 mem/ram.c:1: mem may not include cpu/vm.h;" \
	"$(found awk -f "$here/layers" mem/ram.c)" \
	"an include of a higher layer is found"
plant mem/ram.c <<'END'
#include "mem/log.h"
END
is "0 ;" "$(found awk -f "$here/layers" mem/ram.c)" \
	"an include of the same layer is allowed"

plant cpu/one.c <<'END'
static int count_pages(int x)
{
	return x;
}
END
plant cpu/two.c <<'END'
static const struct long_type *
count_pages(void)
{
}
static int other_count(void);
static int table[] = { f(x) };
END
is "1 cpu/two.c:2: static count_pages is also in cpu/one.c:1;" \
	"$(found awk -f "$here/names" cpu/one.c cpu/two.c)" \
	"a static function's name that is there twice is found"
plant cpu/two.c <<'END'
static int count_pages_of_two(void)
{
}
static int count_pages(int x); /* no definition */
END
is "0 ;" "$(found awk -f "$here/names" cpu/one.c cpu/two.c)" \
	"static functions with names of their own are allowed"
