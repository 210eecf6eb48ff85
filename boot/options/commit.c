/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which commit mote was built from, for --version. It stands alone, so that a
 * new commit compiles one line, and none of what test programs are linked from.
 *
 * The header is made by the Makefile, from what boot/fleet/package/commit says.
 * Owns nothing, and trusts the build.
 */
#include "boot/options/commit.h"
#include "boot/options/options.h"

const char options_commit[] = MOTE_COMMIT;
