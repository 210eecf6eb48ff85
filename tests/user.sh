# Test files once more, as an ordinary user; to be sourced.
#
#	user_suites FILE...
#		runs each by tests/as-user: one test each, that all of it passed
#
# shellcheck shell=sh

# shellcheck source=tests/lib.sh
. tests/lib.sh

LIMIT=800
[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP they are run by an ordinary user already"
	exit 0
}

user_suites() {
	for suite; do
		run tests/as-user "$suite"
		grep -A 40 '^not ok' "$out" >"$err"
		is "$status $(grep -c '^ok' "$out")" \
			"0 $(sed -n 's/^1\.\.//p' "$out")" \
			"${suite##*/}: all of it passes"
	done
}
