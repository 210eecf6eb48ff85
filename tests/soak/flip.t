#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Damaged kernels, with each of their first 4,096 bytes, one at a time.
cd "$(dirname "$0")/../.." || exit 1
TEST_FLIP_BYTES=4096 exec sh tests/guest/flip.t
