#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/linux/vsock.t with 1 GiB each way, also where that takes minutes.
TEST_VSOCK_BYTES=${TEST_VSOCK_BYTES:-$((1 << 30))}
# shellcheck source=tests/linux/vsock.t
. "${0%/*}/../linux/vsock.t"
