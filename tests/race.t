#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Threads that meet at a device's registers, under TSan: a race ends the program
# with a report, and what it planned is missing.

cd "$(dirname "$0")/.." || exit 1
export TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}"
race=build/tsan/race_mmio
# TSan wants addresses where it looks for them; some kernels spread them wider.
if setarch -R true 2>/dev/null; then
	exec setarch -R "$race"
fi
exec "$race"
