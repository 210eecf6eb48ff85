#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sixty clones of one snapshot of a Linux guest, four at a time.
# needs: the minimal kernel
cd "$(dirname "$0")/../.." || exit 1
TEST_CLONES=60 exec sh tests/linux/clone.t
