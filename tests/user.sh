# SPDX-License-Identifier: Apache-2.0
# Test files once more, as an ordinary user; to be sourced.
#
#	user_suites FILE...
#		runs each by tests/as-user: one test each, that all of it passed;
#		what was skipped in it is a skipped test here, too
#
# shellcheck shell=sh

# shellcheck source=tests/lib.sh
. tests/lib.sh

LIMIT=800
[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP all tests are an ordinary user's already"
	exit 0
}

# user_skip NAME WHY
user_skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

user_suites() {
	for suite; do
		if tests/as-user true 2>"$err" && test -r "$suite" &&
			! tests/as-user test -r "$suite"; then
			user_skip "$suite as an ordinary user" \
				"other users cannot read this tree: have it elsewhere than in $PWD"
			continue
		fi
		run tests/as-user "$suite"
		user_plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$out")
		if [ "$status $user_plan" = "0 0" ] &&
			grep -q '^1\.\.0 # SKIP .' "$out"; then
			user_skip "$suite as an ordinary user" \
				"$(sed -n 's/^1\.\.0 # SKIP //p' "$out")"
			continue
		fi
		sed -n 's/^ok [0-9]* - \(.*\) # SKIP \(.*\)/\1|\2/p' "$out" \
			>"$tmp/skipped"
		grep -A 40 '^not ok' "$out" >"$err"
		is "status $status, $(grep -c '^ok' "$out") of ${user_plan:-none}" \
			"status 0, $user_plan of $user_plan" \
			"an ordinary user passes all of $suite ($((user_plan - \
				$(wc -l <"$tmp/skipped"))) tests)"
		while IFS='|' read -r user_name user_why; do
			user_skip "an ordinary user, $suite: $user_name" \
				"$user_why"
		done <"$tmp/skipped"
	done
}
