#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/linux/net.t with 100 MB each way, also where that takes minutes.
TEST_NET_MB=${TEST_NET_MB:-100}
# shellcheck source=tests/linux/net.t
. "${0%/*}/../linux/net.t"
