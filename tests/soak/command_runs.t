#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A thousand commands in guests, one after the other.
cd "$(dirname "$0")/../.." || exit 1
TEST_COMMAND_RUNS=1000 exec sh tests/linux/command_runs.t
